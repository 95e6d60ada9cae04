//go:build !waft_without_response_body

package abi

//waft:usedby method OnResponseBody OnBufferedResponseBody ResponseBodyLimit

//go:wasmexport proxy_on_response_body
func proxyOnResponseBody(id, size, end uint32) uint32 {
	return uint32(guest.ResponseBody(id, size, end != 0))
}
