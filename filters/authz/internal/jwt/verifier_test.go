package jwt

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/filters/authz/internal/testtoken"
)

// longestToken is the longest token that the verifiers of the tests take, in bytes.
const longestToken = 8 << 10

var testNow = time.Unix(1_800_000_000, 0)

func testVerifier(t testing.TB) *Verifier {
	return &Verifier{
		Keys: keySet(t, testtoken.All()...), Issuer: "https://issuer.example",
		ClockSkew: time.Minute, MaxTokenBytes: longestToken,
	}
}

const goodClaims = `{"iss":"https://issuer.example","sub":"alice","exp":1800000600}`

func TestVerifyAcceptsEachAlgorithm(t *testing.T) {
	for _, k := range testtoken.All() {
		t.Run(k.Algorithm, func(t *testing.T) {
			v := testVerifier(t)
			got, err := v.Verify(k.Token(goodClaims), testNow)
			if err != nil {
				t.Fatal(err)
			}
			if got.Claims["sub"] != "alice" {
				t.Errorf("claims %v", got.Claims)
			}
			if _, err := v.Verify(k.TokenWithHeader(fmt.Sprintf(`{"alg":%q}`, k.Algorithm), goodClaims), testNow); err != nil {
				t.Errorf("without kid: %v", err)
			}
		})
	}
}

// Every bit of every part counts.
func TestVerifyRefusesEachChangedCharacter(t *testing.T) {
	v := testVerifier(t)
	for _, k := range testtoken.All() {
		token := k.Token(goodClaims)
		for i := range token {
			if token[i] == '.' {
				continue
			}
			changed := []byte(token)
			changed[i] = 'A'
			if token[i] == 'A' {
				changed[i] = 'B'
			}
			if _, err := v.Verify(string(changed), testNow); err == nil {
				t.Fatalf("%s: accepted with another character at %d", k.Algorithm, i)
			}
		}
	}
}

