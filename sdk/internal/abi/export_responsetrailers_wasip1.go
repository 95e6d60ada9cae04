//go:build !waft_without_response_trailers

package abi

// A body that is held back is whole when trailers come.
//
//waft:usedby method OnResponseTrailers OnBufferedResponseBody ResponseBodyLimit

//go:wasmexport proxy_on_response_trailers
func proxyOnResponseTrailers(id, _ uint32) uint32 { return uint32(guest.ResponseTrailers(id)) }
