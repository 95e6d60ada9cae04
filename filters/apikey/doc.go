// Command apikey is the filter that lets requests in by an API key. README.md documents its configuration.
//
// # Flow
//
// config.go is the configuration. keyring.go holds the keys, as SHA-256 hashes. source.go finds the key in a request, and takes
// it away. filter.go decides, and tells the upstream whose key it was.
//
// # Invariants
//
// A request passes only with one key, which is known, or where a rule says that none is needed. No key is ever kept, logged or
// compared byte by byte. The header that names the client is never the client's own.
//
// It imports package sdk, packages of filters/internal and the standard library only.
package main
