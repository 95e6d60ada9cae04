//go:build !waft_without_grpc

package abi

//waft:usedby import env.proxy_grpc_call env.proxy_grpc_stream

//go:wasmexport proxy_on_grpc_receive_initial_metadata
func proxyOnGRPCReceiveInitialMetadata(id, token, pairs uint32) {
	guest.GRPCReceiveInitialMetadata(id, token, pairs)
}

//go:wasmexport proxy_on_grpc_receive
func proxyOnGRPCReceive(id, token, size uint32) { guest.GRPCReceive(id, token, size) }

//go:wasmexport proxy_on_grpc_receive_trailing_metadata
func proxyOnGRPCReceiveTrailingMetadata(id, token, pairs uint32) {
	guest.GRPCReceiveTrailingMetadata(id, token, pairs)
}

//go:wasmexport proxy_on_grpc_close
func proxyOnGRPCClose(id, token, status uint32) { guest.GRPCClose(id, token, status) }
