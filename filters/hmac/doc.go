// Command hmac is the filter that lets requests in by a signature with a shared secret: HTTP Message Signatures (RFC 9421) with
// hmac-sha256, and the body by Content-Digest (RFC 9530). README.md documents its configuration.
//
// # Flow
//
// config.go is the configuration, compile.go checks it. dictionary.go takes the headers Signature-Input, Signature and
// Content-Digest apart. base.go puts together what was signed. verify.go says whether a signature is good. replay.go remembers
// those that were used, for all workers. filter.go decides on the headers, and then on the body.
//
// # Invariants
//
// A request passes only with one good signature that covers what the configuration requires, and its body if it has one, or
// where a rule says that none is needed. The last byte of a body goes upstream only after its digest was found right. A
// signature is used once in each Envoy.
//
// It imports package sdk, packages of filters/internal and the standard library only.
package main
