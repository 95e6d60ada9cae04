//go:build !wasip1

package abi

// SetGuest does nothing outside Wasm: a host in memory calls the Guest that it was made for.
func SetGuest(func(Host) Guest) {}
