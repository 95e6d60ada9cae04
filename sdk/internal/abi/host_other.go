//go:build !wasip1

package abi

// Host makes host calls. Outside Wasm it carries the host in memory that [NewHost] was given.
type Host struct{ Calls }

// NewHost is a Host whose calls go to calls.
func NewHost(calls Calls) Host { return Host{calls} }
