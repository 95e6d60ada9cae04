package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Bad input gets an error that names the thing, the reason and the next step, and leaves nothing half-done.
func TestBadFilters(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dist := filepath.Join(f.Dir, "dist")
	// Sources within the checkout, since their imports are; under a name that the go command's patterns pass over.
	dir, err := os.MkdirTemp(filepath.Join(root, "e2e", "filters"), "_bad-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	source := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "main.go"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	t.Run("does not compile", func(t *testing.T) {
		broken := source("broken", "package main\n\nfunc main() { undefinedThing() }\n")
		mustFail(t, f, []string{"broken", "undefinedThing", "main.go:3"}, "build", "--out", dist, broken)
	})
	t.Run("lacks an export", func(t *testing.T) {
		plain := source("plain", "package main\n\nfunc main() {}\n")
		mustFail(t, f, []string{"plain", "proxy_abi_version"}, "build", "--out", dist, plain)
	})
	t.Run("is no directory", func(t *testing.T) {
		mustFail(t, f, []string{"nowhere"}, "build", "--out", dist, filepath.Join(dir, "nowhere"))
	})
	if left, _ := filepath.Glob(filepath.Join(dist, "*")); len(left) != 0 {
		t.Errorf("failed builds left %q", left)
	}

	t.Run("an import that an Envoy lacks", func(t *testing.T) {
		reader := source("reader", `package main

import (
	"os"

	"github.com/waft-project/waft/sdk"
)

func init() { sdk.Register(configure) }

func main() {}

func configure(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
	entries, err := os.ReadDir("/")
	p.Log().Infof("%d %v", len(entries), err)
	return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
}
`)
		bare := filepath.Join(f.Dir, "bare.wasm")
		toolchain := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildmode=c-shared", "-o", bare, ".")
		toolchain.Dir, toolchain.Env = reader, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := toolchain.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		// As the toolchain makes it, with the names of its functions, check tells who asks for the import.
		mustFail(t, f, []string{"fd_readdir", "envoy-1.36", "os.ReadDir"}, "check", "--profile", "envoy-1.36", bare)
		mustRun(t, f, "check", "--profile", "envoy-1.40", bare)
		// As waft builds it, it needs none of what some Envoy lacks.
		var said []string
		note := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
		if _, err := f.Command(t.Context(), note, "build", "--out", dist, reader); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(said, "\n"), "fd_readdir") {
			t.Errorf("waft build does not say that it answers fd_readdir itself: %q", said)
		}
		mustRun(t, f, "check", "--profile", "envoy-1.36", filepath.Join(dist, "reader.wasm"))
	})
	t.Run("an import that no Envoy has", func(t *testing.T) {
		wasm := filepath.Join(f.Dir, "strange.wasm")
		if err := os.WriteFile(wasm, strangeModule(), 0o600); err != nil {
			t.Fatal(err)
		}
		mustFail(t, f, []string{"env.launch_rockets"}, "check", wasm)
		mustFail(t, f, []string{"env.launch_rockets"}, "push", wasm, "localhost:1/x:1")
	})
	t.Run("not Wasm", func(t *testing.T) {
		text := write(t, f, "text.wasm", "this is not a module")
		mustFail(t, f, []string{"text.wasm"}, "check", text)
	})
}

// strangeModule is a proxy-wasm module that imports env.launch_rockets.
func strangeModule() []byte {
	section := func(id byte, body ...byte) []byte { return append([]byte{id, byte(len(body))}, body...) }
	name := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	m := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	m = append(m, section(1, 1, 0x60, 0, 0)...)
	m = append(m, section(2, append(append([]byte{1}, append(name("env"), name("launch_rockets")...)...), 0, 0)...)...)
	m = append(m, section(3, 1, 0)...)
	m = append(m, section(5, 1, 0, 1)...)
	exports := []byte{5}
	for _, export := range []string{"proxy_abi_version_0_2_1", "malloc", "_initialize", "proxy_on_context_create"} {
		exports = append(append(exports, name(export)...), 0, 1)
	}
	exports = append(append(exports, name("memory")...), 2, 0)
	m = append(m, section(7, exports...)...)
	return append(m, section(10, 1, 2, 0, 0x0b)...)
}

