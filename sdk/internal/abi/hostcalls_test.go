package abi_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestHostCalls has a compiled guest make every host call with inputs that are empty, absent, repeated, long or no UTF-8.
// testdata/hostcalls says what must come of it.
func TestHostCalls(t *testing.T) {
	t.Parallel()
	const text = "\xff\xfe"
	answer := func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
		return wasmhost.Response{Headers: wasmhost.NewHeaders(":status", "200", "x-v", text, "x-v", "", "x-v", text)}, nil
	}
	echo := func(_ context.Context, argument []byte) ([]byte, wasmhost.Status) {
		return slices.Clone(argument), wasmhost.StatusOK
	}
	proxy := &wasmhost.Proxy{
		Clock:    wasmhost.NewVirtualClock(time.Unix(1_700_000_000, 0)),
		Clusters: map[string]wasmhost.Upstream{"c": answer},
		GRPC:     map[string]wasmhost.GRPCServer{"c": func(context.Context, *wasmhost.GRPCCall) {}},
		Foreign:  map[string]wasmhost.ForeignFunction{"echo": echo},
	}
	ctx := t.Context()
	vm, err := hostCallsModule(t).NewVM(ctx, wasmhost.VMConfig{ID: "vm", Proxy: proxy, Env: map[string]string{"TEXT": text}})
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	look := func(logs []wasmhost.Log, dropped int) {
		t.Helper()
		for _, l := range logs {
			if name, ok := strings.CutPrefix(l.Message, "called "); ok {
				called[name] = true
			} else if l.Level >= wasmhost.LogError {
				t.Error(l.Message)
			}
		}
		if dropped > 0 {
			t.Errorf("%d log lines are lost", dropped)
		}
	}
	plugin, err := vm.Configure(ctx, wasmhost.PluginConfig{Configuration: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	look(vm.TakeLogs())
	profile, upstream := vmProfile(t), func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
		return wasmhost.Response{Headers: wasmhost.NewHeaders(":status", "200")}, nil
	}
	for _, body := range []string{"", "", "", "", "", "", "", "", "b"} {
		request := profile.NewRequest("GET", "/", "waft.test", wasmhost.NewHeaders("x-e", "", "x-f", text), []byte(body))
		out, err := plugin.Exchange(ctx, request, upstream)
		if err != nil {
			t.Fatal(err)
		}
		look(out.Logs, out.LogsDropped)
	}
	if err := plugin.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := plugin.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	look(vm.TakeLogs())
	if err := vm.Failed(); err != nil {
		t.Error(err)
	}
	for call := range reflect.TypeFor[abi.Calls]().Methods() {
		if !called[call.Name] {
			t.Errorf("%s was not called", call.Name)
		}
	}
}

func vmProfile(t *testing.T) wasmhost.Profile {
	t.Helper()
	profile, err := wasmhost.ProfileByName("envoy-1.40")
	if err != nil {
		t.Fatal(err)
	}
	return profile
}

func hostCallsModule(t *testing.T) *wasmhost.Module {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hostcalls.wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", path, "./testdata/hostcalls")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	host, err := wasmhost.NewHost(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	module, err := host.Load(t.Context(), wasm, vmProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	return module
}
