package main

import "unsafe"

type ptr = unsafe.Pointer

//go:wasmimport env proxy_log
func proxyLog(level uint32, p ptr, n uint32) uint32

//go:wasmimport env proxy_call_foreign_function
func foreign(f ptr, fn uint32, a ptr, an uint32, p, n ptr) uint32

//go:wasmimport env proxy_get_status
func getStatus(code, p, n ptr) uint32

//go:wasmimport env proxy_done
func done() uint32

//go:wasmimport env proxy_set_effective_context
func setEffectiveContext(id uint32) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func setTickPeriod(ms uint32) uint32

//go:wasmimport env proxy_get_property
func getProperty(p ptr, n uint32, v, vn ptr) uint32

//go:wasmimport env proxy_set_property
func setProperty(p ptr, n uint32, v ptr, vn uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func getBufferBytes(t, start, length uint32, p, n ptr) uint32

//go:wasmimport env proxy_set_buffer_bytes
func setBufferBytes(t, start, length uint32, p ptr, n uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func getHeaderMapPairs(t uint32, p, n ptr) uint32

//go:wasmimport env proxy_add_header_map_value
func addHeaderMapValue(t uint32, k ptr, kn uint32, v ptr, vn uint32) uint32

//go:wasmimport env proxy_continue_stream
func continueStream(t uint32) uint32

//go:wasmimport env proxy_close_stream
func closeStream(t uint32) uint32

//go:wasmimport env proxy_send_local_response
func sendLocalResponse(code uint32, d ptr, dn uint32, b ptr, bn uint32, h ptr, hn uint32, grpc uint32) uint32

//go:wasmimport env proxy_http_call
func httpCall(u ptr, un uint32, h ptr, hn uint32, b ptr, bn uint32, t ptr, tn uint32, ms uint32, token ptr) uint32

//go:wasmimport env proxy_grpc_call
func grpcCall(s ptr, sn uint32, a ptr, an uint32, m ptr, mn uint32, i ptr, in uint32, r ptr, rn uint32, ms uint32, token ptr) uint32

//go:wasmimport env proxy_grpc_stream
func grpcStream(s ptr, sn uint32, a ptr, an uint32, m ptr, mn uint32, i ptr, in uint32, token ptr) uint32

//go:wasmimport env proxy_grpc_send
func grpcSend(token uint32, p ptr, n uint32, end uint32) uint32

//go:wasmimport env proxy_grpc_cancel
func grpcCancel(token uint32) uint32

//go:wasmimport env proxy_grpc_close
func grpcClose(token uint32) uint32

//go:wasmimport env proxy_get_shared_data
func getSharedData(k ptr, kn uint32, p, n, cas ptr) uint32

//go:wasmimport env proxy_set_shared_data
func setSharedData(k ptr, kn uint32, v ptr, vn uint32, cas uint32) uint32

//go:wasmimport env proxy_register_shared_queue
func registerSharedQueue(q ptr, qn uint32, token ptr) uint32

//go:wasmimport env proxy_resolve_shared_queue
func resolveSharedQueue(v ptr, vn uint32, q ptr, qn uint32, token ptr) uint32

//go:wasmimport env proxy_enqueue_shared_queue
func enqueueSharedQueue(token uint32, p ptr, n uint32) uint32

//go:wasmimport env proxy_dequeue_shared_queue
func dequeueSharedQueue(token uint32, p, n ptr) uint32

func str(s string) (ptr, uint32) {
	if s == "" {
		return nil, 0
	}
	return ptr(unsafe.StringData(s)), uint32(len(s))
}

// out is where host functions leave what they return.
var out struct {
	p    ptr // 64 bits wide: the host writes the lower half, and do clears it first
	n    uint32
	word uint32
}

var (
	outP = ptr(&out.p)
	outN = ptr(&out.n)
	outW = ptr(&out.word)
)

func given() string {
	if out.p == nil {
		return ""
	}
	return string(unsafe.Slice((*byte)(out.p), out.n))
}

// kept holds what the host allocated, so that it is not collected before it is read.
var kept []byte

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) ptr {
	kept = make([]byte, max(size, 1))
	return ptr(&kept[0])
}
