//go:build wasip1

package abi

import (
	"syscall"
	"unsafe"
)

// Where the host writes its answers. They are package variables because the host holds their addresses while it calls
// back into the module, during which a stack may move. outData is a pointer, so that the collector sees what it holds.
var (
	outData unsafe.Pointer
	outSize uint32
	outWord uint32
	outLong uint64
)

var _ Calls = Host{}

// Host makes host calls. In Wasm there is one host, the embedder, and the zero Host calls it.
type Host struct{}

// taken is what the last call answered. It is valid until the next call.
func taken(status uint32) ([]byte, Status) {
	data, size := outData, outSize
	outData, outSize = nil, 0
	if Status(status) != OK || data == nil || size == 0 {
		return nil, Status(status)
	}
	return unsafe.Slice((*byte)(data), size), OK
}

func (Host) Getenv(name string) string {
	value, _ := syscall.Getenv(name)
	return value
}

func (Host) Log(level LogLevel, message string) Status {
	return Status(proxyLog(uint32(level), message))
}

func (Host) LogLevel() (LogLevel, Status) {
	status := Status(proxyGetLogLevel(&outWord))
	return LogLevel(outWord), status
}

func (Host) Now() (uint64, Status) {
	status := Status(proxyGetCurrentTimeNanoseconds(&outLong))
	return outLong, status
}

func (Host) Status() (uint32, string, Status) {
	message, status := taken(proxyGetStatus(&outWord, unsafe.Pointer(&outData), &outSize))
	return outWord, string(message), status
}

func (Host) SetEffectiveContext(id uint32) Status { return Status(proxySetEffectiveContext(id)) }
func (Host) Done() Status                         { return Status(proxyDone()) }

func (Host) SetTickPeriod(milliseconds uint32) Status {
	return Status(proxySetTickPeriodMilliseconds(milliseconds))
}

func (Host) GetProperty(path string) ([]byte, Status) {
	return taken(proxyGetProperty(path, unsafe.Pointer(&outData), &outSize))
}

func (Host) SetProperty(path string, value []byte) Status {
	return Status(proxySetProperty(path, unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value))))
}

func (Host) GetBuffer(buffer BufferType, start, length int) ([]byte, Status) {
	return taken(proxyGetBufferBytes(uint32(buffer), uint32(start), uint32(length), unsafe.Pointer(&outData), &outSize))
}

func (Host) BufferSize(buffer BufferType) (int, Status) {
	var status = Status(proxyGetBufferStatus(uint32(buffer), &outSize, &outWord))
	return int(outSize), status
}

func (Host) SetBuffer(buffer BufferType, start, length int, data []byte) Status {
	return Status(proxySetBufferBytes(uint32(buffer), uint32(start), uint32(length), unsafe.Pointer(unsafe.SliceData(data)), uint32(len(data))))
}

func (Host) HeaderMapSize(m MapType) (int, Status) {
	status := Status(proxyGetHeaderMapSize(uint32(m), &outWord))
	return int(outWord), status
}

func (Host) HeaderPairs(m MapType) ([]byte, Status) {
	return taken(proxyGetHeaderMapPairs(uint32(m), unsafe.Pointer(&outData), &outSize))
}

func (Host) HeaderValue(m MapType, name string) (string, Status) {
	value, status := taken(proxyGetHeaderMapValue(uint32(m), name, unsafe.Pointer(&outData), &outSize))
	return string(value), status
}

func (Host) SetHeaderPairs(m MapType, pairs []byte) Status {
	return Status(proxySetHeaderMapPairs(uint32(m), unsafe.Pointer(unsafe.SliceData(pairs)), uint32(len(pairs))))
}

func (Host) AddHeader(m MapType, name, value string) Status {
	return Status(proxyAddHeaderMapValue(uint32(m), name, value))
}

func (Host) ReplaceHeader(m MapType, name, value string) Status {
	return Status(proxyReplaceHeaderMapValue(uint32(m), name, value))
}

func (Host) RemoveHeader(m MapType, name string) Status {
	return Status(proxyRemoveHeaderMapValue(uint32(m), name))
}

