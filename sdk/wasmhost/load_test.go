package wasmhost_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

func TestProfiles(t *testing.T) {
	for _, want := range []struct {
		name string
		wasi int
	}{{"envoy-1.36", 18}, {"envoy-1.37", 18}, {"envoy-1.38", 18}, {"envoy-1.39", 45}, {"envoy-1.40", 45}} {
		p := profile(t, want.name)
		if got := len(p.WASI()); got != want.wasi {
			t.Errorf("%s offers %d WASI functions, want %d", want.name, got, want.wasi)
		}
		for abi, n := range map[string]int{"0.1.0": 36 + 4 + 2, "0.2.0": 36 + 2 + 2, "0.2.1": 36 + 3 + 2, "9": 0} {
			env := 0
			for name := range p.Functions(abi) {
				if strings.HasPrefix(name, "env.") {
					env++
				}
			}
			if env != n {
				t.Errorf("%s offers %d functions of env to ABI %s, want %d", want.name, env, abi, n)
			}
		}
	}
	for _, name := range []string{"1.36", "1.36.4", "envoy-1.36"} {
		if p, err := wasmhost.ProfileByName(name); err != nil || p.Name() != "envoy-1.36" {
			t.Errorf("ProfileByName(%q) = %q, %v", name, p.Name(), err)
		}
	}
	if _, err := wasmhost.ProfileByName("envoy-1.3"); !errors.Is(err, wasmhost.ErrUnknownProfile) || !strings.Contains(err.Error(), "envoy-1.40") {
		t.Errorf("an unknown profile gives %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff})
	readdir := newModule("0_2_0")
	readdir.importFunc("wasi_snapshot_preview1", "fd_readdir", "iiili", "i")
	readdir.importFunc("wasi_snapshot_preview1", "fd_readdir", "iiili", "i")
	link := newModule("0_2_0")
	link.importFunc("wasi_snapshot_preview1", "path_link", "iiiiiii", "i")
	stranger := newModule("0_2_0")
	stranger.importFunc("gojs", "runtime.wasmExit", "i", "")
	level := newModule("0_2_0")
	level.importFunc("env", "proxy_get_log_level", "i", "i")
	twice := newModule("0_2_0")
	twice.importFunc("wasi_snapshot_preview1", "fd_write", "iiii", "i")
	twice.importFunc("wasi_snapshot_preview1", "fd_write", "iiii", "i")
	old := newModule("0_1_0")
	old.importFunc("env", "proxy_continue_request", "", "i")
	newer := newModule("0_2_0")
	newer.importFunc("env", "proxy_continue_request", "", "i")
	unstable := newModule("0_2_1")
	unstable.importFunc("wasi_unstable", "fd_write", "iiii", "i")

	tests := []struct {
		name   string
		wasm   []byte
		on136  string // a part of the error; empty: loads
		on140  string
		target error
	}{
		{"loads", newModule("0_2_1").bytes(), "", "", nil},
		{"an import that repeats", twice.bytes(), "", "", nil},
		{"ABI 0.1.0 has its own functions", old.bytes(), "", "", nil},
		{"which 0.2.0 has not", newer.bytes(), "env.proxy_continue_request", "env.proxy_continue_request [no profile has it]", nil},
		{"wasi_unstable", unstable.bytes(), "", "", nil},
		{"not a module", []byte("hello world"), "no WebAssembly header", "no WebAssembly header", wasmhost.ErrCorrupt},
		{"empty", nil, "no WebAssembly header", "no WebAssembly header", wasmhost.ErrCorrupt},
		{"cut off", newModule("0_2_0").bytes()[:40], "", "", wasmhost.ErrCorrupt},
		{"no marker", newModule("").bytes(), "proxy_abi_version", "proxy_abi_version", wasmhost.ErrNoABI},
		{"an unknown marker", newModule("0_3_0").bytes(), "proxy_abi_version", "proxy_abi_version", wasmhost.ErrNoABI},
		{"no allocator", newModule("0_2_0").without("malloc").bytes(), "malloc", "malloc", nil},
		{"a wrong export", newModule("0_2_0").function("proxy_on_request_headers", "i", "i", i32(0)).bytes(),
			"proxy_on_request_headers: want (i32, i32, i32) -> i32, have (i32) -> i32", "proxy_on_request_headers", nil},
		{"fd_readdir", readdir.bytes(), "under envoy-1.36: wasi_snapshot_preview1.fd_readdir [in envoy-1.39, envoy-1.40]", "", nil},
		{"path_link as Go imports it", link.bytes(), "wasi_snapshot_preview1.path_link", "with type (i32, i32, i32, i32, i32, i32, i32) -> i32 (the host has", nil},
		{"another host's function", stranger.bytes(), "gojs.runtime.wasmExit", "gojs.runtime.wasmExit [no profile has it]", nil},
		{"a function of a later ABI", level.bytes(), "env.proxy_get_log_level", "env.proxy_get_log_level", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, want := range map[string]string{"envoy-1.36": test.on136, "envoy-1.40": test.on140} {
				_, err := host.Load(t.Context(), test.wasm, profile(t, name))
				if test.target != nil {
					if !errors.Is(err, test.target) || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: got %v, want %v with %q", name, err, test.target, want)
					}
					continue
				}
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("%s: got %v, want %q", name, err, want)
				}
			}
		})
	}
}

