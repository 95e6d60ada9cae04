package jwt

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/waft-project/waft/filters/authz/internal/testtoken"
)

func TestParseKeySetErrorsNameTheField(t *testing.T) {
	rsa, ec, ed, mac := testtoken.RSA(), testtoken.EC(), testtoken.Ed(), testtoken.HMAC()
	modulus := func(bits int) string {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return testtoken.Encode(string(n.Add(n, big.NewInt(1)).Bytes()))
	}
	rsaWith := func(n, e string) string { return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q}`, n, e) }
	zeros := testtoken.Encode(strings.Repeat("\x00", 32))
	tests := []struct{ name, key, field, problem string }{
		{"no object", `7`, "keys[1]", "not a JSON object"},
		{"no kty", `{}`, "keys[1].kty", "missing"},
		{"an unknown kty", `{"kty":"XYZ"}`, "keys[1].kty", `"XYZ" is not supported`},
		{"a kty that is a number", `{"kty":1}`, "keys[1].kty", "not a string"},
		{"a private RSA key", `{` + rsa.Public + `,"d":"AQAB"}`, "keys[1].d", "private key"},
		{"a private EC key", `{` + ec.Public + `,"d":"AQAB"}`, "keys[1].d", "private key"},
		{"RSA without n", `{"kty":"RSA","e":"AQAB"}`, "keys[1].n", "missing"},
		{"RSA with n in standard base64", rsaWith("++//", "AQAB"), "keys[1].n", "not base64url"},
		{"RSA with n padded", rsaWith("AQ==", "AQAB"), "keys[1].n", "not base64url"},
		{"RSA of 1024 bits", rsaWith(modulus(1024), "AQAB"), "keys[1].n", "1024 bits, at least 2048"},
		{"RSA of 2047 bits", rsaWith(modulus(2047), "AQAB"), "keys[1].n", "2047 bits, at least 2048"},
		{"RSA of 16384 bits", rsaWith(modulus(16384), "AQAB"), "keys[1].n", "at most 8192"},
		{"RSA with an even modulus", rsaWith(testtoken.Encode("\x80"+strings.Repeat("\x00", 255)), "AQAB"), "keys[1].n", "even"},
		{"RSA with a leading zero", rsaWith(testtoken.Encode("\x00"+string(testtoken.Decode(modulus(2048)))), "AQAB"), "keys[1].n", "leading zero"},
		{"RSA without e", `{"kty":"RSA","n":"` + modulus(2048) + `"}`, "keys[1].e", "missing"},
		{"RSA with e 1", rsaWith(modulus(2048), "AQ"), "keys[1].e", "odd, at least 3"},
		{"RSA with an even e", rsaWith(modulus(2048), "BA"), "keys[1].e", "odd, at least 3"},
		{"RSA with a huge e", rsaWith(modulus(2048), "AQAAAAAB"), "keys[1].e", "below 2^31"},
		{"RSA for RS512", `{"alg":"RS512",` + rsa.Public + `}`, "keys[1].alg", `"RS512" does not fit`},
		{"RSA for HS256", `{"alg":"HS256",` + rsa.Public + `}`, "keys[1].alg", `"HS256" does not fit`},
		{"RSA for none", `{"alg":"none",` + rsa.Public + `}`, "keys[1].alg", `"none" does not fit`},
		{"an empty alg", `{"alg":"",` + rsa.Public + `}`, "keys[1].alg", `"" does not fit`},
		{"EC without crv", `{"kty":"EC"}`, "keys[1].crv", `"" is not supported`},
		{"EC on P-384", `{"kty":"EC","crv":"P-384"}`, "keys[1].crv", `"P-384" is not supported`},
		{"EC without x", `{"kty":"EC","crv":"P-256"}`, "keys[1].x", "missing"},
		{"EC with a short x", `{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}`, "keys[1].x", "32 bytes, this has 3"},
		{"EC with a short y", `{"kty":"EC","crv":"P-256","x":"` + zeros + `","y":"AQAB"}`, "keys[1].y", "32 bytes, this has 3"},
		{"EC off the curve", `{"kty":"EC","crv":"P-256","x":"` + zeros + `","y":"` + zeros + `"}`, "keys[1].x", "not on P-256"},
		{"OKP on X25519", `{"kty":"OKP","crv":"X25519","x":"` + zeros + `"}`, "keys[1].crv", `"X25519" is not supported`},
		{"OKP with a short x", `{"kty":"OKP","crv":"Ed25519","x":"AQAB"}`, "keys[1].x", "32 bytes, this has 3"},
		{"oct without k", `{"kty":"oct"}`, "keys[1].k", "missing"},
		{"oct of 31 bytes", `{"kty":"oct","k":"` + testtoken.Encode(strings.Repeat("k", 31)) + `"}`, "keys[1].k", "31 bytes, HS256 needs at least 32"},
		{"oct that is very long", `{"kty":"oct","k":"` + testtoken.Encode(strings.Repeat("k", MaxHMACBytes+1)) + `"}`, "keys[1].k", "at most"},
		{"a kid that is there already", `{"kid":"first",` + ed.Public + `}`, "keys[1].kid", "the kid of keys[0] already"},
		{"an empty kid", `{"kid":"",` + ed.Public + `}`, "keys[1].kid", "empty"},
		{"a kid that is a number", `{"kid":1,` + ed.Public + `}`, "keys[1].kid", "not a string"},
		{"a use that is a number", `{"use":1,` + ed.Public + `}`, "keys[1].use", "not a string"},
		{"key_ops that is a string", `{"key_ops":"verify",` + ed.Public + `}`, "keys[1].key_ops", "not a list"},
		{"a duplicate member", `{"kty":"oct","kty":"RSA"}`, "", "duplicate member"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseKeySet([]byte(`{"keys":[{"kid":"first",` + mac.Public + `},` + tt.key + `]}`))
			wantField(t, err, tt.field, tt.problem)
		})
	}
	for _, tt := range []struct{ name, set, field, problem string }{
		{"nothing", ``, "", "not JSON"},
		{"a list", `[]`, "", "not a JSON object"},
		{"no keys", `{}`, "keys", "a list"},
		{"keys that is an object", `{"keys":{}}`, "keys", "a list"},
		{"an empty list", `{"keys":[]}`, "keys", "at least one"},
		{"only keys for encryption", `{"keys":[{"use":"enc",` + rsa.Public + `}]}`, "keys", "at least one"},
		{"too many keys", `{"keys":[` + strings.Repeat(`{},`, MaxKeys) + `{}]}`, "keys", "at most"},
		{"too long", `{"keys":[` + strings.Repeat(" ", MaxKeySetBytes) + `]}`, "", "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseKeySet([]byte(tt.set))
			wantField(t, err, tt.field, tt.problem)
		})
	}
}

func wantField(t *testing.T, err error, field, problem string) {
	t.Helper()
	var got *FieldError
	if !errors.As(err, &got) {
		t.Fatalf("error %v, want a FieldError", err)
	}
	if got.Field != field || !strings.Contains(got.Problem, problem) {
		t.Errorf("field %q, problem %q; want %q and %q", got.Field, got.Problem, field, problem)
	}
}

func TestParseKeySetTakesWhatProvidersPublish(t *testing.T) {
	rsa, ec := testtoken.RSA(), testtoken.EC()
	set, err := ParseKeySet([]byte(`{"more":1,"keys":[
		{"kid":"enc","use":"enc","alg":"RSA-OAEP",` + rsa.Public + `},
		{"kid":"sign-only","key_ops":["sign"],` + rsa.Public + `},
		{"kid":"a","use":"sig","alg":"RS256","x5c":["MIIC"],"x5t":"abc","x5t#S256":"abc",` + rsa.Public + `},
		{"key_ops":["verify"],` + ec.Public + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range set.keys {
		got = append(got, k.id+"/"+k.algorithm)
	}
	if want := "a/RS256 /ES256"; strings.Join(got, " ") != want {
		t.Errorf("keys %v, want %s", got, want)
	}
}

// The points of small order of Ed25519 and encodings that are no points (RFC 8032, section 5.1.3), big-endian.
func TestEdwardsProblem(t *testing.T) {
	le := func(hex string) []byte {
		n, ok := new(big.Int).SetString(hex, 16)
		if !ok {
			t.Fatal(hex)
		}
		out := make([]byte, 32)
		n.FillBytes(out)
		for i := range 16 {
			out[i], out[31-i] = out[31-i], out[i]
		}
		return out
	}
	const p = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed"
	for name, tt := range map[string]struct {
		x    []byte
		want string
	}{
		"order 1":                    {le("01"), "small order"},
		"order 2":                    {le("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec"), "small order"},
		"order 4, x positive":        {le("00"), "small order"},
		"order 4, x negative":        {le("8000000000000000000000000000000000000000000000000000000000000000"), "small order"},
		"order 8":                    {le("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7"), "small order"},
		"order 8, the other y":       {le("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826"), "small order"},
		"order 8, x negative":        {le("fa03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7"), "small order"},
		"y is p":                     {le(p), "canonical"},
		"y is p + 1":                 {le("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffee"), "canonical"},
		"x is 0 and its sign 1":      {le("8000000000000000000000000000000000000000000000000000000000000001"), "canonical"},
		"y has no x":                 {le("02"), "not a point"},
		"the key of RFC 8037":        {testtoken.Decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), ""},
		"the base point":             {le("6666666666666666666666666666666666666666666666666666666666666658"), ""},
		"the base point, x negative": {le("e666666666666666666666666666666666666666666666666666666666666658"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := edwardsProblem(tt.x)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(testtoken.JWKS(testtoken.All()...)))
	f.Add([]byte(`{"keys":[{"kty":"RSA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := ParseKeySet(text)
		if (set == nil) == (err == nil) {
			t.Fatalf("both or neither of %v and %v", set, err)
		}
	})
}
