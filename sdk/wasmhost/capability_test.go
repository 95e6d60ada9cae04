package wasmhost_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// statusModule has two callbacks: proxy_on_tick makes the tick period, in milliseconds, what a host call returns; proxy_on_configure
// returns false.
func statusModule(module, name, params string, args ...[]byte) *moduleBuilder {
	m := newModule("0_2_1")
	f := m.importFunc(module, name, params, "i")
	tick := m.importFunc("env", "proxy_set_tick_period_milliseconds", "i", "i")
	m.function("proxy_on_tick", "i", "", join(call(f, args...), []byte{0x10}, uleb(tick), drop))
	m.function("proxy_on_configure", "ii", "i", i32(0))
	return m
}

var (
	logModule   = statusModule("env", "proxy_log", "iii", i32(2), i32(dataAt), i32(0))
	yieldModule = statusModule("wasi_snapshot_preview1", "sched_yield", "")
	equalModule = statusModule("env", "pthread_equal", "ii", i32(7), i32(7))
)

// TestCapabilities restricts VMs as Envoy's capability_restriction_config does.
func TestCapabilities(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff})
	for _, test := range []struct {
		name    string
		module  *moduleBuilder
		allowed []string
		status  wasmhost.Status // what the host call returns
		line    string          // in the log
	}{
		{"a function that is not allowed", logModule, []string{"proxy_on_tick", "proxy_set_tick_period_milliseconds"},
			wasmhost.StatusInternalFailure, "Attempted call to restricted proxy-wasm capability: proxy_log"},
		{"one of WASI", yieldModule, []string{"proxy_on_tick", "proxy_set_tick_period_milliseconds"},
			76, "Attempted call to restricted WASI capability: sched_yield"},
		{"one that is allowed", yieldModule, []string{"proxy_on_tick", "proxy_set_tick_period_milliseconds", "sched_yield"}, 0, ""},
		{"Emscripten's are not restricted", equalModule, []string{"proxy_on_tick", "proxy_set_tick_period_milliseconds"}, 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			vm, err := start(t, host, test.module, "envoy-1.40", wasmhost.VMConfig{AllowedCapabilities: test.allowed})
			if err != nil {
				t.Fatal(err)
			}
			p := configured(t, vm, wasmhost.PluginConfig{}) // proxy_on_configure is not allowed, or it would say no
			if err := p.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := wasmhost.Status(p.TickPeriod() / time.Millisecond); got != test.status {
				t.Errorf("the call returned %s, want %s", got, test.status)
			}
			if lines := logged(vm); test.line != "" && !slices.Contains(lines, test.line) || test.line == "" && len(lines) > 0 {
				t.Errorf("logged %q", lines)
			}
		})
	}
	t.Run("a callback that is not allowed", func(t *testing.T) {
		vm, err := start(t, host, logModule, "envoy-1.40", wasmhost.VMConfig{AllowedCapabilities: []string{"proxy_on_configure"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vm.Configure(t.Context(), wasmhost.PluginConfig{}); !errors.Is(err, wasmhost.ErrConfigure) {
			t.Errorf("got %v", err)
		}
	})
}

// TestLeaveOut has hosts without a function and without a callback.
func TestLeaveOut(t *testing.T) {
	for _, test := range []struct {
		name   string
		module *moduleBuilder
		status wasmhost.Status
	}{
		{"proxy_log", logModule, wasmhost.StatusUnimplemented},
		{"sched_yield", yieldModule, 52},
		{"pthread_equal", equalModule, wasmhost.StatusUnimplemented},
	} {
		host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff, LeaveOut: []string{test.name, "proxy_on_configure"}})
		vm, err := start(t, host, test.module, "envoy-1.40", wasmhost.VMConfig{})
		if err != nil {
			t.Fatal(err)
		}
		p := configured(t, vm, wasmhost.PluginConfig{})
		if err := p.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := wasmhost.Status(p.TickPeriod() / time.Millisecond); got != test.status {
			t.Errorf("without %s: the call returned %s, want %s", test.name, got, test.status)
		}
	}
	for _, name := range []string{"proxy_teleport", "_initialize", "proxy_on_memory_allocate"} {
		if _, err := wasmhost.NewHost(t.Context(), wasmhost.Config{CacheDir: wasmhost.CacheOff, LeaveOut: []string{name}}); err == nil {
			t.Errorf("a host without %s is made", name)
		}
	}
}
