package wasmhost_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// start loads a built module and starts a VM of it.
func start(t *testing.T, host *wasmhost.Host, m *moduleBuilder, profileName string, cfg wasmhost.VMConfig) (*wasmhost.VM, error) {
	t.Helper()
	mod, err := host.Load(t.Context(), m.bytes(), profile(t, profileName))
	if err != nil {
		t.Fatal(err)
	}
	vm, err := mod.NewVM(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { _ = vm.Close(context.Background()) })
	}
	return vm, err
}

func configured(t *testing.T, vm *wasmhost.VM, cfg wasmhost.PluginConfig) *wasmhost.Plugin {
	t.Helper()
	p, err := vm.Configure(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func logged(vm *wasmhost.VM) []string {
	logs, _ := vm.TakeLogs()
	out := make([]string, len(logs))
	for i, l := range logs {
		out[i] = l.Message
	}
	return out
}

func ok(context.Context, wasmhost.Request) (wasmhost.Response, error) {
	return wasmhost.Response{Headers: wasmhost.NewHeaders(":status", "200", "content-length", "2"), Body: []byte("ok")}, nil
}

func get(t *testing.T) wasmhost.Request {
	t.Helper()
	return profile(t, "envoy-1.40").NewRequest("GET", "/", "waft.test", nil, nil)
}

// TestLifeCycle wants the callbacks in Envoy's order, and only those that are exported.
func TestLifeCycle(t *testing.T) {
	m := newModule("0_2_0")
	log := m.importFunc("env", "proxy_log", "iii", "i")
	at := int32(0)
	trace := func(export, params, results string, ret []byte) {
		m.data = append(m.data, export...)
		m.function(export, params, results, join(logCode(log, at, int32(len(export))), ret))
		at += int32(len(export))
	}
	trace("_initialize", "", "", nil)
	trace("main", "ii", "i", i32(0))
	trace("proxy_on_context_create", "ii", "", nil)
	trace("proxy_on_vm_start", "ii", "i", i32(1))
	trace("proxy_on_configure", "ii", "i", i32(1))
	trace("proxy_on_tick", "i", "", nil)
	trace("proxy_on_request_headers", "iii", "i", i32(0))
	trace("proxy_on_response_headers", "iii", "i", i32(0))
	trace("proxy_on_response_body", "iii", "i", i32(0))
	trace("proxy_on_log", "i", "", nil)
	trace("proxy_on_done", "i", "i", i32(1))
	trace("proxy_on_delete", "i", "", nil)

	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, names ...string) {
		t.Helper()
		if got := logged(vm); !slices.Equal(got, names) {
			t.Errorf("%s: got %q, want %q", what, got, names)
		}
	}
	want("start", "_initialize", "main")
	p := configured(t, vm, wasmhost.PluginConfig{})
	want("configure", "proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure")
	if err := p.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("tick", "proxy_on_tick")
	out, err := p.Exchange(t.Context(), get(t), ok)
	if err != nil || out.Response == nil || string(out.Response.Body) != "ok" {
		t.Fatalf("got %+v, %v", out, err)
	}
	got := make([]string, len(out.Logs))
	for i, l := range out.Logs {
		got[i] = l.Message
	}
	if names := []string{"proxy_on_context_create", "proxy_on_request_headers", "proxy_on_response_headers", "proxy_on_response_body",
		"proxy_on_response_body", "proxy_on_log", "proxy_on_done", "proxy_on_delete"}; !slices.Equal(got, names) {
		t.Errorf("exchange: got %q, want %q", got, names)
	}
	if err := vm.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("shutdown", "proxy_on_done", "proxy_on_delete")
}

// TestABI010 has headers callbacks without end_of_stream.
func TestABI010(t *testing.T) {
	m := newModule("0_1_0")
	log := m.importFunc("env", "proxy_log", "iii", "i")
	m.data = []byte("old")
	m.function("proxy_on_request_headers", "ii", "i", join(logCode(log, 0, 3), i32(0)))
	m.function("_start", "", "", logCode(log, 0, 2))
	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.36", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if got := logged(vm); !slices.Equal(got, []string{"ol"}) {
		t.Errorf("_start logged %q", got)
	}
	out, err := configured(t, vm, wasmhost.PluginConfig{}).Exchange(t.Context(), get(t), ok)
	if err != nil || len(out.Logs) != 1 || out.Logs[0].Message != "old" {
		t.Errorf("got %+v, %v", out.Logs, err)
	}
}

