package testtoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
)

// Key is one of the test keys. KID is the kid in its JWK.
type Key struct {
	KID       string
	Algorithm string
	// Public are the members of the public JWK, without kid and alg, as JSON. For HS256 it is the secret.
	Public string
	sign   func(input []byte) []byte
}

// The numbers of the published keys.
const (
	rsaN = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
	rsaD = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
	rsaP = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc"
	rsaQ = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc"
	ecX  = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
	ecY  = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
	ecD  = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
	edX  = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	edD  = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	octK = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
)

// RSA is the key of RFC 7515, appendix A.2.
func RSA() Key {
	private := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: number(rsaN), E: 65537},
		D:         number(rsaD),
		Primes:    []*big.Int{number(rsaP), number(rsaQ)},
	}
	private.Precompute()
	return Key{KID: "test-rsa", Algorithm: "RS256", Public: fmt.Sprintf(`"kty":"RSA","n":%q,"e":"AQAB"`, rsaN), sign: func(input []byte) []byte {
		digest := sha256.Sum256(input)
		return must(rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:]))
	}}
}

// EC is the key of RFC 7515, appendix A.3.
func EC() Key {
	private := must(ecdsa.ParseRawPrivateKey(elliptic.P256(), Decode(ecD)))
	return Key{KID: "test-ec", Algorithm: "ES256", Public: fmt.Sprintf(`"kty":"EC","crv":"P-256","x":%q,"y":%q`, ecX, ecY), sign: func(input []byte) []byte {
		digest := sha256.Sum256(input)
		var pair struct{ R, S *big.Int }
		// Without a source of randomness the signature is that of RFC 6979.
		must(asn1.Unmarshal(must(private.Sign(nil, digest[:], crypto.SHA256)), &pair))
		out := make([]byte, 64)
		pair.R.FillBytes(out[:32])
		pair.S.FillBytes(out[32:])
		return out
	}}
}

// Ed is the key of RFC 8037, appendix A.1.
func Ed() Key {
	private := ed25519.NewKeyFromSeed(Decode(edD))
	return Key{KID: "test-ed", Algorithm: "EdDSA", Public: fmt.Sprintf(`"kty":"OKP","crv":"Ed25519","x":%q`, edX), sign: func(input []byte) []byte {
		return ed25519.Sign(private, input)
	}}
}

// HMAC is the key of RFC 7515, appendix A.1.
func HMAC() Key {
	k := Secret("test-hmac", Decode(octK))
	k.Public = fmt.Sprintf(`"kty":"oct","k":%q`, octK)
	return k
}

// Secret is an HS256 key of any bytes, for attacks that take a public key for a secret.
func Secret(kid string, secret []byte) Key {
	return Key{KID: kid, Algorithm: "HS256", sign: func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}}
}

// All are the four keys.
func All() []Key { return []Key{RSA(), EC(), Ed(), HMAC()} }

// ByKID is one of the four keys.
func ByKID(kid string) Key {
	for _, k := range All() {
		if k.KID == kid {
			return k
		}
	}
	panic("testtoken: no key " + kid)
}

// JWKS is the key set of some keys, each with kid and alg.
func JWKS(keys ...Key) string {
	var list []string
	for _, k := range keys {
		list = append(list, fmt.Sprintf(`{"kid":%q,"alg":%q,"use":"sig",%s}`, k.KID, k.Algorithm, k.Public))
	}
	return `{"keys":[` + strings.Join(list, ",") + `]}`
}

// Header is the usual token header for a key.
func (k Key) Header() string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, k.Algorithm, k.KID)
}

// Token signs claims, given as JSON, with the usual header.
func (k Key) Token(claims string) string { return k.TokenWithHeader(k.Header(), claims) }

// TokenWithHeader signs any header and any claims. Nothing is checked.
func (k Key) TokenWithHeader(header, claims string) string {
	input := Encode(header) + "." + Encode(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(k.sign([]byte(input)))
}

// Encode is base64url without padding.
func Encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// Decode is the opposite of Encode.
func Decode(s string) []byte { return must(base64.RawURLEncoding.DecodeString(s)) }

func number(s string) *big.Int { return new(big.Int).SetBytes(Decode(s)) }

// must is for what can only fail when the keys above were changed.
func must[T any](value T, err error) T {
	if err != nil {
		panic("testtoken: " + err.Error())
	}
	return value
}