func TestVerifyRefusesAttacks(t *testing.T) {
	rsa, ec, ed, mac := testtoken.RSA(), testtoken.EC(), testtoken.Ed(), testtoken.HMAC()
	good := ec.Token(goodClaims)
	parts := strings.Split(good, ".")
	join := func(header, claims, signature string) string { return header + "." + claims + "." + signature }
	header := func(h string) string { return ec.TokenWithHeader(h, goodClaims) }
	rsaText := testtoken.Decode(strings.Split(strings.Split(rsa.Public, `"n":"`)[1], `"`)[0])
	tests := []struct {
		name   string
		token  string
		reason Reason
	}{
		{"alg none without signature", join(testtoken.Encode(`{"alg":"none"}`), parts[1], ""), ReasonAlgorithm},
		{"alg None in another case", join(testtoken.Encode(`{"alg":"nOnE"}`), parts[1], ""), ReasonAlgorithm},
		{"alg none with the kid and the signature of a key", join(testtoken.Encode(`{"alg":"none","kid":"test-ec"}`), parts[1], parts[2]), ReasonAlgorithm},
		{"alg empty", header(`{"alg":"","kid":"test-ec"}`), ReasonAlgorithm},
		{"alg missing", header(`{"kid":"test-ec"}`), ReasonMalformed},
		{"alg a list", header(`{"alg":["ES256"],"kid":"test-ec"}`), ReasonMalformed},
		{"alg in lower case", header(`{"alg":"es256","kid":"test-ec"}`), ReasonAlgorithm},
		{"HS256 with the RSA modulus as secret", testtoken.Secret("test-rsa", rsaText).Token(goodClaims), ReasonAlgorithm},
		{"HS256 with the RSA JWK as secret", testtoken.Secret("test-rsa", []byte(rsa.Public)).Token(goodClaims), ReasonAlgorithm},
		{"HS256 with the RSA modulus as secret, without kid", testtoken.Secret("", rsaText).TokenWithHeader(`{"alg":"HS256"}`, goodClaims), ReasonSignature},
		{"HS256 with an empty secret", testtoken.Secret("test-hmac", nil).Token(goodClaims), ReasonSignature},
		{"RS256 said of the EC key", header(`{"alg":"RS256","kid":"test-ec"}`), ReasonAlgorithm},
		{"ES256 said of the EdDSA key", ed.TokenWithHeader(`{"alg":"ES256","kid":"test-ed"}`, goodClaims), ReasonAlgorithm},
		{"the kid of another key of another type", rsa.TokenWithHeader(`{"alg":"RS256","kid":"test-ec"}`, goodClaims), ReasonAlgorithm},
		{"an unknown kid", header(`{"alg":"ES256","kid":"other"}`), ReasonKey},
		{"a kid that is a path", header(`{"alg":"ES256","kid":"../../dev/null"}`), ReasonKey},
		{"a kid that is a number", header(`{"alg":"ES256","kid":1}`), ReasonMalformed},
		{"a kid that is null", header(`{"alg":"ES256","kid":null}`), ReasonMalformed},
		{"an empty kid", header(`{"alg":"ES256","kid":""}`), ReasonMalformed},
		{"a very long kid", header(`{"alg":"ES256","kid":"` + strings.Repeat("k", MaxKeyIDBytes+1) + `"}`), ReasonMalformed},
		{"a key inside the header", testtoken.Secret("", []byte("x")).TokenWithHeader(`{"alg":"HS256","jwk":{"kty":"oct","k":"eA"}}`, goodClaims), ReasonSignature},
		{"crit with an unknown extension", header(`{"alg":"ES256","kid":"test-ec","crit":["exp"],"exp":1}`), ReasonCritical},
		{"crit empty", header(`{"alg":"ES256","kid":"test-ec","crit":[]}`), ReasonCritical},
		{"crit null", header(`{"alg":"ES256","kid":"test-ec","crit":null}`), ReasonCritical},
		{"b64 false", header(`{"alg":"ES256","kid":"test-ec","b64":false}`), ReasonCritical},
		{"a duplicate alg, the good one last", header(`{"alg":"none","alg":"ES256","kid":"test-ec"}`), ReasonMalformed},
		{"a duplicate alg by escape", header(`{"\u0061lg":"none","alg":"ES256","kid":"test-ec"}`), ReasonMalformed},
		{"a duplicate claim", ec.Token(`{"iss":"https://issuer.example","exp":1,"exp":1800000600}`), ReasonMalformed},
		{"a duplicate member deep in a claim", ec.Token(`{"iss":"https://issuer.example","exp":1800000600,"a":[{"b":1,"b":2}]}`), ReasonMalformed},
		{"an ES256 signature of zeros", join(parts[0], parts[1], testtoken.Encode(strings.Repeat("\x00", 64))), ReasonSignature},
		{"an ES256 signature in DER", join(parts[0], parts[1], testtoken.Encode("\x30\x44\x02\x20"+strings.Repeat("\x01", 32)+"\x02\x20"+strings.Repeat("\x01", 32))), ReasonSignature},
		{"an ES256 signature one byte short", cutSignature(good, 63), ReasonSignature},
		{"an ES256 signature with a byte more", join(parts[0], parts[1], testtoken.Encode(string(testtoken.Decode(parts[2]))+"\x00")), ReasonSignature},
		{"no signature", join(parts[0], parts[1], ""), ReasonSignature},
		{"the signature of other claims", join(parts[0], testtoken.Encode(`{"iss":"https://issuer.example","exp":1800000600,"roles":["admin"]}`), parts[2]), ReasonSignature},
		{"padding", good + "=", ReasonMalformed},
		{"the standard alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(header(`{"alg":"ES256","kid":"test-ec","x":"~~~???"}`)) + "+", ReasonMalformed},
		{"stray bits at the end of the signature", join(parts[0], parts[1], otherLastBits(parts[2])), ReasonMalformed},
		{"a line break inside", good[:20] + "\n" + good[20:], ReasonMalformed},
		{"a space inside", good[:20] + " " + good[20:], ReasonMalformed},
		{"two tokens with a comma", good + "," + good, ReasonMalformed},
		{"empty", "", ReasonMalformed},
		{"dots only", "..", ReasonMalformed},
		{"two parts", parts[0] + "." + parts[1], ReasonMalformed},
		{"four parts", good + ".", ReasonMalformed},
		{"five parts, as of a JWE", good + ".a.b", ReasonMalformed},
		{"a header that is a list", header(`["alg","ES256"]`), ReasonMalformed},
		{"a header with data behind it", header(`{"alg":"ES256","kid":"test-ec"} {}`), ReasonMalformed},
		{"a header with a byte order mark", header("\xef\xbb\xbf" + `{"alg":"ES256","kid":"test-ec"}`), ReasonMalformed},
		{"a header that is not UTF-8", header("{\"alg\":\"ES256\",\"kid\":\"test-ec\",\"x\":\"\xff\"}"), ReasonMalformed},
		{"claims that are a string", ec.Token(`"admin"`), ReasonMalformed},
		{"claims that are no JSON", ec.Token(`admin`), ReasonMalformed},
		{"claims that nest deep", ec.Token(`{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`), ReasonMalformed},
		{"a token that is too long", ec.Token(`{"pad":"` + strings.Repeat("a", longestToken) + `"}`), ReasonOversized},
		{"an HS256 signature cut to half", mac.Token(goodClaims)[:len(mac.Token(goodClaims))-22], ReasonMalformed},
		{"an HS256 signature cut to 16 bytes", cutSignature(mac.Token(goodClaims), 16), ReasonSignature},
		{"an RS256 signature cut by a byte", cutSignature(rsa.Token(goodClaims), 255), ReasonSignature},
		{"an EdDSA signature cut by a byte", cutSignature(ed.Token(goodClaims), 63), ReasonSignature},
	}
	v := testVerifier(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v.Verify(tt.token, testNow)
			wantReason(t, err, tt.reason)
		})
	}
}

