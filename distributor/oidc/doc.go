// Package oidc reads the bearer tokens of people: JSON Web Tokens that an OpenID Connect issuer has signed.
//
// A token counts when its signature is by a key that the issuer publishes now, when it names the issuer and the audience that are
// expected, and when its time has come and has not passed, but for a minute of skew. Keys are fetched from the issuer, kept for a few minutes, and fetched
// again when a token names one that is not known; never more often than every few seconds, whatever tokens come, so that nobody can have this
// distributor bother an issuer.
//
// Invariants:
//   - Only signatures by asymmetric keys count.
//   - A token without an end is none.
//   - No token, and no part of one, is ever in an error.
//   - What comes from an issuer is bounded in size and time.
//
// The package imports nothing of the project. Only the root package distributor imports it.
package oidc
