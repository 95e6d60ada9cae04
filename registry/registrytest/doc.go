// Package registrytest runs registries for tests, and holds the contract suite that any registry must pass for
// package registry to work with it.
//
// Start gives a test a real registry (distribution v3, in this process, on a loopback port). Run is the suite. A Proxy
// stands before a registry and fails in the ways that registries and networks fail.
//
// The package is for tests: it is not imported by anything that ships.
package registrytest
