//go:build !waft_without_request_body

package abi

//waft:usedby method OnRequestBody OnBufferedRequestBody RequestBodyLimit

//go:wasmexport proxy_on_request_body
func proxyOnRequestBody(id, size, end uint32) uint32 {
	return uint32(guest.RequestBody(id, size, end != 0))
}
