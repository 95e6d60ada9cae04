package symbolize

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/build"
)

// A filter that dies in a real Envoy: the log, symbolized, has the Go functions on the engine's stack and the runtime's own words in
// whole lines.
func TestEnvoysLog(t *testing.T) {
	binary, err := envoy.Find("")
	if err != nil {
		t.Fatalf("%v; run `make envoy`", err)
	}
	version, err := binary.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	built, err := build.Build(t.Context(), "testdata/dying", build.Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := build.ReadSymbols(built.Symbols)
	if err != nil {
		t.Fatal(err)
	}
	got := symbolized(t, crash(t, binary, version.Number, built.Module), symbols)
	for _, want := range []string{
		"fatal error: out of memory\n",
		"main.(*filter).hoard(",            // in the runtime's words
		"- main.(*filter).hoard (main.go:", // on the engine's stack
		"Proxy-Wasm plugin in-VM backtrace:",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the log has no %q:\n%.6000s", want, got)
		}
	}
	if strings.Contains(got, "unknown(function index") {
		t.Errorf("a function has no name:\n%.6000s", got)
	}
}

func symbolized(t *testing.T, log string, symbols build.Symbols) string {
	t.Helper()
	var out strings.Builder
	if err := Log(&out, strings.NewReader(log), symbols); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// crash runs the filter for one request, and gives Envoy's log.
func crash(t *testing.T, binary envoy.Binary, number envoy.Number, module string) string {
	t.Helper()
	bootstrap, err := envoy.BootstrapConfig{
		NodeID: "test", Cluster: "test", Number: number, Inline: true,
		Default: []envoy.WasmFilter{{Name: "dying", ModulePath: module}}, DirectResponse: &envoy.DirectResponse{Status: 200},
	}.Render()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	process, err := envoy.Start(t.Context(), binary, envoy.ProcessConfig{Dir: t.TempDir(), Bootstrap: bootstrap, Log: file, NoLogFile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = process.Kill() }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := process.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	admin, err := process.Admin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	listeners, err := admin.Listeners(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range listeners {
		response, err := http.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	if err := process.Stop(context.WithoutCancel(ctx)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is no crash of a filter comes out as it went in.
func TestOtherLines(t *testing.T) {
	const log = `[2026-01-01 00:00:00.000][1][info][main] [source/server/server.cc:1] starting
[2026-01-01 00:00:00.000][1][error][wasm] [source/extensions/common/wasm/context.cc:1] wasm log a a: first
[2026-01-01 00:00:00.000][1][error][wasm] [source/extensions/common/wasm/context.cc:1] wasm log a a: 
[2026-01-01 00:00:00.000][1][error][wasm] [source/extensions/common/wasm/context.cc:1] wasm log b b: second
not Envoy's
`
	if got := symbolized(t, log, build.Symbols{}); got != log {
		t.Errorf("got\n%s", got)
	}
}

// A line that is longer than what is read of one is told, and nothing of it is held back before it.
func TestLineThatIsTooLong(t *testing.T) {
	var out strings.Builder
	if err := Log(&out, strings.NewReader("before\n"+strings.Repeat("x", maxLine)+"\nbehind\n"), build.Symbols{}); err == nil || !strings.Contains(err.Error(), "read the log") {
		t.Errorf("%v", err)
	}
	if out.String() != "before\n" {
		t.Errorf("it gives %.100q", out.String())
	}
}
