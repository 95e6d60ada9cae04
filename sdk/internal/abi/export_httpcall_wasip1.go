//go:build !waft_without_http_call

package abi

//waft:usedby import env.proxy_http_call

//go:wasmexport proxy_on_http_call_response
func proxyOnHTTPCallResponse(id, token, headers, size, trailers uint32) {
	guest.HTTPCallResponse(id, token, headers, size, trailers)
}
