package sdk_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// compiled starts a module of testdata in wasmhost.
func compiled(t testing.TB, name string, proxy *wasmhost.Proxy) *wasmhost.Plugin {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", path, "./testdata/"+name)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	profile, err := wasmhost.ProfileByName("envoy-1.40")
	if err != nil {
		t.Fatal(err)
	}
	host, err := wasmhost.NewHost(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	module, err := host.Load(t.Context(), wasm, profile)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := module.NewVM(t.Context(), wasmhost.VMConfig{Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := vm.Configure(t.Context(), wasmhost.PluginConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

const (
	// cancelledStreams is how many clients go away mid-wait, and shortStreams how many under -short.
	cancelledStreams = 100_000
	shortStreams     = 10_000
	// lateAnswers is after how many streams the limits of their callouts run out.
	lateAnswers = 100
	// allowedGrowth is how many bytes the guest's memory may grow by after the first tenth of them. Wasm memory never shrinks.
	allowedGrowth = 1 << 20
)

// TestMemoryOfCancelledStreams wants the guest's memory to stay as it is when clients go away while their handlers wait.
func TestMemoryOfCancelledStreams(t *testing.T) {
	silent := func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
		return wasmhost.Response{}, wasmhost.ErrNoAnswer
	}
	plugin := compiled(t, "burden", &wasmhost.Proxy{
		Clock:    wasmhost.NewVirtualClock(time.Unix(1_700_000_000, 0)),
		Clusters: map[string]wasmhost.Upstream{"silent": silent},
		LogLevel: wasmhost.LogCritical,
	})
	paths := []string{"/fetch", "/sleep", "/limit", "/all", "/detached", "/standard", "/stream", "/panic"}
	ctx, vm := t.Context(), plugin.VM()
	streams := cancelledStreams
	if testing.Short() {
		streams = shortStreams
	}
	var warm int64
	began := time.Now()
	for i := range streams {
		if i == streams/10 {
			warm = vm.Memory()
		}
		s := plugin.NewStream(ctx, wasmhost.StreamInfo{})
		headers := wasmhost.NewHeaders(":method", "GET", ":path", paths[i%len(paths)], ":authority", "waft.test")
		if err := s.RequestHeaders(ctx, headers, true); err != nil {
			t.Fatal(err)
		}
		if paused, _ := s.Paused(); !paused {
			t.Fatalf("%s: the stream does not wait", paths[i%len(paths)])
		}
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
		// The host cannot be told to end a callout: its answers come late, to nobody.
		if i%lateAnswers == 0 {
			if err := vm.Proxy().Advance(ctx, 2*time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := vm.Failed(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d streams in %v; memory %d KiB after a tenth of them, %d KiB at the end", streams, time.Since(began).Round(time.Millisecond), warm>>10, vm.Memory()>>10)
	if grown := vm.Memory() - warm; grown > allowedGrowth {
		t.Errorf("the guest's memory grew by %d KiB", grown>>10)
	}
}