func TestStartErrors(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff, Deadline: 200 * time.Millisecond, MemoryLimit: 4 << 20})
	restricted := newModule("0_2_0")
	headers := restricted.importFunc("env", "proxy_get_header_map_size", "ii", "i")
	restricted.function("_initialize", "", "", join(call(headers, i32(0), i32(scratchAt)), drop))
	early := newModule("0_2_0")
	poll := early.importFunc("wasi_snapshot_preview1", "poll_oneoff", "iiii", "i")
	early.function("_initialize", "", "", join(call(poll, i32(0), i32(0), i32(0), i32(scratchAt)), drop))

	for _, test := range []struct {
		name    string
		module  *moduleBuilder
		profile string
		want    string
		target  error
	}{
		{"a trap in _initialize", newModule("0_2_0").function("_initialize", "", "", unreachable), "envoy-1.40", "_initialize failed: wasm error: unreachable", nil},
		{"a loop in _initialize", newModule("0_2_0").function("_initialize", "", "", forever), "envoy-1.40", "deadline of 200ms", wasmhost.ErrDeadline},
		{"a call that is not allowed yet", restricted, "envoy-1.40", "restricted_callback: proxy_get_header_map_size", nil},
		{"poll_oneoff is allowed from 1.39 on only", early, "envoy-1.36", "restricted_callback: poll_oneoff", nil},
		{"and now it is", early, "envoy-1.40", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := start(t, host, test.module, test.profile, wasmhost.VMConfig{})
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var trap *wasmhost.TrapError
			if !errors.As(err, &trap) || !strings.Contains(err.Error(), test.want) || test.target != nil && !errors.Is(err, test.target) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}

	t.Run("on_vm_start says no", func(t *testing.T) {
		vm, err := start(t, host, newModule("0_2_0").function("proxy_on_vm_start", "ii", "i", i32(0)), "envoy-1.40", wasmhost.VMConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vm.Configure(t.Context(), wasmhost.PluginConfig{}); !errors.Is(err, wasmhost.ErrStart) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("on_configure says no", func(t *testing.T) {
		vm, err := start(t, host, newModule("0_2_0").function("proxy_on_configure", "ii", "i", i32(0)), "envoy-1.40", wasmhost.VMConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vm.Configure(t.Context(), wasmhost.PluginConfig{Name: "p"}); !errors.Is(err, wasmhost.ErrConfigure) || !strings.Contains(err.Error(), `"p"`) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a memory over the limit", func(t *testing.T) {
		m := newModule("0_2_0")
		m.memory = 65
		if _, err := host.Load(t.Context(), m.bytes(), profile(t, "envoy-1.40")); err == nil || !strings.Contains(err.Error(), "memory") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a memory that grows over the limit", func(t *testing.T) {
		m := newModule("0_2_0")
		log := m.importFunc("env", "proxy_log", "iii", "i")
		m.data = []byte("no")
		// memory.grow(100) + 1 is 0 if it failed; then log two bytes, else trap.
		m.function("_initialize", "", "", join(i32(100), []byte{0x40, 0x00}, i32(1), []byte{0x6a, 0x04, 0x40}, unreachable, []byte{0x0b}, logCode(log, 0, 2)))
		vm, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{})
		if err != nil || !slices.Equal(logged(vm), []string{"no"}) {
			t.Errorf("got %v", err)
		}
	})
}

// TestFailurePolicy crashes a VM in a request, and looks at the requests after it.
func TestFailurePolicy(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff})
	// The first request of an instance traps: the memory's word at scratchAt is 0 then.
	m := newModule("0_2_0")
	m.function("proxy_on_request_headers", "iii", "i", join(
		call(0, []byte{0x20, 0x02}), drop, // log what end_of_stream is, so that the callback is seen
		[]byte{0x20, 0x01}, i32(6), []byte{0x46, 0x04, 0x40}, unreachable, []byte{0x0b}, // six headers: trap
		i32(0)))
	m.importFunc("env", "proxy_continue_stream", "i", "i")
	bad := get(t)
	fine := profile(t, "envoy-1.40").NewRequest("GET", "/", "waft.test", wasmhost.NewHeaders("x-more", "1"), nil)
	clock := wasmhost.NewVirtualClock(time.Unix(1000, 0))

	for _, test := range []struct {
		policy  wasmhost.FailurePolicy
		backoff time.Duration
		wait    time.Duration
		status  string // of the request after the crash
		reloads int
	}{
		{wasmhost.FailReload, 0, 0, "503", 0},
		{wasmhost.FailReload, 0, 2 * time.Second, "200", 1},
		{wasmhost.FailReload, -1, 0, "200", 1},
		{wasmhost.FailClosed, 0, time.Hour, "503", 0},
		{wasmhost.FailOpen, 0, time.Hour, "200", 0},
	} {
		t.Run(test.policy.String()+" "+test.wait.String(), func(t *testing.T) {
			vm, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{Proxy: &wasmhost.Proxy{Clock: clock}})
			if err != nil {
				t.Fatal(err)
			}
			p := configured(t, vm, wasmhost.PluginConfig{FailurePolicy: test.policy, ReloadBackoff: test.backoff})
			out, err := p.Exchange(t.Context(), bad, ok)
			var trap *wasmhost.TrapError
			if !errors.As(err, &trap) || trap.Callback != "proxy_on_request_headers" || trap.Stack == "" || out.Response == nil || !out.LocalReply ||
				out.Details != "wasm_fail_stream" {
				t.Fatalf("the crash gives %+v, %v", out, err)
			}
			if s, _ := out.Response.Headers.Get(":status"); s != "503" {
				t.Errorf("the crash gives %s", s)
			}
			clock.Advance(test.wait)
			out, err = p.Exchange(t.Context(), fine, ok)
			if s, _ := out.Response.Headers.Get(":status"); s != test.status {
				t.Errorf("afterwards %s, want %s (%v)", s, test.status, err)
			}
			if vm.Crashes() != 1 || vm.Reloads() != test.reloads {
				t.Errorf("%d crashes, %d reloads", vm.Crashes(), vm.Reloads())
			}
		})
	}
}

