// Command abtest is the filter that splits requests between variants: A/B tests and canaries. README.md documents its
// configuration.
//
// # Flow
//
// config.go is the configuration, experiment.go checks it and chooses the variant of a request: forced, remembered in a cookie,
// by the hash of who asks, or by chance. cookie.go reads and writes cookies. filter.go marks the request, so that Envoy's routes
// can tell variants apart.
//
// # Invariants
//
// The header that marks a request is never the client's own. The same key gets the same variant on every worker, every node and
// after every restart, as long as the shares stay.
//
// It imports package sdk and the standard library only.
package main
