package abi

import "strconv"

// Status is the result of a host call, with the numbers of proxy-wasm ABI 0.2.1. It is an error; [Status.Err] is nil for
// [OK].
type Status uint32

// The statuses of ABI 0.2.1.
const (
	OK                   Status = 0
	NotFound             Status = 1
	BadArgument          Status = 2
	SerializationFailure Status = 3
	ParseFailure         Status = 4
	InvalidMemoryAccess  Status = 6
	Empty                Status = 7
	CASMismatch          Status = 8
	InternalFailure      Status = 10
	Unimplemented        Status = 12
)

// Error is the status's name in the ABI.
func (s Status) Error() string {
	switch s {
	case OK:
		return "OK"
	case NotFound:
		return "NOT_FOUND"
	case BadArgument:
		return "BAD_ARGUMENT"
	case SerializationFailure:
		return "SERIALIZATION_FAILURE"
	case ParseFailure:
		return "PARSE_FAILURE"
	case InvalidMemoryAccess:
		return "INVALID_MEMORY_ACCESS"
	case Empty:
		return "EMPTY"
	case CASMismatch:
		return "CAS_MISMATCH"
	case InternalFailure:
		return "INTERNAL_FAILURE"
	case Unimplemented:
		return "UNIMPLEMENTED"
	}
	return "STATUS_" + strconv.FormatUint(uint64(s), 10)
}

// Err is the status as an error, nil for [OK].
func (s Status) Err() error {
	if s == OK {
		return nil
	}
	return s
}

// LogLevel is the severity of a log line.
type LogLevel uint32

// The log levels, lowest first.
const (
	LogTrace LogLevel = iota
	LogDebug
	LogInfo
	LogWarn
	LogError
	LogCritical
)

// MapType names one of the header maps of a stream.
type MapType uint32

// The header maps of an HTTP stream, and those that the callbacks of callouts bring.
const (
	RequestHeaders       MapType = 0
	RequestTrailers      MapType = 1
	ResponseHeaders      MapType = 2
	ResponseTrailers     MapType = 3
	GRPCInitialMetadata  MapType = 4
	GRPCTrailingMetadata MapType = 5
	CalloutHeaders       MapType = 6
	CalloutTrailers      MapType = 7
)

// BufferType names one of the byte buffers that a callback may read.
type BufferType uint32

// The buffers.
const (
	RequestBody         BufferType = 0
	ResponseBody        BufferType = 1
	DownstreamData      BufferType = 2
	UpstreamData        BufferType = 3
	CalloutBody         BufferType = 4
	GRPCMessage         BufferType = 5
	VMConfiguration     BufferType = 6
	PluginConfiguration BufferType = 7
	CallData            BufferType = 8
)

// MetricType is the kind of a metric.
type MetricType uint32

// The kinds of metric.
const (
	Counter   MetricType = 0
	Gauge     MetricType = 1
	Histogram MetricType = 2
)

// StreamType names a direction of a stream.
type StreamType uint32

// The directions of an HTTP stream and of a connection.
const (
	RequestStream    StreamType = 0
	ResponseStream   StreamType = 1
	DownstreamStream StreamType = 2
	UpstreamStream   StreamType = 3
)

// PeerType says which side closed a connection.
type PeerType uint32

// The sides of a connection.
const (
	UnknownPeer PeerType = 0
	LocalPeer   PeerType = 1
	RemotePeer  PeerType = 2
)

// Action is what a stream callback answers.
type Action uint32

// What callbacks may answer. In the headers callbacks Pause means what the host's allow_on_headers_stop_iteration says;
// PauseAll holds back headers, body and trailers whatever it says. In the body callbacks Pause has the host buffer what came
// so far, and PauseNoBuffer has it drop that.
const (
	Continue      Action = 0
	Pause         Action = 1
	PauseNoBuffer Action = 3
	PauseAll      Action = 4
)

// NoGRPCStatus tells SendLocalResponse to derive the gRPC status from the HTTP one.
const NoGRPCStatus int32 = -1

// Guest receives the host's callbacks. All of them come from one thread, one at a time.
type Guest interface {
	ContextCreate(id, parent uint32)
	Configure(id uint32, size uint32) bool
	RequestHeaders(id uint32, end bool) Action
	RequestBody(id uint32, size uint32, end bool) Action
	RequestTrailers(id uint32) Action
	ResponseHeaders(id uint32, end bool) Action
	ResponseBody(id uint32, size uint32, end bool) Action
	ResponseTrailers(id uint32) Action
	Done(id uint32) bool
	Log(id uint32)
	Delete(id uint32)

	// HTTPCallResponse brings the answer to an HTTP callout to the context that made it: the numbers of headers and
	// trailers and the size of the body. One without headers failed.
	HTTPCallResponse(id, token, headers, size, trailers uint32)
	GRPCReceiveInitialMetadata(id, token, pairs uint32)
	GRPCReceive(id, token, size uint32)
	GRPCReceiveTrailingMetadata(id, token, pairs uint32)
	// GRPCClose ends a gRPC callout with its status. The message is [Calls.Status]'s.
	GRPCClose(id, token, status uint32)

	Tick(id uint32)
	QueueReady(id, queue uint32)
	// ForeignFunction is a call of the host's own; its argument is the buffer [CallData].
	ForeignFunction(id, function, size uint32)

	NewConnection(id uint32) Action
	DownstreamData(id, size uint32, end bool) Action
	UpstreamData(id, size uint32, end bool) Action
	DownstreamClose(id uint32, peer PeerType)
	UpstreamClose(id uint32, peer PeerType)
}

