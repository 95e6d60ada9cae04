package sdk

import (
	"github.com/waft-project/waft/sdk/internal/abi"
)

// CallForeignFunction calls a function that the host has beside the ABI, such as Envoy's clear_route_cache, with an argument
// that it defines, and gives its result, which is the caller's and may be empty. It is [ErrNotFound] for a function that the
// host does not have. Envoy's are listed in its source/extensions/common/wasm/foreign.cc.
func (s *Stream) CallForeignFunction(name string, argument []byte) ([]byte, error) {
	if !s.own() {
		return nil, wrap("call foreign function "+name, ErrOtherStream)
	}
	return callForeignFunction(s.host, name, argument)
}

// CallForeignFunction is [Stream.CallForeignFunction] outside of a stream.
func (p *Plugin) CallForeignFunction(name string, argument []byte) ([]byte, error) {
	return callForeignFunction(p.host, name, argument)
}

func callForeignFunction(h abi.Host, name string, argument []byte) ([]byte, error) {
	result, status := h.CallForeignFunction(name, argument)
	if status != abi.OK {
		return nil, hostError(status, "call foreign function", name)
	}
	return append([]byte(nil), result...), nil
}

// ClearRouteCache has Envoy choose the route again, for headers that a filter changed. It is called in OnRequestHeaders.
func (r *Request) ClearRouteCache() error {
	_, err := r.stream.CallForeignFunction("clear_route_cache", nil)
	return err
}

// HandleForeign has f called when the host calls the plugin itself, with the number of the function and its argument. Envoy
// does so for none of its own functions; extensions of it may.
//
//go:noinline
func (p *Plugin) HandleForeign(f func(function uint32, argument []byte)) { p.foreign = f }

// ForeignFunction is the callback proxy_on_foreign_function.
func (v *vm) ForeignFunction(id, function, size uint32) {
	v.context = id
	p := v.plugins[id]
	if p == nil || p.foreign == nil {
		return
	}
	argument, err := v.answerBytes(abi.CallData, size, maxForeignArgument)
	if err != nil {
		p.Log().Error("argument of a foreign function: " + err.Error())
		return
	}
	defer func() {
		if reason := recover(); reason != nil {
			p.report(reason)
		}
		v.drive()
	}()
	p.foreign(function, argument)
}

// maxForeignArgument is the most bytes of an argument that the host may hand over.
const maxForeignArgument = 16 << 20
