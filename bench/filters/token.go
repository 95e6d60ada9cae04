package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// The claims that the authorization filters ask for.
const (
	issuer = "https://issuer.example"
	role   = "admin"
)

// token is a JSON Web Token signed with ES256, and the key set that verifies it.
type token struct{ text, jwks string }

// newToken makes a token of a key of its own, good for a day.
func newToken() (token, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return token{}, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	public, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return token{}, err
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": issuer, "sub": "alice", "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "roles": []string{"user", role}})
	if err != nil {
		return token{}, err
	}
	input := encode([]byte(`{"alg":"ES256","kid":"bench","typ":"JWT"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return token{}, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return token{
		text: input + "." + encode(signature),
		jwks: fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"bench","x":%q,"y":%q}]}`, encode(public[1:33]), encode(public[33:])),
	}, nil
}

// waft is the configuration of the filter authz: one role for every path. It remembers tokens, as it does by default.
func (t token) waft() string {
	return fmt.Sprintf(`{"issuer":%q,"jwks":%s,"rules":[{"path":"/","roles":[%q]}]}`, issuer, t.jwks, role)
}

// native are Envoy's own filters for the same: jwt_authn, with or without its cache of tokens, and RBAC.
func (t token) native(cache bool) []any {
	provider := object{
		"issuer": issuer, "local_jwks": object{"inline_string": t.jwks}, "payload_in_metadata": "payload", "forward": true,
	}
	if cache {
		provider["jwt_cache_config"] = object{}
	}
	return []any{
		extension("envoy.filters.http.jwt_authn", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", object{
			"providers": object{"bench": provider},
			"rules":     []any{object{"match": object{"prefix": "/"}, "requires": object{"provider_name": "bench"}}},
		}),
		extension("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", object{
			"rules": object{"policies": object{"admins": object{
				"permissions": []any{object{"url_path": object{"path": object{"prefix": "/"}}}},
				"principals": []any{object{"metadata": object{
					"filter": "envoy.filters.http.jwt_authn", "path": []any{object{"key": "payload"}, object{"key": "roles"}},
					"value": object{"list_match": object{"one_of": object{"string_match": object{"exact": role}}}},
				}}},
			}}},
		}),
	}
}