func (Host) SendLocalResponse(status uint32, details string, body []byte, headers []byte, grpcStatus int32) Status {
	return Status(proxySendLocalResponse(status, details,
		unsafe.Pointer(unsafe.SliceData(body)), uint32(len(body)),
		unsafe.Pointer(unsafe.SliceData(headers)), uint32(len(headers)), grpcStatus))
}

func (Host) ContinueStream(s StreamType) Status { return Status(proxyContinueStream(uint32(s))) }
func (Host) CloseStream(s StreamType) Status    { return Status(proxyCloseStream(uint32(s))) }

func (Host) DefineMetric(kind MetricType, name string) (uint32, Status) {
	status := Status(proxyDefineMetric(uint32(kind), name, &outWord))
	return outWord, status
}

func (Host) IncrementMetric(id uint32, offset int64) Status {
	return Status(proxyIncrementMetric(id, offset))
}

func (Host) RecordMetric(id uint32, value uint64) Status {
	return Status(proxyRecordMetric(id, value))
}

func (Host) GetMetric(id uint32) (uint64, Status) {
	status := Status(proxyGetMetric(id, &outLong))
	return outLong, status
}

func (Host) HTTPCall(cluster string, headers, body, trailers []byte, timeoutMillis uint32) (uint32, Status) {
	status := Status(proxyHTTPCall(cluster,
		unsafe.Pointer(unsafe.SliceData(headers)), uint32(len(headers)),
		unsafe.Pointer(unsafe.SliceData(body)), uint32(len(body)),
		unsafe.Pointer(unsafe.SliceData(trailers)), uint32(len(trailers)), timeoutMillis, &outWord))
	return outWord, status
}

func (Host) GRPCCall(service, name, method string, metadata, message []byte, timeoutMillis uint32) (uint32, Status) {
	status := Status(proxyGRPCCall(service, name, method,
		unsafe.Pointer(unsafe.SliceData(metadata)), uint32(len(metadata)),
		unsafe.Pointer(unsafe.SliceData(message)), uint32(len(message)), timeoutMillis, &outWord))
	return outWord, status
}

func (Host) GRPCStream(service, name, method string, metadata []byte) (uint32, Status) {
	status := Status(proxyGRPCStream(service, name, method,
		unsafe.Pointer(unsafe.SliceData(metadata)), uint32(len(metadata)), &outWord))
	return outWord, status
}

func (Host) GRPCSend(token uint32, message []byte, end bool) Status {
	var last uint32
	if end {
		last = 1
	}
	return Status(proxyGRPCSend(token, unsafe.Pointer(unsafe.SliceData(message)), uint32(len(message)), last))
}

func (Host) GRPCCancel(token uint32) Status { return Status(proxyGRPCCancel(token)) }
func (Host) GRPCClose(token uint32) Status  { return Status(proxyGRPCClose(token)) }

func (Host) SharedData(key string) ([]byte, uint32, Status) {
	value, status := taken(proxyGetSharedData(key, unsafe.Pointer(&outData), &outSize, &outWord))
	return value, outWord, status
}

func (Host) SetSharedData(key string, value []byte, cas uint32) Status {
	return Status(proxySetSharedData(key, unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)), cas))
}

func (Host) RegisterSharedQueue(name string) (uint32, Status) {
	status := Status(proxyRegisterSharedQueue(name, &outWord))
	return outWord, status
}

func (Host) ResolveSharedQueue(vm, name string) (uint32, Status) {
	status := Status(proxyResolveSharedQueue(vm, name, &outWord))
	return outWord, status
}

func (Host) DequeueShared(queue uint32) ([]byte, Status) {
	return taken(proxyDequeueSharedQueue(queue, unsafe.Pointer(&outData), &outSize))
}

func (Host) EnqueueShared(queue uint32, item []byte) Status {
	return Status(proxyEnqueueSharedQueue(queue, unsafe.Pointer(unsafe.SliceData(item)), uint32(len(item))))
}

func (Host) CallForeignFunction(name string, argument []byte) ([]byte, Status) {
	return taken(proxyCallForeignFunction(name, unsafe.Pointer(unsafe.SliceData(argument)), uint32(len(argument)),
		unsafe.Pointer(&outData), &outSize))
}

// A string parameter is an address and a length.

//go:wasmimport env proxy_log
func proxyLog(level uint32, message string) uint32

//go:wasmimport env proxy_get_log_level
func proxyGetLogLevel(level *uint32) uint32