func TestBadReleasesAndRollouts(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 2)
	publish(t, f, "./e2e/filters/stamp")
	documents := 0
	release := func(module, config string) []string {
		documents++
		path := write(t, f, fmt.Sprintf("bad-%d.yaml", documents), fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: bad}
spec:
  filters:
  - {name: stamp, module: "%s", config: %s}
`, module, config))
		return append([]string{"release", "create", "-f", path}, f.Server()...)
	}
	good := moduleRef(f, "stamp")
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	awayAddress := away.Addr().String()
	away.Close()

	for _, c := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"a config with an unknown field", release(good, `{value: x, colour: red}`), []string{"spec.filters[0].config", "colour"}},
		{"a config of the wrong type", release(good, `{value: 7}`), []string{"spec.filters[0].config.value", "string"}},
		{"a config without a required field", release(good, `{}`), []string{"spec.filters[0].config", "value"}},
		{"a reference that does not exist", release(f.HTTP()+"/filters/nothing:1", `{value: x}`), []string{"spec.filters[0].module", "filters/nothing:1", "not"}},
		{"a digest that no artifact has", release(f.HTTP()+"/filters/stamp@sha256:"+strings.Repeat("0", 64), `{value: x}`), []string{"spec.filters[0].module", "000000"}},
		{"a registry that is away", release(awayAddress+"/filters/stamp:1", `{value: x}`), []string{"spec.filters[0].module", awayAddress}},
		{"a rollout for an unknown release", append([]string{"rollout", "start", "-f", rolloutDocument(t, f, "lost", "ghost@sha256:"+strings.Repeat("0", 64), `[{percent: 100}]`)}, f.Server()...), []string{"ghost", "waft release"}},
		{"status of an unknown rollout", append([]string{"rollout", "status", "ghost"}, f.Server()...), []string{"ghost"}},
		{"an unknown node", append([]string{"nodes", "show", "ghost"}, f.Server()...), []string{"ghost"}},
	} {
		t.Run(c.name, func(t *testing.T) { mustFail(t, f, c.words, c.args...) })
	}
	if list := mustRun(t, f, append([]string{"release", "list"}, f.Server()...)...); strings.Contains(list, "bad") {
		t.Errorf("a refused release was stored:\n%s", list)
	}

	one := createRelease(t, f, "one", "stamp", `{value: "1"}`)
	t.Run("an empty target", func(t *testing.T) {
		path := write(t, f, "empty.yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: empty}
spec: {release: "%s", target: {selector: env=nowhere}, waves: [{percent: 100}]}
`, one))
		mustFail(t, f, []string{"env=nowhere", "waft nodes list"}, append([]string{"rollout", "start", "-f", path}, f.Server()...)...)
	})
	t.Run("nodes of a running rollout", func(t *testing.T) {
		startRollout(t, f, "running", one, `[{nodes: 1, soak: 10m}, {percent: 100}]`)
		two := createRelease(t, f, "two", "stamp", `{value: "2"}`)
		args := []string{"rollout", "start", "--no-wait", "-f", rolloutDocument(t, f, "second", two, `[{percent: 100}]`)}
		mustFail(t, f, []string{"running"}, append(args, f.Server()...)...)
	})
	t.Run("a second serve on the same data folder", func(t *testing.T) {
		data := filepath.Join(f.Dir, "serve")
		mustFail(t, f, []string{data, fmt.Sprint(f.Serve().PID())}, "serve", "--insecure", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	})
	t.Run("a distributor that is away", func(t *testing.T) {
		mustFail(t, f, []string{awayAddress, "waft serve"}, "nodes", "list", "--insecure", "--server", awayAddress)
	})
}

// A registry whose bytes do not match their digest serves nothing.
func TestCorruptRegistry(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/stamp")
	// Change one byte of every large blob on the registry's disk, and forget what the distributor has verified.
	var changed int
	err := filepath.WalkDir(filepath.Join(f.Dir, "serve", "registry"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Base(path) != "data" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || len(content) < 1<<20 {
			return err
		}
		content[len(content)/2] ^= 1
		changed++
		return os.WriteFile(path, content, 0o600)
	})
	if err != nil || changed == 0 {
		t.Fatalf("changed %d blobs: %v", changed, err)
	}
	path := write(t, f, "corrupt.yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: corrupt}
spec: {filters: [{name: stamp, module: "%s", config: {value: x}}]}
`, moduleRef(f, "stamp")))
	mustFail(t, f, []string{"spec.filters[0].module", "digest"}, append([]string{"release", "create", "-f", path}, f.Server()...)...)
	mustFail(t, f, []string{"digest"}, "pull", "--plain-http", f.HTTP(), moduleRef(f, "stamp"), "-O", filepath.Join(f.Dir, "pulled.wasm"))
	if _, err := os.Stat(filepath.Join(f.Dir, "pulled.wasm")); err == nil {
		t.Error("a pull that failed left a file")
	}
}
