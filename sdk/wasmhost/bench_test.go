package wasmhost_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// goFilter compiles a filter of testdata.
func goFilter(tb testing.TB, name string) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "filter.wasm")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", path, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", name, err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func newHost(tb testing.TB, cfg wasmhost.Config) *wasmhost.Host {
	tb.Helper()
	h, err := wasmhost.NewHost(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

func profile(tb testing.TB, name string) wasmhost.Profile {
	tb.Helper()
	p, err := wasmhost.ProfileByName(name)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// BenchmarkHeaders is a request and its response through a filter that reads the plugin's configuration once, and adds a header to
// each.
func BenchmarkHeaders(b *testing.B) {
	p := profile(b, "envoy-1.40")
	m, err := newHost(b, wasmhost.Config{}).Load(b.Context(), goFilter(b, "headers"), p)
	if err != nil {
		b.Fatal(err)
	}
	vm, err := m.NewVM(b.Context(), wasmhost.VMConfig{})
	if err != nil {
		b.Fatal(err)
	}
	plugin, err := vm.Configure(b.Context(), wasmhost.PluginConfig{Configuration: []byte("hello")})
	if err != nil {
		b.Fatal(err)
	}
	req := p.NewRequest("GET", "/", "waft.test", wasmhost.NewHeaders("user-agent", "bench", "accept", "*/*"), nil)
	resp := p.NewResponse("GET", 200, wasmhost.NewHeaders("content-type", "text/plain"), []byte("ok\n"))
	upstream := func(context.Context, wasmhost.Request) (wasmhost.Response, error) { return resp, nil }
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		out, err := plugin.Exchange(ctx, req, upstream)
		if err != nil || out.Upstream == nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is a start from the cache on disk: a host, a module, a VM, a plugin.
func BenchmarkStart(b *testing.B) {
	wasm, p := goFilter(b, "headers"), profile(b, "envoy-1.40")
	cfg := wasmhost.Config{CacheDir: b.TempDir()}
	start := func() {
		h, err := wasmhost.NewHost(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		m, err := h.Load(b.Context(), wasm, p)
		if err != nil {
			b.Fatal(err)
		}
		vm, err := m.NewVM(b.Context(), wasmhost.VMConfig{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := vm.Configure(b.Context(), wasmhost.PluginConfig{Configuration: []byte("hello")}); err != nil {
			b.Fatal(err)
		}
		if err := h.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	start()
	for b.Loop() {
		start()
	}
}

// emptyFilter makes the host calls that testdata/headers makes for a request, and does nothing else: what it costs is the host and the
// boundary.
func emptyFilter() []byte {
	m := newModule("0_2_0")
	add := m.importFunc("env", "proxy_add_header_map_value", "iiiii", "i")
	m.data = []byte("x-request1")
	addTo := func(headers int32) []byte {
		return join(call(add, i32(headers), i32(dataAt), i32(9), i32(dataAt+9), i32(1)), drop, i32(0))
	}
	m.function("proxy_on_context_create", "ii", "", nil).
		function("proxy_on_request_headers", "iii", "i", addTo(0)).
		function("proxy_on_response_headers", "iii", "i", addTo(2)).
		function("proxy_on_log", "i", "", nil).function("proxy_on_done", "i", "i", i32(1)).function("proxy_on_delete", "i", "", nil)
	return m.bytes()
}

// BenchmarkStream is a request without a body, fed by hand: context, headers of request and response, end. The rest of a Go filter's time
// over that of one that does nothing is the guest's own.
func BenchmarkStream(b *testing.B) {
	p := profile(b, "envoy-1.40")
	for name, wasm := range map[string][]byte{"go": goFilter(b, "headers"), "nothing": emptyFilter()} {
		b.Run(name, func(b *testing.B) { benchmarkStream(b, p, wasm) })
	}
}

func benchmarkStream(b *testing.B, p wasmhost.Profile, wasm []byte) {
	m, err := newHost(b, wasmhost.Config{}).Load(b.Context(), wasm, p)
	if err != nil {
		b.Fatal(err)
	}
	vm, err := m.NewVM(b.Context(), wasmhost.VMConfig{})
	if err != nil {
		b.Fatal(err)
	}
	plugin, err := vm.Configure(b.Context(), wasmhost.PluginConfig{Configuration: []byte("hello")})
	if err != nil {
		b.Fatal(err)
	}
	request := wasmhost.NewHeaders(":authority", "waft.test", ":path", "/", ":method", "GET", ":scheme", "http", "user-agent", "bench", "accept", "*/*")
	response := wasmhost.NewHeaders(":status", "200", "content-type", "text/plain")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		s := plugin.NewStream(ctx, wasmhost.StreamInfo{})
		if s.RequestHeaders(ctx, request, true) != nil || s.ResponseHeaders(ctx, response, true) != nil || s.Close(ctx) != nil {
			b.Fatal(vm.Failed())
		}
		s.Release()
	}
}
