package jwt

import (
	"testing"
	"time"

	"github.com/waft-project/waft/filters/authz/internal/testtoken"
)

// The tokens that the RFCs print, with their keys in testtoken.
const (
	// RFC 7515, appendix A.1, A.2 and A.3: one claims set, signed three times.
	vectorClaims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	vectorHS256  = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + vectorClaims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	vectorRS256  = "eyJhbGciOiJSUzI1NiJ9." + vectorClaims + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	vectorES256  = "eyJhbGciOiJFUzI1NiJ9." + vectorClaims + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	// RFC 8037, appendix A.4: the payload is a sentence, so it is a good JWS and no JWT.
	vectorEdDSA = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

// RFC 7515's claims expire at 1300819380.
var vectorTime = time.Unix(1300819000, 0)

func TestRFCVectors(t *testing.T) {
	verifier := &Verifier{Keys: keySet(t, testtoken.All()...), Issuer: "joe", MaxTokenBytes: longestToken}
	for name, token := range map[string]string{
		"RFC 7515 A.1 HS256": vectorHS256, "RFC 7515 A.2 RS256": vectorRS256, "RFC 7515 A.3 ES256": vectorES256,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verifier.Verify(token, vectorTime)
			if err != nil {
				t.Fatal(err)
			}
			if got.Claims["http://example.com/is_root"] != true {
				t.Errorf("claims %v, want is_root to be true", got.Claims)
			}
			if want := time.Unix(1300819380, 0); !got.Until.Equal(want) {
				t.Errorf("until %v, want %v", got.Until, want)
			}
			_, err = verifier.Verify(token, time.Unix(1300819380, 0))
			wantReason(t, err, ReasonExpired)
		})
	}
	t.Run("RFC 8037 A.4 EdDSA", func(t *testing.T) {
		parts, err := split(vectorEdDSA)
		if err != nil {
			t.Fatal(err)
		}
		check := verifier.Keys.withID("test-ed")[0].check
		if !check(parts.input, parts.signature) {
			t.Error("the signature is not accepted")
		}
		_, err = verifier.Verify(vectorEdDSA, vectorTime)
		wantReason(t, err, ReasonMalformed) // beyond the signature: the payload is no JSON
		parts.signature[10] ^= 1
		if check(parts.input, parts.signature) {
			t.Error("a changed signature is accepted")
		}
	})
}

// The tokens of testtoken must be those of the RFCs where the algorithm has one signature a message only.
func TestTestTokensAreTheVectors(t *testing.T) {
	claims := string(testtoken.Decode(vectorClaims))
	if got := testtoken.RSA().TokenWithHeader(`{"alg":"RS256"}`, claims); got != vectorRS256 {
		t.Errorf("RS256 %s", got)
	}
	if got := testtoken.HMAC().TokenWithHeader("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", claims); got != vectorHS256 {
		t.Errorf("HS256 %s", got)
	}
	if got := testtoken.Ed().TokenWithHeader(`{"alg":"EdDSA"}`, "Example of Ed25519 signing"); got != vectorEdDSA {
		t.Errorf("EdDSA %s", got)
	}
	if a, b := testtoken.EC().Token("{}"), testtoken.EC().Token("{}"); a != b {
		t.Errorf("ES256 is not deterministic: %s, %s", a, b)
	}
}

func keySet(t testing.TB, keys ...testtoken.Key) *KeySet {
	t.Helper()
	set, err := ParseKeySet([]byte(testtoken.JWKS(keys...)))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func wantReason(t *testing.T, err error, want Reason) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want it to be refused as %s", want)
	}
	if got := AsTokenError(err); got.Reason != want {
		t.Fatalf("%v, want reason %s", err, want)
	}
}
