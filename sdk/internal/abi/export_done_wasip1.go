//go:build !waft_without_done

package abi

// Without it a context ends at once, as with an answer of true.
//
//waft:usedby method OnShutdown

//go:wasmexport proxy_on_done
func proxyOnDone(id uint32) uint32 {
	if guest.Done(id) {
		return 1
	}
	return 0
}
