//go:build !waft_without_response_headers

package abi

// Whoever may answer a request later than in its headers needs it too: once the response's headers have gone by, an answer comes
// too late.
//
//waft:usedby method OnResponseHeaders OnResponseBody OnBufferedResponseBody ResponseBodyLimit OnResponseTrailers
//waft:usedby method OnRequestBody OnBufferedRequestBody RequestBodyLimit OnRequestTrailers
//waft:usedby method waitUntil
//waft:usedby import env.proxy_http_call env.proxy_grpc_call env.proxy_grpc_stream

//go:wasmexport proxy_on_response_headers
func proxyOnResponseHeaders(id, _, end uint32) uint32 {
	return uint32(guest.ResponseHeaders(id, end != 0))
}
