package main

//go:wasmexport proxy_on_context_create
func onContextCreate(a, b uint32) { at(0, "context_create", a, b) }

//go:wasmexport proxy_on_vm_start
func onVmStart(a, b uint32) uint32 { return at(1, "vm_start", a, b) }

//go:wasmexport proxy_on_configure
func onConfigure(a, b uint32) uint32 { return at(1, "configure", a, b) }

//go:wasmexport proxy_on_tick
func onTick(a uint32) { at(0, "tick", a) }

//go:wasmexport proxy_on_queue_ready
func onQueueReady(a, b uint32) { at(0, "queue_ready", a, b) }

//go:wasmexport proxy_on_foreign_function
func onForeignFunction(a, b, c uint32) { at(0, "foreign_function", a, b, c) }

//go:wasmexport proxy_on_done
func onDone(a uint32) uint32 { return at(1, "done", a) }

//go:wasmexport proxy_on_log
func onLog(a uint32) { at(0, "log", a) }

//go:wasmexport proxy_on_delete
func onDelete(a uint32) { at(0, "delete", a) }

//go:wasmexport proxy_on_new_connection
func onNewConnection(a uint32) uint32 { return at(0, "new_connection", a) }

//go:wasmexport proxy_on_downstream_data
func onDownstreamData(a, b, c uint32) uint32 { return at(0, "downstream_data", a, b, c) }

//go:wasmexport proxy_on_upstream_data
func onUpstreamData(a, b, c uint32) uint32 { return at(0, "upstream_data", a, b, c) }

//go:wasmexport proxy_on_downstream_connection_close
func onDownstreamConnectionClose(a, b uint32) { at(0, "downstream_connection_close", a, b) }

//go:wasmexport proxy_on_upstream_connection_close
func onUpstreamConnectionClose(a, b uint32) { at(0, "upstream_connection_close", a, b) }

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(a, b, c uint32) uint32 { return at(0, "request_headers", a, b, c) }

//go:wasmexport proxy_on_request_body
func onRequestBody(a, b, c uint32) uint32 { return at(0, "request_body", a, b, c) }

//go:wasmexport proxy_on_request_trailers
func onRequestTrailers(a, b uint32) uint32 { return at(0, "request_trailers", a, b) }

//go:wasmexport proxy_on_request_metadata
func onRequestMetadata(a, b uint32) uint32 { return at(0, "request_metadata", a, b) }

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(a, b, c uint32) uint32 { return at(0, "response_headers", a, b, c) }

//go:wasmexport proxy_on_response_body
func onResponseBody(a, b, c uint32) uint32 { return at(0, "response_body", a, b, c) }

//go:wasmexport proxy_on_response_trailers
func onResponseTrailers(a, b uint32) uint32 { return at(0, "response_trailers", a, b) }

//go:wasmexport proxy_on_response_metadata
func onResponseMetadata(a, b uint32) uint32 { return at(0, "response_metadata", a, b) }

//go:wasmexport proxy_on_http_call_response
func onHttpCallResponse(a, b, c, d, e uint32) { at(0, "http_call_response", a, b, c, d, e) }

//go:wasmexport proxy_on_grpc_receive
func onGrpcReceive(a, b, c uint32) { at(0, "grpc_receive", a, b, c) }

//go:wasmexport proxy_on_grpc_close
func onGrpcClose(a, b, c uint32) { at(0, "grpc_close", a, b, c) }

//go:wasmexport proxy_on_grpc_receive_initial_metadata
func onGrpcReceiveInitialMetadata(a, b, c uint32) { at(0, "grpc_receive_initial_metadata", a, b, c) }

//go:wasmexport proxy_on_grpc_receive_trailing_metadata
func onGrpcReceiveTrailingMetadata(a, b, c uint32) { at(0, "grpc_receive_trailing_metadata", a, b, c) }

//go:wasmexport proxy_validate_configuration
func validateConfiguration(a, b uint32) uint32 { return at(1, "validate_configuration", a, b) }
