// Package authority makes the certificates of a distributor that was given none, so that nobody has to switch TLS off to try it, and nobody forgets to
// switch it on: a certificate authority in the data folder, a certificate for the server, and certificates for people and nodes.
//
// It is for development and small set-ups: the authority's key lies on the distributor's disk, whoever reads it can be anybody, and nothing is revoked but
// by the access policy. Elsewhere use an authority that is run as one.
//
// What always holds:
//   - Private keys are readable by their owner only, and written before the certificates that are worth nothing without them.
//   - What is there is never replaced but for the server's own certificate, when it is about to expire or lacks a name.
//   - The names of people and nodes are SPIFFE ids of one trust domain, so that no person can be a node.
//
// The package imports the standard library only. Only the root package distributor and cmd import it.
package authority
