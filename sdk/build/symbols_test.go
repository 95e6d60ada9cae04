package build

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What wazero and Envoy say of a function without a name becomes its Go name and its place in the source.
func TestSymbols(t *testing.T) {
	out := t.TempDir()
	built, err := Build(t.Context(), "testdata/everything", Options{OutDir: out})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadSymbols(built.Symbols)
	if err != nil {
		t.Fatal(err)
	}
	if s.SHA256 != built.Manifest.SHA256 {
		t.Errorf("the symbols are of %s, the module is %s", s.SHA256, built.Manifest.SHA256)
	}
	index, want := uint32(0), "github.com/waft-project/waft/sdk.(*vm).Configure"
	for i, f := range s.Functions {
		if f.Name == want {
			index = i
			if !strings.HasPrefix(f.Place, "github.com/waft-project/waft/sdk/") || !strings.Contains(f.Place, ".go:") {
				t.Errorf("its place is %q", f.Place)
			}
		}
	}
	if index == 0 {
		t.Fatalf("%s is not among %d functions", want, len(s.Functions))
	}
	for _, text := range []string{".$N(i32,i32) i32", "  3: 0x1234 - unknown(function index:N)", "at wasm-function[N]:0x12"} {
		text = strings.ReplaceAll(text, "N", itoa(index))
		if got := s.Resolve(text); !strings.Contains(got, want+" (") || strings.Contains(got, itoa(index)) {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := s.Resolve("a price of .$5 and wasm-function[4000000000]"); got != "a price of .$5 and wasm-function[4000000000]" {
		t.Errorf("other text became %q", got)
	}
	// The module itself keeps one name, without which Envoy tells no stack.
	wasm, err := os.ReadFile(built.Module)
	if err != nil {
		t.Fatal(err)
	}
	list, err := sections(wasm)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := functionNames(list); err != nil || len(names) != 1 {
		t.Errorf("the module names %d functions, %v", len(names), err)
	}
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func TestReadSymbolsRefuses(t *testing.T) {
	header := symbolsHeader + strings.Repeat("0", 64) + "\n"
	for name, text := range map[string]string{"empty": "", "another file": "\x00asm", "no number": header + "x\ta\tb\n", "no place": header + "1\ta\n"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.symbols")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadSymbols(path); !errors.Is(err, ErrSymbols) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestSmallFilter holds that a filter that uses little of the sdk gets little: fmt and what it drags in would be an eighth of it.
func TestSmallFilter(t *testing.T) {
	t.Parallel()
	built, err := Build(t.Context(), "testdata/rawconfig", Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadSymbols(built.Symbols)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Functions {
		if strings.HasPrefix(f.Name, "fmt.") && f.Name != "fmt.init" || strings.HasPrefix(f.Name, "reflect.callMethod") {
			t.Errorf("%s is in the module", f.Name)
		}
	}
	found := slices.ContainsFunc(slices.Collect(maps.Values(s.Functions)), func(f Symbol) bool { return f.Name == "runtime.throw" })
	if !found || len(s.Functions) < 1000 {
		t.Errorf("runtime.throw is not among the %d names", len(s.Functions))
	}
}
