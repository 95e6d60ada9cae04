// Command ipallow is the filter that lets requests in by the client's IP address. README.md documents its configuration.
//
// # Flow
//
// config.go is the configuration. prefixset.go makes sets of its lists, once. address.go finds the client's address, in the
// connection or in a header that proxies wrote. filter.go decides.
//
// # Invariants
//
// Who is not allowed is denied: a request without an address that can be read, and one that no rule is about, do not pass.
//
// It imports package sdk and the standard library only.
package main
