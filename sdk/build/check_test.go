package build_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/build"
)

// handmade is a module written by hand, in the way that a Rust compiler lays one out.
type handmade struct {
	imports  []string // env.name, of type (i32, i32, i32) -> i32
	exports  []string // all of type () -> ()
	typed    map[string]byte
	memory   []byte
	language string
	tool     string
}

func str(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

func sec(id byte, body []byte) []byte {
	return append(append([]byte{id}, binary.AppendUvarint(nil, uint64(len(body)))...), body...)
}

// The types of handmade modules.
const (
	typeVoid  = 0 // () -> ()
	typeAlloc = 1 // (i32) -> i32
	typeTwo   = 2 // (i32, i32) -> ()
	typeLog   = 3 // (i32, i32, i32) -> i32
)

func (h handmade) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = append(out, sec(1, []byte{4, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 3, 0x7f, 0x7f, 0x7f, 1, 0x7f})...)
	imports := []byte{byte(len(h.imports))}
	for _, im := range h.imports {
		mod, name, _ := strings.Cut(im, ".")
		imports = append(append(append(imports, str(mod)...), str(name)...), 0, typeLog)
	}
	out = append(out, sec(2, imports)...)
	funcs, exports, code := []byte{byte(len(h.exports))}, []byte{byte(len(h.exports))}, []byte{byte(len(h.exports))}
	for i, e := range h.exports {
		funcs = append(funcs, h.typed[e])
		exports = append(append(exports, str(e)...), 0, byte(len(h.imports)+i))
		code = append(code, 3, 0, 0x00, 0x0b) // unreachable
	}
	out = append(out, sec(3, funcs)...)
	if h.memory != nil {
		out = append(out, sec(5, h.memory)...)
	}
	out = append(out, sec(7, exports)...)
	out = append(out, sec(10, code)...)
	if h.language != "" {
		body := append(str("producers"), 2)
		body = append(append(append(append(body, str("language")...), 1), str(h.language)...), str("1")...)
		body = append(append(append(append(body, str("processed-by")...), 1), str(h.tool)...), str("1")...)
		out = append(out, sec(0, body)...)
	}
	return out
}

func rust() handmade {
	return handmade{
		imports:  []string{"env.proxy_log"},
		exports:  []string{"proxy_abi_version_0_2_1", "_initialize", "proxy_on_memory_allocate", "proxy_on_context_create"},
		typed:    map[string]byte{"proxy_on_memory_allocate": typeAlloc, "proxy_on_context_create": typeTwo},
		memory:   []byte{1, 1, 16, 0x80, 8}, // 1024 pages: 64 MiB
		language: "Rust", tool: "rustc",
	}
}

