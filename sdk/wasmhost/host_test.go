package wasmhost_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// loadGoFilter compiles testdata/gofilter once for a test.
func loadGoFilter(t *testing.T) *wasmhost.Module {
	t.Helper()
	m, err := newHost(t, wasmhost.Config{}).Load(t.Context(), goFilter(t, "gofilter"), profile(t, "envoy-1.40"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newPlugin(t *testing.T, m *wasmhost.Module, vmc wasmhost.VMConfig, pc wasmhost.PluginConfig) *wasmhost.Plugin {
	t.Helper()
	vm, err := m.NewVM(t.Context(), vmc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = vm.Close(context.Background()) })
	return configured(t, vm, pc)
}

// do sends a request that tells the filter what to do.
func do(t *testing.T, p *wasmhost.Plugin, what string) (wasmhost.Outcome, []string, error) {
	t.Helper()
	req := profile(t, "envoy-1.40").NewRequest("GET", "/", "waft.test", wasmhost.NewHeaders("x-do", what), nil)
	out, err := p.Exchange(t.Context(), req, ok)
	lines := make([]string, len(out.Logs))
	for i, l := range out.Logs {
		lines[i] = l.Message
	}
	return out, lines, err
}

func hasLine(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, part) })
}

// TestSharing has VMs of one proxy that share data, a queue and metrics, and one with another id that shares the metrics only.
func TestSharing(t *testing.T) {
	m := loadGoFilter(t)
	proxy := &wasmhost.Proxy{}
	a := newPlugin(t, m, wasmhost.VMConfig{ID: "vm", Proxy: proxy}, wasmhost.PluginConfig{Name: "a"})
	b := newPlugin(t, m, wasmhost.VMConfig{ID: "vm", Proxy: proxy}, wasmhost.PluginConfig{Name: "b"})
	other := newPlugin(t, m, wasmhost.VMConfig{ID: "other", Proxy: proxy}, wasmhost.PluginConfig{Name: "c"})

	for _, step := range []struct {
		p    *wasmhost.Plugin
		want string
	}{{a, "count 1: <nil>"}, {b, "count 2: <nil>"}, {other, "count 1: <nil>"}, {a, "count 3: <nil>"}} {
		if _, lines, err := do(t, step.p, "shared"); err != nil || !hasLine(lines, step.want) || !hasLine(lines, "wrong cas: error status returned by host: cas mismatch") {
			t.Errorf("want %q, got %q, %v", step.want, lines, err)
		}
	}
	// b registered the queue last, so b hears of what a puts into it, once b is idle.
	if _, lines, err := do(t, a, "queue"); err != nil || !hasLine(lines, "enqueue: <nil>") || hasLine(lines, "queue ready") {
		t.Errorf("got %q, %v", lines, err)
	}
	if !b.VM().RunEvents(t.Context()) || !hasLine(logged(b.VM()), `queue ready: "job" <nil>`) {
		t.Error("the other VM has not heard of the queue")
	}
	if b.VM().RunEvents(t.Context()) {
		t.Error("there was something twice")
	}
	var requests uint64
	for _, metric := range proxy.Metrics() {
		if metric.Name == "gofilter.requests" {
			requests += metric.Value
		}
	}
	if requests != 5 {
		t.Errorf("%d requests counted, want 5", requests)
	}
}

// TestCallout answers callouts by a script, refuses one, and resets one.
func TestCallout(t *testing.T) {
	m := loadGoFilter(t)
	reply := func(status, body string) wasmhost.Upstream {
		return func(_ context.Context, r wasmhost.Request) (wasmhost.Response, error) {
			if path, _ := r.Headers.Get(":path"); path != "/auth" || string(r.Body) != "who" {
				return wasmhost.Response{}, errors.New("not the callout of the filter")
			}
			if n, _ := r.Headers.Get("content-length"); n != "3" {
				return wasmhost.Response{}, errors.New("no content-length")
			}
			return wasmhost.Response{Headers: wasmhost.NewHeaders(":status", status), Body: []byte(body)}, nil
		}
	}
	for _, test := range []struct {
		name   string
		auth   wasmhost.Upstream
		status string
		user   string // what reaches the upstream
		body   string
	}{
		{"accepts", reply("200", "ann"), "200", "ann", "ok"},
		{"refuses", reply("403", "go away"), "401", "", "go away"},
		{"is away", func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
			return wasmhost.Response{}, errors.New("away")
		},
			"401", "", "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"},
		{"breaks off", func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
			return wasmhost.Response{}, wasmhost.ErrCalloutBroken
		}, "503", "", "callout failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := &wasmhost.Proxy{Clusters: map[string]wasmhost.Upstream{"auth": test.auth}}
			p := newPlugin(t, m, wasmhost.VMConfig{Proxy: proxy}, wasmhost.PluginConfig{})
			out, lines, err := do(t, p, "callout")
			if err != nil || out.Response == nil {
				t.Fatalf("got %+v, %v, %q", out, err, lines)
			}
			if s, _ := out.Response.Headers.Get(":status"); s != test.status || string(out.Response.Body) != test.body {
				t.Errorf("got %s %q", s, out.Response.Body)
			}
			user := ""
			if out.Upstream != nil {
				user, _ = out.Upstream.Headers.Get("x-user")
			}
			if user != test.user || len(out.Pauses) != 1 || out.Pauses[0].Callback != "proxy_on_request_headers" {
				t.Errorf("user %q, pauses %v", user, out.Pauses)
			}
		})
	}
	t.Run("nobody answers", func(t *testing.T) {
		out, _, err := do(t, newPlugin(t, m, wasmhost.VMConfig{}, wasmhost.PluginConfig{}), "pause")
		if err != nil || !out.Stuck || out.Response != nil || out.Upstream != nil {
			t.Errorf("got %+v, %v", out, err)
		}
	})
}

