package main

import (
	"errors"
	"fmt"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/proxytest"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

var errNoHeader = errors.New("the filter has not set its header")

// What both hosts feed: names and values in turn.
var (
	requestHeaders  = []string{":authority", "waft.test", ":path", "/", ":method", "GET", ":scheme", "http", "user-agent", "bench", "accept", "*/*"}
	responseHeaders = []string{":status", "200", "content-type", "text/plain"}
)

// theirs is a plugin in the emulator. There can only be one at a time: the emulator is a global of its package.
type theirs struct {
	vm                proxytest.WasmVMContext
	host              proxytest.HostEmulator
	reset             func()
	request0, answer0 [][2]string
}

func newTheirs(module []byte) (*theirs, error) {
	vm, err := proxytest.NewWasmVMContext(module)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	t := &theirs{vm: vm, request0: pairs(requestHeaders), answer0: pairs(responseHeaders)}
	t.host, t.reset = proxytest.NewHostEmulator(proxytest.NewEmulatorOption().WithVMContext(vm).WithPluginConfiguration([]byte(bareConfig)))
	if status := t.host.StartVM(); status != types.OnVMStartStatusOK {
		return nil, errors.New("emulator: the VM does not start")
	}
	if status := t.host.StartPlugin(); status != types.OnPluginStartStatusOK {
		return nil, errors.New("emulator: the plugin does not start")
	}
	return t, nil
}

func pairs(flat []string) [][2]string {
	out := make([][2]string, 0, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		out = append(out, [2]string{flat[i], flat[i+1]})
	}
	return out
}

// close ends the emulator; more calls do nothing.
func (t *theirs) close() {
	if t.reset != nil {
		t.reset()
		_ = t.vm.Close()
		t.reset = nil
	}
}

func (t *theirs) request() error {
	id := t.host.InitializeHttpContext()
	t.host.CallOnRequestHeaders(id, t.request0, true)
	t.host.CallOnResponseHeaders(id, t.answer0, true)
	if !has(t.host.GetCurrentRequestHeaders(id), "x-request") || !has(t.host.GetCurrentResponseHeaders(id), "x-response") {
		return errNoHeader
	}
	t.host.CompleteHttpContext(id)
	return nil
}

func has(headers [][2]string, name string) bool {
	for _, h := range headers {
		if h[0] == name {
			return true
		}
	}
	return false
}

func startTheirs(module []byte) error {
	t, err := newTheirs(module)
	if err == nil {
		t.close()
	}
	return err
}
