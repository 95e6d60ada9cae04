package main

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// nothing is a filter that makes the host calls that the bare filter makes for a request, and does nothing else: what a request through it
// costs is the host and the engine, without a guest.
func nothing() []byte {
	const (
		i32        = 0x7f
		dataAt     = 1024
		toRequest  = "x-request"
		toResponse = "x-response"
		value      = "1"
	)
	types := [][]byte{ // parameters and results
		{0x60, 5, i32, i32, i32, i32, i32, 1, i32},
		{0x60, 0, 0},
		{0x60, 1, i32, 1, i32},
		{0x60, 1, i32, 0},
		{0x60, 2, i32, i32, 0},
		{0x60, 2, i32, i32, 1, i32},
		{0x60, 3, i32, i32, i32, 1, i32},
	}
	push := func(n uint32) []byte { // i32.const, in signed LEB128
		b := []byte{0x41}
		for ; n >= 0x40; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		return append(b, byte(n))
	}
	add := func(headers, at uint32, name string) []byte { // the header, then Continue
		var b []byte
		for _, n := range []uint32{headers, dataAt + at, uint32(len(name)), dataAt + uint32(len(toRequest+toResponse)), uint32(len(value))} {
			b = append(b, push(n)...)
		}
		return append(b, 0x10, 0, 0x1a, 0x41, 0)
	}
	yes := push(1)
	functions := []struct {
		name string
		typ  byte
		body []byte
	}{
		{"proxy_abi_version_0_2_0", 1, nil},
		{"proxy_on_memory_allocate", 2, push(8192)},
		{"proxy_on_vm_start", 5, yes},
		{"proxy_on_configure", 5, yes},
		{"proxy_on_context_create", 4, nil},
		{"proxy_on_request_headers", 6, add(0, 0, toRequest)},
		{"proxy_on_response_headers", 6, add(2, uint32(len(toRequest)), toResponse)},
		{"proxy_on_log", 3, nil},
		{"proxy_on_done", 2, yes},
		{"proxy_on_delete", 3, nil},
	}
	text := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, items ...[]byte) {
		body := []byte{byte(len(items))}
		for _, item := range items {
			body = append(body, item...)
		}
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	var kinds, exports, code [][]byte
	for i, f := range functions {
		kinds = append(kinds, []byte{f.typ})
		exports = append(exports, append(text(f.name), 0, byte(i+1)))
		code = append(code, append(append([]byte{byte(len(f.body) + 2), 0}, f.body...), 0x0b))
	}
	exports = append(exports, append(text("memory"), 2, 0))
	section(1, types...)
	section(2, append(append(text("env"), text("proxy_add_header_map_value")...), 0, 0))
	section(3, kinds...)
	section(5, []byte{0, 1})
	section(7, exports...)
	section(10, code...)
	section(11, append(append(append([]byte{0}, push(dataAt)...), 0x0b), text(toRequest+toResponse+value)...))
	return out
}

// engine is the engine alone: it runs the calls of a request through nothing, back and forth, with a host function that does nothing.
type engine struct {
	runtime wazero.Runtime
	calls   []api.Function
	stack   [8]uint64
}

func newEngine(ctx context.Context) (*engine, error) {
	e := &engine{runtime: wazero.NewRuntime(ctx)}
	i32 := api.ValueTypeI32
	_, err := e.runtime.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, s []uint64) { s[0] = 0 }),
			[]api.ValueType{i32, i32, i32, i32, i32}, []api.ValueType{i32}).
		Export("proxy_add_header_map_value").Instantiate(ctx)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	mod, err := e.runtime.Instantiate(ctx, nothing())
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	for _, callback := range []string{"context_create", "request_headers", "response_headers", "log", "done", "delete"} {
		e.calls = append(e.calls, mod.ExportedFunction("proxy_on_"+callback))
	}
	return e, nil
}

func (e *engine) request(ctx context.Context) error {
	for _, f := range e.calls {
		e.stack[0] = 1
		if err := f.CallWithStack(ctx, e.stack[:]); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) close(ctx context.Context) { _ = e.runtime.Close(ctx) }
