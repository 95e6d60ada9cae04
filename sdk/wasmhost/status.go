package wasmhost

import "fmt"

// Status is the result of a host function, as the proxy-wasm ABI numbers it (proxy_status_t).
type Status uint32

// The statuses of the ABI.
const (
	StatusOK                  Status = 0
	StatusNotFound            Status = 1
	StatusBadArgument         Status = 2
	StatusSerialization       Status = 3
	StatusParse               Status = 4
	StatusBadExpression       Status = 5
	StatusInvalidMemoryAccess Status = 6
	StatusEmpty               Status = 7
	StatusCASMismatch         Status = 8
	StatusResultMismatch      Status = 9
	StatusInternalFailure     Status = 10
	StatusBrokenConnection    Status = 11
	StatusUnimplemented       Status = 12
)

var statusNames = [...]string{
	"OK", "NOT_FOUND", "BAD_ARGUMENT", "SERIALIZATION_FAILURE", "PARSE_FAILURE", "BAD_EXPRESSION", "INVALID_MEMORY_ACCESS",
	"EMPTY", "CAS_MISMATCH", "RESULT_MISMATCH", "INTERNAL_FAILURE", "BROKEN_CONNECTION", "UNIMPLEMENTED",
}

// String gives the ABI's name of the status.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("STATUS_%d", uint32(s))
}

// MapType names a header map in a host call (proxy_map_type_t).
type MapType uint32

// The map types of the ABI.
const (
	MapRequestHeaders MapType = iota
	MapRequestTrailers
	MapResponseHeaders
	MapResponseTrailers
	MapGRPCInitialMetadata
	MapGRPCTrailingMetadata
	MapHTTPCallResponseHeaders
	MapHTTPCallResponseTrailers

	maxMapType = MapHTTPCallResponseTrailers
)

// BufferType names a buffer in a host call (proxy_buffer_type_t).
type BufferType uint32

// The buffer types of the ABI.
const (
	BufferRequestBody BufferType = iota
	BufferResponseBody
	BufferDownstreamData
	BufferUpstreamData
	BufferHTTPCallResponseBody
	BufferGRPCReceive
	BufferVMConfiguration
	BufferPluginConfiguration
	BufferCallData

	maxBufferType = BufferCallData
)

// StreamType names a direction in continue_stream and close_stream (proxy_stream_type_t).
type StreamType uint32

// The stream types of the ABI.
const (
	StreamRequest StreamType = iota
	StreamResponse
	StreamDownstream
	StreamUpstream

	maxStreamType = StreamUpstream
)
