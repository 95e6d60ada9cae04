// Command authz is the filter that lets a request in only with a JSON Web Token that a rule accepts. It is compiled to
// a Wasm module for Envoy; its README has the configuration.
//
// The flow of a request: one read of all headers; the path in its normal form, or 403; the first rule that matches; for a
// public rule the request goes on without a look at any token; else the one token of the request, or 401; what is
// remembered of it, or its verification, or 401; then 403 unless the rule is one that the token's claims satisfy.
//
// What a token is worth does not depend on the request: which rules its claims satisfy and which values it forwards are
// computed once, when it is verified, and kept under the SHA-256 of the token until it expires (remembered). A request
// with a remembered token costs one host call for the headers, one for the clock, a hash and a map look-up.
//
// Invariants:
//   - Deny by default: every way out of the handler but those two of admit that return sdk.Continue is a 401, a 403, or a
//     500 where the host refuses to change a header.
//   - Everything that can be wrong with a configuration is found when it is configured, with the field's name.
//   - A header that the filter sets from claims never reaches the upstream as the client sent it, public rules included.
//   - A token is never logged, nor put into an answer or a metric.
//
// Package jwt verifies, package rules decides, the files here hold the configuration, what is remembered and the answers.
// The signature algorithms come from the standard library; package jwt says why no JOSE library is used.
package main
