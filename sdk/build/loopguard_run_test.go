package build_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// A loop without end traps, wherever it is, and the function that has it is named; a loop that ends before the bound is left alone,
// each time, and so is configure.
func TestLoopGuard(t *testing.T) {
	const bound = 1_000_000
	r := mustBuild(t, "testdata/looping", build.Options{OutDir: t.TempDir(), LoopGuard: bound})
	wantChange(t, r, fmt.Sprintf("a callback that goes back in loops %d times traps", bound))
	if origin := string(readFile(t, r.Provenance)); !strings.Contains(origin, `"loopGuard": 1000000`) {
		t.Errorf("the provenance does not say that it is guarded:\n%s", origin)
	}
	symbols, err := build.ReadSymbols(r.Symbols)
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
	loaded, err := host.Load(t.Context(), readFile(t, r.Module), profile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		paths []string
		// in is the function that the last path traps in; empty: it does not.
		in string
	}{
		{"ends, each time", []string{"/for/900000", "/for/900000", "/for/900000"}, ""},
		{"ends too late", []string{"/for/900000", "/for/1000001"}, "main.(*filter).count (main.go:"},
		{"never ends", []string{"/ever"}, "main.(*filter).spin (main.go:"},
		{"never ends, in a goroutine", []string{"/goroutine"}, "main.(*filter).spin (main.go:"},
		{"asks the host for memory meanwhile", []string{"/host"}, "main.(*filter).ask (main.go:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			vm, err := loaded.NewVM(ctx, wasmhost.VMConfig{Proxy: &wasmhost.Proxy{LogLevel: wasmhost.LogCritical}})
			if err != nil {
				t.Fatal(err)
			}
			plugin, err := vm.Configure(ctx, wasmhost.PluginConfig{Configuration: []byte(`{"times": 3000000}`)})
			if err != nil {
				t.Fatal(err)
			}
			for i, path := range c.paths {
				s := plugin.NewStream(ctx, wasmhost.StreamInfo{})
				err := s.RequestHeaders(ctx, wasmhost.NewHeaders(":method", "GET", ":path", path, ":authority", "waft.test"), true)
				failed := vm.Failed()
				if wanted := c.in != "" && i == len(c.paths)-1; (failed != nil) != wanted || (err != nil) != wanted {
					t.Fatalf("%s: %v, and the VM fails with %v", path, err, failed)
				}
				if failed == nil {
					continue
				}
				text := symbols.Resolve(failed.Error())
				guard, loop := strings.Index(text, build.LoopGuardFunction), strings.Index(text, c.in)
				if guard < 0 || loop < guard {
					t.Errorf("%s: want %s, called by %s, in:\n%s", path, build.LoopGuardFunction, c.in, text)
				}
			}
		})
	}
}

// What the source asks for holds, unless the options say otherwise.
func TestLoopGuardOfTheSource(t *testing.T) {
	dir := module(t, "guarded", map[string]string{"main.go": "//waft:loop-guard 5000\n" + minimal})
	for _, c := range []struct {
		option int64
		says   string
	}{
		{0, "in loops 5000 times"}, {70_000, "in loops 70000 times"}, {build.NoLoopGuard, ""},
	} {
		r := mustBuild(t, dir, build.Options{OutDir: t.TempDir(), LoopGuard: c.option})
		said := fmt.Sprint(r.Changes)
		if has := strings.Contains(said, "in loops"); has != (c.says != "") || !strings.Contains(said, c.says) {
			t.Errorf("the option %d: %s", c.option, said)
		}
	}
	for _, bad := range []int64{-2, 1, build.MinLoopGuard - 1, build.MaxLoopGuard + 1} {
		_, err := build.Build(t.Context(), dir, build.Options{OutDir: t.TempDir(), LoopGuard: bad})
		wantError(t, err, build.ErrOption, fmt.Sprintf("a loop guard of %d", bad))
	}
}