// TestDeadline ends a guest that loops, and one whose caller goes away.
func TestDeadline(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff, Deadline: 100 * time.Millisecond})
	m := newModule("0_2_0").function("proxy_on_tick", "i", "", forever)
	vm, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := configured(t, vm, wasmhost.PluginConfig{})
	if err := p.Tick(t.Context()); !errors.Is(err, wasmhost.ErrDeadline) {
		t.Errorf("got %v", err)
	}
	if err := p.Tick(t.Context()); !errors.Is(err, wasmhost.ErrDeadline) {
		t.Errorf("a dead VM gives %v", err)
	}

	patient := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff, Deadline: time.Hour})
	vm, err = start(t, patient, m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p = configured(t, vm, wasmhost.PluginConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := p.Tick(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestWASI calls the WASI functions that a raw module can, and wants the numbers of Envoy's host.
func TestWASI(t *testing.T) {
	type fn struct {
		name, sig string
		args      []int64
		on136     int32 // -1: not there
		on140     int32
	}
	all := []fn{
		{"poll_oneoff", "iiii", []int64{0, 0, 0, scratchAt}, 52, 0},
		{"poll_oneoff", "iiii", []int64{0, 0, 0, -4}, 52, 21},
		{"path_open", "iiiiillii", []int64{3, 0, 0, 0, 0, 0, 0, 0, 0}, 44, 44},
		{"fd_prestat_get", "ii", []int64{3, 0}, 8, 8},
		{"fd_prestat_dir_name", "iii", []int64{3, 0, 0}, 52, 52},
		{"fd_read", "iiii", []int64{0, 0, 0, 0}, 52, 52},
		{"fd_fdstat_set_flags", "ii", []int64{1, 0}, 52, 52},
		{"fd_fdstat_get", "ii", []int64{1, scratchAt}, 0, 0},
		{"fd_fdstat_get", "ii", []int64{0, scratchAt}, 8, 8},
		{"fd_seek", "ilii", []int64{1, 0, 0, 0}, 0, 0},
		{"fd_close", "i", []int64{9}, 0, 0},
		{"fd_write", "iiii", []int64{3, 0, 0, scratchAt}, 8, 8},
		{"fd_write", "iiii", []int64{1, -8, 1, scratchAt}, 21, 21},
		{"fd_write", "iiii", []int64{1, 0, 0, -4}, 21, 21},
		{"environ_sizes_get", "ii", []int64{scratchAt, -4}, 21, 21},
		{"args_sizes_get", "ii", []int64{scratchAt, scratchAt + 4}, 0, 0},
		{"clock_time_get", "ili", []int64{0, 0, scratchAt}, 0, 0},
		{"clock_time_get", "ili", []int64{2, 0, scratchAt}, 58, 58},
		{"random_get", "ii", []int64{scratchAt, 65537}, 28, 28},
		{"random_get", "ii", []int64{-4, 16}, 21, 21},
		{"random_get", "ii", []int64{-4, 0}, 0, 0},
		{"sched_yield", "", nil, 0, 0},
		{"clock_res_get", "ii", []int64{1, scratchAt}, -1, 0},
		{"fd_readdir", "iiili", []int64{3, 0, 0, 0, scratchAt}, -1, 20},
		{"fd_readdir", "iiili", []int64{3, 0, 0, 0, -4}, -1, 21},
		{"fd_filestat_get", "ii", []int64{1, 0}, -1, 8},
		{"path_filestat_get", "iiiii", []int64{3, 0, 0, 0, 0}, -1, 58},
		{"path_readlink", "iiiiii", []int64{3, 0, 0, 0, 0, scratchAt}, -1, 58},
		{"fd_pwrite", "iiili", []int64{5, 0, 0, 0, scratchAt}, -1, 8},
		{"fd_pread", "iiili", []int64{1, 0, 0, 0, scratchAt}, -1, 52},
		{"fd_sync", "i", []int64{1}, -1, 0},
		{"fd_sync", "i", []int64{4}, -1, 8},
		{"fd_renumber", "ii", []int64{1, 2}, -1, 58},
		{"fd_renumber", "ii", []int64{1, 3}, -1, 8},
		{"fd_tell", "ii", []int64{1, scratchAt}, -1, 0},
		{"fd_advise", "illi", []int64{9, 0, 0, 0}, -1, 0},
		{"fd_allocate", "ill", []int64{9, 0, 0}, -1, 8},
		{"path_link", "iiiiii", []int64{0, 0, 0, 0, 0, 0}, -1, 58},
		{"path_symlink", "iiii", []int64{0, 0, 0, 0}, -1, 58},
		{"sock_accept", "iii", []int64{0, 0, scratchAt}, -1, 58},
		{"sock_recv", "iiiiii", []int64{0, 0, 0, 0, scratchAt, scratchAt + 8}, -1, 58},
		{"sock_shutdown", "ii", []int64{0, 0}, -1, 58},
	}
	for _, on := range []string{"envoy-1.36", "envoy-1.40"} {
		m := newModule("0_2_0")
		exit := m.importFunc("env", "proxy_set_tick_period_milliseconds", "i", "i")
		var used []fn
		var code []byte
		for _, f := range all {
			want := f.on140
			if on == "envoy-1.36" {
				want = f.on136
			}
			if want < 0 {
				continue
			}
			used = append(used, f)
			index := m.importFunc("wasi_snapshot_preview1", f.name, f.sig, "i")
			// If the result is not the wanted one, set the tick period to the number of the call, counted from 1, and end.
			var args []byte
			for i, a := range f.args {
				if f.sig[i] == 'l' {
					args = append(args, i64(a)...)
				} else {
					args = append(args, i32(int32(a))...)
				}
			}
			code = append(code, join(call(index, args), i32(want), []byte{0x47, 0x04, 0x40}, call(exit, i32(int32(len(used)))), drop, []byte{0x0f, 0x0b})...)
		}
		m.function("proxy_on_tick", "i", "", code)
		vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, on, wasmhost.VMConfig{})
		if err != nil {
			t.Fatal(err)
		}
		p := configured(t, vm, wasmhost.PluginConfig{})
		if err := p.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := int(p.TickPeriod() / time.Millisecond); n != 0 {
			t.Errorf("%s: call %d, %s, gives another number", on, n, used[n-1].name)
		}
	}
}
