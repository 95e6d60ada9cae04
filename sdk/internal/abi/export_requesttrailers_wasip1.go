//go:build !waft_without_request_trailers

package abi

// A body that is held back is whole when trailers come.
//
//waft:usedby method OnRequestTrailers OnBufferedRequestBody RequestBodyLimit

//go:wasmexport proxy_on_request_trailers
func proxyOnRequestTrailers(id, _ uint32) uint32 { return uint32(guest.RequestTrailers(id)) }