//go:wasmimport env proxy_get_current_time_nanoseconds
func proxyGetCurrentTimeNanoseconds(now *uint64) uint32

//go:wasmimport env proxy_get_property
func proxyGetProperty(path string, data unsafe.Pointer, size *uint32) uint32

//go:wasmimport env proxy_set_property
func proxySetProperty(path string, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer, start, length uint32, data unsafe.Pointer, size *uint32) uint32

//go:wasmimport env proxy_get_buffer_status
func proxyGetBufferStatus(buffer uint32, length, flags *uint32) uint32

//go:wasmimport env proxy_set_buffer_bytes
func proxySetBufferBytes(buffer, start, length uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(m uint32, data unsafe.Pointer, size *uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func proxyGetHeaderMapValue(m uint32, name string, data unsafe.Pointer, size *uint32) uint32

//go:wasmimport env proxy_set_header_map_pairs
func proxySetHeaderMapPairs(m uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_add_header_map_value
func proxyAddHeaderMapValue(m uint32, name, value string) uint32

//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeaderMapValue(m uint32, name, value string) uint32

//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeaderMapValue(m uint32, name string) uint32

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(code uint32, details string, body unsafe.Pointer, bodySize uint32, headers unsafe.Pointer, headersSize uint32, grpcStatus int32) uint32

//go:wasmimport env proxy_continue_stream
func proxyContinueStream(stream uint32) uint32

//go:wasmimport env proxy_close_stream
func proxyCloseStream(stream uint32) uint32

//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name string, id *uint32) uint32

//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(id uint32, offset int64) uint32

//go:wasmimport env proxy_record_metric
func proxyRecordMetric(id uint32, value uint64) uint32

//go:wasmimport env proxy_get_metric
func proxyGetMetric(id uint32, value *uint64) uint32

//go:wasmimport env proxy_get_status
func proxyGetStatus(code *uint32, message unsafe.Pointer, size *uint32) uint32

//go:wasmimport env proxy_set_effective_context
func proxySetEffectiveContext(id uint32) uint32

//go:wasmimport env proxy_done
func proxyDone() uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func proxySetTickPeriodMilliseconds(milliseconds uint32) uint32

//go:wasmimport env proxy_get_header_map_size
func proxyGetHeaderMapSize(m uint32, size *uint32) uint32

//go:wasmimport env proxy_http_call
func proxyHTTPCall(cluster string, headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, trailers unsafe.Pointer, trailersSize, timeout uint32, token *uint32) uint32

//go:wasmimport env proxy_grpc_call
func proxyGRPCCall(service, name, method string, metadata unsafe.Pointer, metadataSize uint32, message unsafe.Pointer, messageSize, timeout uint32, token *uint32) uint32

//go:wasmimport env proxy_grpc_stream
func proxyGRPCStream(service, name, method string, metadata unsafe.Pointer, metadataSize uint32, token *uint32) uint32

//go:wasmimport env proxy_grpc_send
func proxyGRPCSend(token uint32, message unsafe.Pointer, size, end uint32) uint32

//go:wasmimport env proxy_grpc_cancel
func proxyGRPCCancel(token uint32) uint32

//go:wasmimport env proxy_grpc_close
func proxyGRPCClose(token uint32) uint32

//go:wasmimport env proxy_get_shared_data
func proxyGetSharedData(key string, value unsafe.Pointer, size, cas *uint32) uint32

//go:wasmimport env proxy_set_shared_data
func proxySetSharedData(key string, value unsafe.Pointer, size, cas uint32) uint32

//go:wasmimport env proxy_register_shared_queue
func proxyRegisterSharedQueue(name string, queue *uint32) uint32

//go:wasmimport env proxy_resolve_shared_queue
func proxyResolveSharedQueue(vm, name string, queue *uint32) uint32

//go:wasmimport env proxy_dequeue_shared_queue
func proxyDequeueSharedQueue(queue uint32, item unsafe.Pointer, size *uint32) uint32

//go:wasmimport env proxy_enqueue_shared_queue
func proxyEnqueueSharedQueue(queue uint32, item unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_call_foreign_function
func proxyCallForeignFunction(name string, argument unsafe.Pointer, size uint32, result unsafe.Pointer, resultSize *uint32) uint32
