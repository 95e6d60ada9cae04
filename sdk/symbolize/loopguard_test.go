package symbolize

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/build"
)

const (
	// loopBound is how often the filter may go back in loops. Envoy takes a tenth of a second or so for it.
	loopBound = 100_000_000
	// trapLimit is how long a request may take that loops without end in a guarded module, on a machine that does much else.
	trapLimit = 20 * time.Second
	// hangs is how long nothing must come of a request to a worker that hangs.
	hangs = 2 * time.Second
)

// A request that loops without end takes a real Envoy's worker along for ever. With a guard it gets the failure policy's answer, the worker serves
// on, and the log, symbolized, names the guard and the function that looped.
func TestLoopGuard(t *testing.T) {
	guarded, err := build.Build(t.Context(), "../build/testdata/looping", build.Options{OutDir: t.TempDir(), LoopGuard: loopBound})
	if err != nil {
		t.Fatal(err)
	}
	unguarded, err := build.Build(t.Context(), "../build/testdata/looping", build.Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := build.ReadSymbols(guarded.Symbols)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("unguarded", func(t *testing.T) {
		e := startLooping(t, unguarded.Module, envoy.FailReload)
		if status, err := e.get(t, "/for/1000", trapLimit); status != http.StatusOK {
			t.Fatalf("a filter that does not loop: %d, %v", status, err)
		}
		if status, err := e.get(t, "/ever", hangs); err == nil {
			t.Fatalf("a request that never ends is answered: %d", status)
		}
		if status, err := e.get(t, "/", hangs); err == nil {
			t.Fatalf("the worker serves, with %d: the filter does not loop without end", status)
		}
	})
	for _, policy := range []envoy.FailurePolicy{envoy.FailReload, envoy.FailClosed} {
		t.Run("guarded "+string(policy), func(t *testing.T) {
			e := startLooping(t, guarded.Module, policy)
			if status, err := e.get(t, "/for/1000", trapLimit); status != http.StatusOK {
				t.Fatalf("a filter that does not loop: %d, %v", status, err)
			}
			began := time.Now()
			if status, err := e.get(t, "/ever", trapLimit); status != http.StatusServiceUnavailable {
				t.Fatalf("a request that loops: %d, %v; want %d, which Envoy answers for a VM that trapped", status, err, http.StatusServiceUnavailable)
			}
			t.Logf("answered after %v", time.Since(began).Round(time.Millisecond))
			status, err := e.get(t, "/for/1000", trapLimit)
			// Envoy makes a new VM no sooner than a second or so after the last one, and answers 503 until then.
			for deadline := time.Now().Add(trapLimit); policy == envoy.FailReload && status == http.StatusServiceUnavailable && time.Now().Before(deadline); {
				status, err = e.get(t, "/for/1000", trapLimit)
			}
			want := http.StatusOK
			if policy == envoy.FailClosed {
				want = http.StatusServiceUnavailable
			}
			if status != want {
				t.Errorf("requests that follow: %d, %v; want %d", status, err, want)
			}
			t.Logf("%d from then on, after %v", status, time.Since(began).Round(time.Millisecond))
			log := symbolized(t, e.stop(t), symbols)
			guard := strings.Index(log, "- "+build.LoopGuardFunction)
			if loop := strings.Index(log, "- main.(*filter).spin (main.go:"); guard < 0 || loop < guard {
				t.Errorf("the log does not have %s, called by main.(*filter).spin:\n%.6000s", build.LoopGuardFunction, log)
			}
		})
	}
}

// looping is an Envoy of one worker, without a watchdog that ends it.
type looping struct {
	process *envoy.Process
	address string
	log     string
}

func startLooping(t *testing.T, module string, policy envoy.FailurePolicy) *looping {
	t.Helper()
	binary, err := envoy.Find("")
	if err != nil {
		t.Fatalf("%v; run `make envoy`", err)
	}
	version, err := binary.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bootstrap, err := envoy.BootstrapConfig{
		NodeID: "test", Cluster: "test", Number: version.Number, Inline: true, WorkerKillTimeout: -1, DirectResponse: &envoy.DirectResponse{Status: 200},
		Default: []envoy.WasmFilter{{Name: "looping", ModulePath: module, FailurePolicy: policy}},
	}.Render()
	if err != nil {
		t.Fatal(err)
	}
	l := &looping{log: filepath.Join(t.TempDir(), "log")}
	file, err := os.Create(l.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	l.process, err = envoy.Start(t.Context(), binary, envoy.ProcessConfig{Dir: t.TempDir(), Bootstrap: bootstrap, Log: file, NoLogFile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.process.Kill() })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := l.process.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	admin, err := l.process.Admin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	listeners, err := admin.Listeners(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l.address = range listeners {
	}
	return l
}

// get sends a request over a connection of its own.
func (l *looping) get(t *testing.T, path string, limit time.Duration) (int, error) {
	t.Helper()
	client := http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	response, err := client.Get("http://" + l.address + path)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// stop ends Envoy, and gives its log.
func (l *looping) stop(t *testing.T) string {
	t.Helper()
	if err := l.process.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(l.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
