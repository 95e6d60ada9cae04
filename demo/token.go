package demo

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// issuer is the iss claim of the demo's tokens.
const issuer = "https://issuer.demo.example"

// tokenLife outlasts any run.
const tokenLife = time.Hour

// signer makes the demo's tokens, with a key that lives as long as the run.
type signer struct {
	key  ed25519.PrivateKey
	jwks map[string]any
}

func newSigner() (*signer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return &signer{key: private, jwks: map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "demo", "use": "sig",
		"x": base64.RawURLEncoding.EncodeToString(public),
	}}}}, nil
}

// token is a JWT (RFC 7519) for subject with the given roles.
func (s *signer) token(subject string, roles ...string) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "EdDSA", "typ": "JWT", "kid": "demo"})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "sub": subject, "roles": roles, "exp": time.Now().Add(tokenLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.key, []byte(signed))), nil
}