// Calls is the set of host functions that the sdk uses. Byte slices that are passed in belong to the caller again when the
// call returns. Byte slices that are returned are valid until the next call only; strings are the caller's for good.
type Calls interface {
	// Getenv is an environment variable of the VM, empty when it is not set.
	Getenv(name string) string
	Log(level LogLevel, message string) Status
	LogLevel() (LogLevel, Status)
	// Status is the code and the message of the gRPC callout that just ended.
	Status() (code uint32, message string, status Status)
	// SetEffectiveContext makes the calls that follow in this callback count as made by another context.
	SetEffectiveContext(id uint32) Status
	// Done ends a context whose Done callback answered false.
	Done() Status
	// SetTickPeriod has the plugin's Tick called every so many milliseconds; 0 ends that.
	SetTickPeriod(milliseconds uint32) Status
	// Now is the host's clock in nanoseconds since 1970.
	Now() (uint64, Status)

	// GetProperty reads a property; the path's elements are separated by NUL.
	GetProperty(path string) ([]byte, Status)
	SetProperty(path string, value []byte) Status

	// GetBuffer reads at most length bytes from start. Past the end it answers an empty slice and OK.
	GetBuffer(buffer BufferType, start, length int) ([]byte, Status)
	BufferSize(buffer BufferType) (int, Status)
	// SetBuffer replaces length bytes at start with data; hosts support prepending (0, 0), appending (start at or past the
	// end) and replacing all of it.
	SetBuffer(buffer BufferType, start, length int, data []byte) Status

	// HeaderMapSize is the number of bytes of all names and values.
	HeaderMapSize(m MapType) (int, Status)
	// HeaderPairs reads a whole map, serialised; see [EachPair].
	HeaderPairs(m MapType) ([]byte, Status)
	// HeaderValue is the first value of a header.
	HeaderValue(m MapType, name string) (string, Status)
	// SetHeaderPairs replaces a whole map by a serialised one; see [AppendPairs].
	SetHeaderPairs(m MapType, pairs []byte) Status
	AddHeader(m MapType, name, value string) Status
	ReplaceHeader(m MapType, name, value string) Status
	RemoveHeader(m MapType, name string) Status

	// SendLocalResponse answers the request from here; headers are serialised pairs.
	SendLocalResponse(status uint32, details string, body []byte, headers []byte, grpcStatus int32) Status
	ContinueStream(s StreamType) Status
	CloseStream(s StreamType) Status

	DefineMetric(kind MetricType, name string) (uint32, Status)
	IncrementMetric(id uint32, offset int64) Status
	RecordMetric(id uint32, value uint64) Status
	GetMetric(id uint32) (uint64, Status)

	// HTTPCall sends a request to a cluster; headers and trailers are serialised pairs. The token comes back with the
	// answer, to the context that made the call.
	HTTPCall(cluster string, headers, body, trailers []byte, timeoutMillis uint32) (token uint32, status Status)
	// GRPCCall makes a unary call. service is a serialised envoy.config.core.v3.GrpcService, metadata serialised pairs.
	GRPCCall(service, name, method string, metadata, message []byte, timeoutMillis uint32) (token uint32, status Status)
	// GRPCStream opens a stream; see [Calls.GRPCCall].
	GRPCStream(service, name, method string, metadata []byte) (token uint32, status Status)
	GRPCSend(token uint32, message []byte, end bool) Status
	// GRPCCancel resets a callout: nothing of it is called back any more.
	GRPCCancel(token uint32) Status
	// GRPCClose ends a stream from this side, as [Calls.GRPCCancel] does.
	GRPCClose(token uint32) Status

	// SharedData is the value of a key and the number of its last write, for SetSharedData's cas.
	SharedData(key string) (value []byte, cas uint32, status Status)
	// SetSharedData writes a value; a cas other than 0 must be the number of the last write, else it is [CASMismatch].
	SetSharedData(key string, value []byte, cas uint32) Status
	RegisterSharedQueue(name string) (queue uint32, status Status)
	ResolveSharedQueue(vm, name string) (queue uint32, status Status)
	// DequeueShared takes the first item; [Empty] when there is none.
	DequeueShared(queue uint32) ([]byte, Status)
	EnqueueShared(queue uint32, item []byte) Status

	CallForeignFunction(name string, argument []byte) ([]byte, Status)
}