// TestStream feeds a stream by hand, two at a time in one VM, and answers their callouts in the other order.
func TestStream(t *testing.T) {
	m := loadGoFilter(t)
	proxy := &wasmhost.Proxy{Clusters: map[string]wasmhost.Upstream{"auth": ok}}
	p := newPlugin(t, m, wasmhost.VMConfig{Proxy: proxy}, wasmhost.PluginConfig{})
	headers := wasmhost.NewHeaders(":authority", "a", ":path", "/", ":method", "POST", "x-do", "callout")
	first, second := p.NewStream(t.Context(), wasmhost.StreamInfo{}), p.NewStream(t.Context(), wasmhost.StreamInfo{})
	for _, s := range []*wasmhost.Stream{first, second} {
		if err := s.RequestHeaders(t.Context(), headers, false); err != nil {
			t.Fatal(err)
		}
		if err := s.RequestBody(t.Context(), []byte("body"), true); err != nil {
			t.Fatal(err)
		}
		if paused, _ := s.Paused(); !paused || s.Upstream().Headers != nil {
			t.Error("not paused")
		}
	}
	calls := p.VM().Callouts()
	if len(calls) != 2 || calls[0].Token != 4 || calls[1].Token != 8 || calls[0].Request.Timeout != time.Second {
		t.Fatalf("got %+v", calls)
	}
	answer := &wasmhost.CalloutResponse{Headers: wasmhost.NewHeaders(":status", "200"), Body: []byte("ann")}
	if err := p.VM().Respond(t.Context(), calls[1], answer); err != nil {
		t.Fatal(err)
	}
	if first.Upstream().Headers != nil || string(second.Upstream().Body) != "body" || !second.Upstream().Complete {
		t.Errorf("the wrong stream went on: %+v, %+v", first.Upstream(), second.Upstream())
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The client of the first has gone meanwhile: the answer finds no stream, and nothing breaks.
	if err := p.VM().Respond(t.Context(), calls[0], answer); err != nil {
		t.Errorf("an answer for a stream that is gone: %v", err)
	}
	if err := second.RequestHeaders(t.Context(), headers, true); !errors.Is(err, wasmhost.ErrOutOfOrder) {
		t.Errorf("headers twice give %v", err)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestConfigure hands on what configuring wants: the configuration, the clock, the environment.
func TestConfigure(t *testing.T) {
	m := loadGoFilter(t)
	vm, err := m.NewVM(t.Context(), wasmhost.VMConfig{Env: map[string]string{"A": "1", "B": "two"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.Configure(t.Context(), wasmhost.PluginConfig{Configuration: []byte("{")}); !errors.Is(err, wasmhost.ErrConfigure) {
		t.Errorf("a broken configuration gives %v", err)
	}
	if !hasLine(logged(vm), "configuration: unexpected end of JSON input") {
		t.Error("the reason is not in the log")
	}
	p := configured(t, vm, wasmhost.PluginConfig{Configuration: []byte(`{"greeting":"hi","tick":250}`)})
	if p.TickPeriod() != 250*time.Millisecond {
		t.Errorf("tick period %s", p.TickPeriod())
	}
	out, _, err := do(t, p, "")
	if v, _ := out.Response.Headers.Get("x-greeting"); v != "hi" || err != nil {
		t.Errorf("got %+v, %v", out, err)
	}
}

// TestForeign calls a function of the host by name, and one that is not there.
func TestForeign(t *testing.T) {
	m := newModule("0_2_0")
	foreign := m.importFunc("env", "proxy_call_foreign_function", "iiiiii", "i")
	log := m.importFunc("env", "proxy_log", "iii", "i")
	now := m.importFunc("env", "proxy_get_current_time_nanoseconds", "i", "i")
	tick := m.importFunc("env", "proxy_set_tick_period_milliseconds", "i", "i")
	m.data = []byte("echohello")
	load := func(at int32) []byte { return join(i32(at), []byte{0x28, 0x02, 0x00}) }
	m.function("proxy_on_tick", "i", "", join(
		call(foreign, i32(dataAt), i32(4), i32(dataAt+4), i32(5), i32(scratchAt), i32(scratchAt+4)), drop,
		i32(2), load(scratchAt), load(scratchAt+4), []byte{0x10}, uleb(log), drop,
		// An unknown one: its status becomes the tick period.
		call(foreign, i32(dataAt), i32(3), i32(0), i32(0), i32(scratchAt), i32(scratchAt+4)), []byte{0x10}, uleb(tick), drop,
		call(now, i32(dataAt)), drop, // the time's eight bytes, logged
		call(log, i32(2), i32(dataAt), i32(8)), drop))
	proxy := &wasmhost.Proxy{
		Clock: wasmhost.NewVirtualClock(time.Unix(0, 12345)),
		Foreign: map[string]wasmhost.ForeignFunction{"echo": func(_ context.Context, args []byte) ([]byte, wasmhost.Status) {
			return []byte(strings.ToUpper(string(args))), wasmhost.StatusOK
		}},
	}
	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40", wasmhost.VMConfig{Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	p := configured(t, vm, wasmhost.PluginConfig{})
	if err := p.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := logged(vm)
	if len(lines) != 2 || lines[0] != "HELLO" || binary.LittleEndian.Uint64([]byte(lines[1])) != 12345 {
		t.Errorf("got %q", lines)
	}
	if p.TickPeriod() != time.Duration(wasmhost.StatusNotFound)*time.Millisecond {
		t.Errorf("an unknown function gives status %d", p.TickPeriod()/time.Millisecond)
	}
}

// TestLimits bounds what a paused stream and a log keep.
func TestLimits(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff})
	pausing := func(export string) *wasmhost.Plugin {
		m := newModule("0_2_0")
		log := m.importFunc("env", "proxy_log", "iii", "i")
		m.data = []byte("line")
		m.function(export, "iii", "i", join(logCode(log, 0, 4), i32(1)))
		vm, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return configured(t, vm, wasmhost.PluginConfig{})
	}
	big := make([]byte, wasmhost.MaxBodyBytes+1)
	p := pausing("proxy_on_request_body")
	out, err := p.Exchange(t.Context(), profile(t, "envoy-1.40").NewRequest("POST", "/", "a", nil, big), ok)
	if err != nil || out.Response == nil || out.Upstream != nil {
		t.Fatalf("a request over the limit gives %+v, %v", out, err)
	}
	if s, _ := out.Response.Headers.Get(":status"); s != "413" {
		t.Errorf("a request over the limit gives %s", s)
	}
	out, err = pausing("proxy_on_response_body").Exchange(t.Context(), get(t), func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
		return profile(t, "envoy-1.40").NewResponse("GET", 200, nil, big), nil
	})
	if err != nil || !out.Reset || out.Response != nil { // its headers have gone to the client already
		t.Errorf("a response over the limit gives %+v, %v", out, err)
	}
	s := p.NewStream(t.Context(), wasmhost.StreamInfo{})
	if err := s.RequestHeaders(t.Context(), wasmhost.NewHeaders(":path", "/"), false); err != nil {
		t.Fatal(err)
	}
	for range wasmhost.MaxLogLines + 7 {
		if err := s.RequestBody(t.Context(), nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if logs, dropped := p.VM().TakeLogs(); len(logs) != wasmhost.MaxLogLines || dropped != 7 {
		t.Errorf("%d lines, %d dropped", len(logs), dropped)
	}
}

// TestCache has a second host that takes the compiled module from the disk.
func TestCache(t *testing.T) {
	wasm, dir := goFilter(t, "headers"), t.TempDir()
	load := func() time.Duration {
		h, err := wasmhost.NewHost(t.Context(), wasmhost.Config{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Close(context.Background()) }()
		begin := time.Now()
		if _, err := h.Load(t.Context(), wasm, profile(t, "envoy-1.40")); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	first, second := load(), load()
	if second > first/2 {
		t.Errorf("compiling took %s, and loading from the cache %s", first, second)
	}
}