func TestCheck(t *testing.T) {
	without := func(export string) handmade {
		h := rust()
		h.exports = slices.DeleteFunc(h.exports, func(e string) bool { return e == export })
		return h
	}
	change := func(f func(*handmade)) handmade {
		h := rust()
		f(&h)
		return h
	}
	everyEnvoy := []string{"envoy-1.36", "envoy-1.37", "envoy-1.38", "envoy-1.39", "envoy-1.40"}
	for _, tc := range []struct {
		name     string
		module   handmade
		envoys   []string
		problem  string
		warning  string
		language string
	}{
		{"sound", rust(), everyEnvoy, "", "", "rust"},
		{"no memory maximum", change(func(h *handmade) { h.memory = []byte{1, 0, 16} }), everyEnvoy, "", "no memory maximum", "rust"},
		{"an import twice", change(func(h *handmade) { h.imports = []string{"env.proxy_log", "env.proxy_log"} }), everyEnvoy, "", "", "rust"},
		{"no ABI", without("proxy_abi_version_0_2_1"), nil, "proxy_abi_version", "", "rust"},
		{"no start", without("_initialize"), nil, "_initialize", "", "rust"},
		{"no allocator", without("proxy_on_memory_allocate"), nil, "malloc", "", "rust"},
		{"no callback", without("proxy_on_context_create"), nil, "no callback", "", "rust"},
		{"malloc will do", change(func(h *handmade) { h.exports[2] = "malloc"; h.typed["malloc"] = typeAlloc }), everyEnvoy, "", "", "rust"},
		{"an export of a wrong type", change(func(h *handmade) { h.typed["proxy_on_context_create"] = typeVoid }), nil, "", "proxy_on_context_create", "rust"},
		{"an import of nobody's", change(func(h *handmade) { h.imports = []string{"env.proxy_teleport"} }), nil, "", "env.proxy_teleport", "rust"},
		{"an import of a wrong type", change(func(h *handmade) { h.imports = []string{"env.proxy_done"} }), nil, "", "its env.proxy_done is", "rust"},
		{"TinyGo", change(func(h *handmade) { h.language, h.tool = "C11", "TinyGo" }), everyEnvoy, "", "", "tinygo"},
		{"a language that is none", change(func(h *handmade) { h.language = "<script>" }), everyEnvoy, "", "", ""},
		{"no producers", change(func(h *handmade) { h.language = "" }), everyEnvoy, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wasm := tc.module.bytes()
			r, err := build.Check(wasm)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.Envoys(), append([]string{}, tc.envoys...)) || r.Language != tc.language || r.Size != int64(len(wasm)) {
				t.Errorf("loadable by %q, language %q, size %d", r.Envoys(), r.Language, r.Size)
			}
			for what, list := range map[string][]build.Finding{tc.problem: r.Problems, tc.warning: r.Warnings} {
				if tc.problem == tc.warning && len(r.Problems)+len(r.Warnings) > 0 || what != "" && (len(list) == 0 || !strings.Contains(list[0].String(), what)) {
					t.Errorf("want %q among problems %v and warnings %v", what, r.Problems, r.Warnings)
				}
			}
			m, err := build.ManifestFor(wasm, build.ManifestOptions{Name: "x"})
			if (err == nil) != (len(tc.envoys) > 0) {
				t.Fatalf("ManifestFor: %v", err)
			}
			if err != nil {
				wantError(t, err, build.ErrUnloadable, tc.problem+tc.warning)
			} else if m.Version != build.DefaultVersion || m.SHA256 != r.SHA256 || m.MemoryMax != r.MemoryMax || m.ConfigSchema != nil {
				t.Errorf("manifest %+v", m)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	sound := rust().bytes()
	for name, in := range map[string][]byte{
		"empty": nil, "text": []byte("hello, world"), "cut in a section": sound[:len(sound)-3], "cut in a length": sound[:9],
		"component": append([]byte("\x00asm\x0d\x00\x01\x00"), sound[8:]...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := build.Check(in)
			wantError(t, err, build.ErrInvalidModule, "")
			_, err = build.ManifestFor(in, build.ManifestOptions{Name: "x"})
			wantError(t, err, build.ErrInvalidModule, "")
		})
	}
	_, err := build.ManifestFor(sound, build.ManifestOptions{Name: "a/b"})
	wantError(t, err, build.ErrOption, "name")
}

// Every filter of the project's that is built already, and each fixture, is one that Check takes.
func TestCheckTakesWhatBuildMakes(t *testing.T) {
	for _, dir := range []string{"raw", "bare", "rawconfig"} {
		r := mustBuild(t, filepath.Join("testdata", dir), build.Options{OutDir: t.TempDir()})
		data, err := os.ReadFile(r.Module)
		if err != nil {
			t.Fatal(err)
		}
		report, err := build.Check(data)
		if err != nil || !report.OK() || report.Language != "go" {
			t.Errorf("%s: %+v, %v", dir, report, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(rust().bytes())
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := build.Check(in)
		if err != nil {
			return
		}
		if m, err := build.ManifestFor(in, build.ManifestOptions{Name: "x"}); err == nil {
			data, err := m.Encode()
			if err != nil || !bytes.Contains(data, []byte(r.SHA256)) {
				t.Fatalf("%s, %v", data, err)
			}
		}
	})
}
