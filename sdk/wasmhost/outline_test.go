package wasmhost_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// saying is a module that logs a word when it is ticked. Two of them differ in their code alone.
func saying(word string) *moduleBuilder {
	m := newModule("0_2_1")
	log := m.importFunc("env", "proxy_log", "iii", "i")
	m.data = []byte("onetwo")
	at := int32(slices.Index([]string{"one", "two"}, word)) * 3
	return m.function("proxy_on_tick", "i", "", logCode(log, at, 3))
}

// says loads the module in a new host and gives what it logs.
func says(t *testing.T, dir string, m *moduleBuilder) []string {
	t.Helper()
	host := newHost(t, wasmhost.Config{CacheDir: dir})
	vm, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := configured(t, vm, wasmhost.PluginConfig{}).Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := logged(vm)
	if err := host.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return lines
}

// codeFiles lists what is in a cache.
func codeFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCodeCache loads modules by their outlines, and makes again what is not in the cache, or broken there.
func TestCodeCache(t *testing.T) {
	dir := t.TempDir()
	expect := func(what, word string, files int) {
		t.Helper()
		if lines := says(t, dir, saying(word)); !slices.Equal(lines, []string{word}) {
			t.Errorf("%s: logged %q, want %q", what, lines, word)
		}
		if got := codeFiles(t, dir); len(got) != files {
			t.Errorf("%s: the cache holds %q, want %d files", what, got, files)
		}
	}
	expect("nothing is there", "one", 1)
	first := codeFiles(t, dir)[0]
	made, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	expect("it is there", "one", 1)
	if again, err := os.Stat(first); err != nil || !os.SameFile(made, again) {
		t.Errorf("what was there was made again: %v", err)
	}
	expect("only one with other code is there", "two", 2)
	expect("both are there", "one", 2)

	code, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for what, broken := range map[string][]byte{"empty": nil, "cut": code[:len(code)/2], "changed": append(slices.Clone(code[:len(code)/2]), make([]byte, len(code)/2)...)} {
		if err := os.WriteFile(first, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		expect(what, "one", 2)
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	expect("it was removed", "one", 2)
}

// TestCodeCacheGone says which folder it is that cannot be written.
func TestCodeCacheGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	host := newHost(t, wasmhost.Config{CacheDir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // what nobody, not even root, can write into
		t.Fatal(err)
	}
	if _, err := host.Load(t.Context(), saying("one").bytes(), profile(t, "envoy-1.40")); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}
