package wasmhost

import (
	"fmt"
	"strings"
)

// capabilities are the names that a VM is restricted to; nil is no restriction (proxy-wasm-cpp-host, WasmBase::capabilityAllowed).
type capabilities map[string]bool

func newCapabilities(names []string) capabilities {
	if len(names) == 0 {
		return nil
	}
	c := make(capabilities, len(names))
	for _, name := range names {
		c[name] = true
	}
	return c
}

func (c capabilities) allow(name string) bool { return c == nil || c[name] }

// alwaysAllowed are the host functions that a restriction does not reach: Emscripten's.
var alwaysAllowed = map[string]bool{"pthread_equal": true, "emscripten_notify_memory_growth": true}

// denied is what a host function does in a VM that is not allowed to call it.
func denied(in *instance, f hostFunction, stack []uint64) {
	kind, result := "WASI", uint64(wasiENOTCAPABLE)
	if strings.HasPrefix(f.name, "proxy_") {
		kind, result = "proxy-wasm", uint64(StatusInternalFailure)
	}
	in.log(nil, LogError, "Attempted call to restricted "+kind+" capability: "+f.name)
	if strings.Contains(f.sig, ":") {
		stack[0] = result
	}
}

// unimplemented is what a host function that is left out does.
func unimplemented(module string) func(*instance, []uint64) {
	result := uint64(wasiENOSYS)
	if module == moduleEnv {
		result = uint64(StatusUnimplemented)
	}
	return func(_ *instance, stack []uint64) {
		if len(stack) > 0 {
			stack[0] = result
		}
	}
}

// leaveOut checks Config.LeaveOut.
func leaveOut(names []string) (map[string]bool, error) {
	known := map[string]bool{}
	for _, f := range envFunctions {
		known[f.name] = true
	}
	for _, f := range wasiFunctions {
		known[f.name] = true
	}
	for name := range guestExports {
		known[name] = strings.HasPrefix(name, "proxy_") && name != "proxy_on_memory_allocate"
	}
	out := map[string]bool{}
	for _, name := range names {
		if !known[name] {
			return nil, fmt.Errorf("host: leave out %q: no host function and no callback has that name", name)
		}
		out[name] = true
	}
	return out, nil
}
