//go:build !waft_without_foreign

package abi

//waft:usedby method HandleForeign

//go:wasmexport proxy_on_foreign_function
func proxyOnForeignFunction(id, function, size uint32) { guest.ForeignFunction(id, function, size) }