func TestMissingImportsError(t *testing.T) {
	m := newModule("0_2_0")
	m.importFunc("wasi_snapshot_preview1", "fd_readdir", "iiili", "i")
	m.importFunc("wasi_snapshot_preview1", "fd_readdir", "iiili", "i")
	m.importFunc("a", "b", "", "")
	_, err := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}).Load(t.Context(), m.bytes(), profile(t, "envoy-1.36"))
	var missing *wasmhost.MissingImportsError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	if missing.Profile != "envoy-1.36" || len(missing.Imports) != 2 {
		t.Fatalf("got %+v", missing)
	}
	first := missing.Imports[0]
	if first.Name != "fd_readdir" || !slices.Equal(first.Profiles, []string{"envoy-1.39", "envoy-1.40"}) || missing.Imports[1].Profiles != nil {
		t.Errorf("got %+v", missing.Imports)
	}
}

func TestCheck(t *testing.T) {
	m := newModule("0_2_0")
	m.importFunc("wasi_snapshot_preview1", "fd_readdir", "iiili", "i")
	m.max = 1024
	got, err := wasmhost.Check(m.bytes())
	if err != nil || len(got) != 5 {
		t.Fatalf("got %v, %v", got, err)
	}
	if got[0].Profile != "envoy-1.36" || got[0].Loadable || got[0].Missing[0].Name != "fd_readdir" {
		t.Errorf("got %+v", got[0])
	}
	if got[2].Envoy != "1.38" || got[2].Loadable || got[3].Envoy != "1.39" || !got[3].Loadable || !got[4].Loadable {
		t.Errorf("got %+v", got[2:])
	}
	info, err := wasmhost.Inspect(m.bytes())
	if err != nil || info.ABI != "0.2.0" || info.MemoryMax != 64<<20 || info.MemoryMin != 128<<10 || info.Exports["malloc"] != "(i32) -> i32" ||
		len(info.Imports) != 1 || info.Imports[0].Type != "(i32, i32, i32, i64, i32) -> i32" {
		t.Errorf("got %+v, %v", info, err)
	}
	if _, err := wasmhost.Check([]byte("\x00asm\x01\x00\x00\x00\x01")); !errors.Is(err, wasmhost.ErrCorrupt) {
		t.Errorf("a corrupt module gives %v", err)
	}
	got, err = wasmhost.Check(newModule("").bytes())
	if err != nil || got[0].Loadable || got[0].Reason == "" {
		t.Errorf("a module without a marker gives %+v, %v", got, err)
	}
}

func FuzzInspect(f *testing.F) {
	m := newModule("0_2_0")
	m.importFunc("env", "proxy_log", "iii", "i")
	m.data = []byte("data")
	f.Add(m.bytes())
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		info, err := wasmhost.Inspect(wasm)
		if err != nil && !errors.Is(err, wasmhost.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
		if err == nil {
			if _, err := wasmhost.Check(wasm); err != nil {
				t.Errorf("Inspect gives %+v, and Check %v", info, err)
			}
		}
	})
}
