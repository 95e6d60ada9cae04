package conformance

// listedCase is a difference that is listed instead of fixed.
type listedCase struct {
	name   string
	since  string // the first Envoy that differs, as "1.39"; empty: the first of all
	until  string // the last one; empty: the newest
	reason string
}

// listedReason says why a case may differ under a version.
func listedReason(name, version string) (reason string, ok bool) {
	for _, l := range listedCases {
		if l.name == name && (testCase{since: l.since, until: l.until}).within(version) {
			return l.reason, true
		}
	}
	return "", false
}

// listedCases are the differences that stay. Each is one that a case shows.
var listedCases = []listedCase{
	{name: "buffers/types", reason: pending},
	{name: "callouts/body and trailers sent", reason: pending},
	{name: "callouts/timed out in the body", reason: pending},
	{name: "callouts/nobody listens", reason: pending},
	{name: "callouts/nobody listens, paused", reason: pending},
	{name: "grpc/unary fails", reason: pending},
	{name: "grpc/unary fails at once", reason: pending},
	{name: "grpc/unary is not gRPC", reason: pending},
	{name: "grpc/unary is reset", reason: pending},
	{name: "grpc/unary is reset after headers", reason: pending},
	{name: "grpc/unary times out", reason: pending},
	{name: "grpc/unary, nobody listens", reason: pending},
	{name: "grpc/unary, an empty service", reason: pending},
	{name: "grpc/unary on_configure", reason: pending},
	{name: "grpc/stream", reason: pending},
	{name: "grpc/stream, the guest ends it", reason: pending},
	{name: "grpc/stream, the server ends it", reason: pending},
	{name: "grpc/stream fails", reason: pending},
	{name: "grpc/stream fails at once", reason: pending},
	{name: "grpc/stream is not gRPC", reason: pending},
	{name: "grpc/stream is reset", reason: pending},
	{name: "grpc/stream is reset after headers", reason: pending},
	{name: "grpc/stream, nobody listens", reason: pending},
	{name: "grpc/stream, an empty service", reason: pending},
	{name: "grpc/the stream has gone", reason: pending},
	{name: "properties/read in on_request_headers", reason: pending},
	{name: "properties/read in on_response_headers", reason: pending},
	{name: "properties/read in on_log", reason: pending},
	{name: "wasi/time and chance", reason: pending},
	{name: "start/trap in on_context_create", reason: pending},
	{name: "crash/FAIL_CLOSED in on_context_create", reason: pending},
	{name: "crash/FAIL_CLOSED in on_request_headers", reason: pending},
	{name: "crash/FAIL_CLOSED in on_request_body", reason: pending},
	{name: "crash/FAIL_OPEN in on_context_create", reason: pending},
	{name: "crash/FAIL_OPEN in on_request_headers", reason: pending},
	{name: "crash/FAIL_OPEN in on_request_body", reason: pending},
	{name: "crash/FAIL_RELOAD in on_request_headers", reason: pending},
	{name: "network/continue 0 after a pause in on_new_connection", reason: pending},
	{name: "network/continue 1 after a pause in on_new_connection", reason: pending},
	{name: "network/continue 2 after a pause in on_new_connection", reason: pending},
	{name: "network/continue 3 after a pause in on_new_connection", reason: pending},
	{name: "network/properties in on_new_connection", reason: pending},
	{name: "network/properties in on_downstream_data", reason: pending},
	{name: "network/properties in on_upstream_data", reason: pending},
	{name: "network/properties in on_downstream_connection_close", reason: pending},
	{name: "network/properties in on_log", reason: pending},
}

// pending marks a difference that is to be fixed in wasmhost.
const pending = "to be fixed"