// otherLastBits changes the bits of the last character that base64 does not use: 64 bytes leave 4 of them.
func otherLastBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[last|1])
}

func cutSignature(token string, size int) string {
	at := strings.LastIndexByte(token, '.') + 1
	return token[:at] + testtoken.Encode(string(testtoken.Decode(token[at:])[:size]))
}

func TestVerifyClaims(t *testing.T) {
	const iss = `"iss":"https://issuer.example"`
	tests := []struct {
		name   string
		change func(*Verifier)
		claims string
		want   Reason // "" is accepted
	}{
		{name: "no issuer", claims: `{"exp":1800000600}`, want: ReasonIssuer},
		{name: "another issuer", claims: `{"iss":"https://issuer.example/","exp":1800000600}`, want: ReasonIssuer},
		{name: "the issuer in another case", claims: `{"iss":"https://Issuer.example","exp":1800000600}`, want: ReasonIssuer},
		{name: "the issuer as a list", claims: `{"iss":["https://issuer.example"],"exp":1800000600}`, want: ReasonClaims},
		{name: "the subject as a number", claims: `{` + iss + `,"exp":1800000600,"sub":1}`, want: ReasonClaims},
		{name: "no exp", claims: `{` + iss + `}`, want: ReasonClaims},
		{name: "exp null", claims: `{` + iss + `,"exp":null}`, want: ReasonClaims},
		{name: "exp a string", claims: `{` + iss + `,"exp":"1800000600"}`, want: ReasonClaims},
		{name: "exp beyond float64", claims: `{` + iss + `,"exp":1e999}`, want: ReasonClaims},
		{name: "exp very large", claims: `{` + iss + `,"exp":1e300}`},
		{name: "exp very small", claims: `{` + iss + `,"exp":-1e300}`, want: ReasonExpired},
		{name: "exp zero", claims: `{` + iss + `,"exp":0}`, want: ReasonExpired},
		{name: "exp with a fraction, not reached", claims: `{` + iss + `,"exp":1799999940.5}`},
		{name: "exp in exponent form", claims: `{` + iss + `,"exp":1.8000006e9}`},
		{name: "exp at the end of the skew", claims: `{` + iss + `,"exp":1799999940}`, want: ReasonExpired},
		{name: "exp a second before the end of the skew", claims: `{` + iss + `,"exp":1799999941}`},
		{name: "exp now without skew", change: func(v *Verifier) { v.ClockSkew = 0 }, claims: `{` + iss + `,"exp":1800000000}`, want: ReasonExpired},
		{name: "nbf a string", claims: `{` + iss + `,"exp":1800000600,"nbf":"1"}`, want: ReasonClaims},
		{name: "nbf at the start of the skew", claims: `{` + iss + `,"exp":1800000600,"nbf":1800000060}`},
		{name: "nbf before the skew", claims: `{` + iss + `,"exp":1800000600,"nbf":1800000060.5}`, want: ReasonNotYet},
		{name: "nbf long past", claims: `{` + iss + `,"exp":1800000600,"nbf":-1e300}`},
		{name: "iat a string", claims: `{` + iss + `,"exp":1800000600,"iat":"now"}`, want: ReasonClaims},
		{name: "iat in the future", claims: `{` + iss + `,"exp":1800000600,"iat":1800000500}`},

		{name: "aud where none is configured", claims: `{` + iss + `,"exp":1800000600,"aud":"api"}`, want: ReasonAudience},
		{name: "an empty aud list where none is configured", claims: `{` + iss + `,"exp":1800000600,"aud":[]}`, want: ReasonAudience},
		{name: "aud where any is taken", change: func(v *Verifier) { v.AnyAudience = true }, claims: `{` + iss + `,"exp":1800000600,"aud":"api"}`},
		{name: "a malformed aud where any is taken", change: func(v *Verifier) { v.AnyAudience = true }, claims: `{` + iss + `,"exp":1800000600,"aud":7}`, want: ReasonClaims},
		{name: "aud a string", change: audience, claims: `{` + iss + `,"exp":1800000600,"aud":"api"}`},
		{name: "aud a list with it", change: audience, claims: `{` + iss + `,"exp":1800000600,"aud":["x","api"]}`},
		{name: "aud the second audience", change: audience, claims: `{` + iss + `,"exp":1800000600,"aud":["admin-api"]}`},
		{name: "aud a part of it", change: audience, claims: `{` + iss + `,"exp":1800000600,"aud":"ap"}`, want: ReasonAudience},
		{name: "aud with another", change: audience, claims: `{` + iss + `,"exp":1800000600,"aud":["x"]}`, want: ReasonAudience},
		{name: "aud missing", change: audience, claims: `{` + iss + `,"exp":1800000600}`, want: ReasonAudience},
		{name: "aud null", change: audience, claims: `{` + iss + `,"exp":1800000600,"aud":null}`, want: ReasonClaims},
		{name: "aud a list with a number", change: audience, claims: `{` + iss + `,"exp":1800000600,"aud":["api",1]}`, want: ReasonClaims},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := testVerifier(t)
			if tt.change != nil {
				tt.change(v)
			}
			_, err := v.Verify(testtoken.HMAC().Token(tt.claims), testNow)
			if tt.want != "" {
				wantReason(t, err, tt.want)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func audience(v *Verifier) { v.Audiences = []string{"api", "admin-api"} }

func TestVerifyType(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		want         Reason
	}{
		{"the type", `{"alg":"HS256","typ":"at+jwt"}`, ""},
		{"in another case", `{"alg":"HS256","typ":"AT+JWT"}`, ""},
		{"with application/", `{"alg":"HS256","typ":"application/at+jwt"}`, ""},
		{"another type", `{"alg":"HS256","typ":"JWT"}`, ReasonType},
		{"no type", `{"alg":"HS256"}`, ReasonType},
		{"a number", `{"alg":"HS256","typ":1}`, ReasonType},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := testVerifier(t)
			v.Types = []string{"at+jwt"}
			_, err := v.Verify(testtoken.HMAC().TokenWithHeader(tt.header, goodClaims), testNow)
			if tt.want != "" {
				wantReason(t, err, tt.want)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A token without kid fits every key of its algorithm; how many are tried is bounded.
func TestVerifyBoundsKeyTrials(t *testing.T) {
	mac := testtoken.HMAC()
	for _, tt := range []struct {
		name   string
		before int
		want   Reason
	}{{"the last that is tried", MaxKeyTrials - 1, ""}, {"one too many", MaxKeyTrials, ReasonSignature}} {
		t.Run(tt.name, func(t *testing.T) {
			var keys []string
			for i := range tt.before {
				keys = append(keys, fmt.Sprintf(`{"kty":"oct","k":%q}`, testtoken.Encode(strings.Repeat(string(rune('a'+i)), MinHMACBytes))))
			}
			set, err := ParseKeySet([]byte(`{"keys":[` + strings.Join(append(keys, "{"+mac.Public+"}"), ",") + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			v := testVerifier(t)
			v.Keys = set
			for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"HS256","kid":"of-nobody"}`} {
				_, err := v.Verify(mac.TokenWithHeader(header, goodClaims), testNow)
				if tt.want != "" {
					wantReason(t, err, tt.want)
				} else if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestZeroVerifierRefuses(t *testing.T) {
	v := &Verifier{MaxTokenBytes: longestToken}
	_, err := v.Verify(testtoken.HMAC().Token(`{"iss":"","exp":1800000600}`), testNow)
	wantReason(t, err, ReasonKey)
	v.Keys = keySet(t, testtoken.HMAC())
	_, err = v.Verify(testtoken.HMAC().Token(`{"iss":"","exp":1800000600}`), testNow)
	wantReason(t, err, ReasonIssuer)
}

func TestEveryReasonHasADescription(t *testing.T) {
	seen := map[string]Reason{}
	for _, r := range Reasons() {
		d := r.Description()
		if first, twice := seen[d]; twice {
			t.Errorf("%s and %s have the same description %q", first, r, d)
		}
		seen[d] = r
		if strings.ContainsAny(d, `"\`) || d == Reason("").Description() {
			t.Errorf("%s: description %q", r, d)
		}
	}
}

// FuzzVerify looks for a token that is accepted and is none of the seeds that may be.
func FuzzVerify(f *testing.F) {
	accepted := map[string]bool{}
	for _, k := range testtoken.All() {
		accepted[k.Token(goodClaims)] = true
		f.Add(k.Token(goodClaims))
		f.Add(k.TokenWithHeader(`{"alg":"none"}`, goodClaims))
	}
	f.Add(vectorEdDSA)
	f.Add("..")
	f.Add("e30.e30.")
	v := testVerifier(f)
	f.Fuzz(func(t *testing.T, token string) {
		got, err := v.Verify(token, testNow)
		if (got == nil) == (err == nil) {
			t.Fatalf("both or neither of %v and %v", got, err)
		}
		if err == nil && !accepted[token] {
			t.Fatalf("accepted %q", token)
		}
	})
}
