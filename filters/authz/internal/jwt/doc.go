// Package jwt verifies JSON Web Tokens against a fixed set of keys.
//
// The flow: ParseKeySet reads an inline JWKS once, when the filter is configured, and refuses every key that it could
// not use safely. Verifier.Verify then takes the compact serialization apart, picks the keys that the token may have
// been signed with, checks the signature, and only after that reads the claims.
//
// Invariants:
//   - A key has one algorithm, decided when it is read. The token's alg is compared with it and never chooses anything.
//   - No claim is looked at before a signature over it was found good.
//   - What two JSON or base64 readers could read in two ways is refused: duplicate members, padding, stray bits, invalid
//     UTF-8, trailing data.
//   - Nothing is fetched: jku, x5u, jwk and x5c in a token's header are never used.
//
// Specifications: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 (JWA), RFC 7519 (JWT), RFC 8037 (EdDSA), RFC 8725 (best
// current practices).
//
// Why no library: go-jose and golang-jwt import crypto/x509, and a wasip1 module with it imports path_open,
// path_filestat_get and fd_read. Envoy has no path_filestat_get before 1.39 and does not load such a module. The
// standard library's rsa, ecdsa, ed25519 and hmac add no import to the 15 that every Go module has.
//
// The package imports the standard library only, and of crypto nothing that reaches crypto/x509.
package jwt
