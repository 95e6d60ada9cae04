package filtertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestWorkersShare has the workers of a real Envoy count in shared data, all at the same time: no request is lost, and none counted
// twice. Their counters, which tell Envoy with a delay, come to the same number.
func TestWorkersShare(t *testing.T) {
	const workers, requests, parallel = 2, 400, 16
	dir, err := filepath.Abs("../testdata/await")
	if err != nil {
		t.Fatal(err)
	}
	module, err := compile(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	binary, _ := newest(t)
	version, err := binary.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := envoyRun{binary: binary, number: version.Number, dir: t.TempDir(), opts: Options{Name: "await", metrics: countLater}}
	e.module = filepath.Join(e.dir, "module.wasm")
	if err := os.WriteFile(e.module, module, 0o600); err != nil {
		t.Fatal(err)
	}
	up, err := startUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.stop)
	up.script(Reply{Status: defaultStatus})
	bootstrap, err := e.bootstrap(File{}, up.address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	process, err := envoy.Start(t.Context(), binary, envoy.ProcessConfig{Dir: e.dir, Bootstrap: bootstrap, Concurrency: workers, Log: newEnvoyLog()})
	if err != nil {
		t.Fatal(err)
	}
	s := &envoySession{process: process, traffic: httpTraffic{up}, log: newEnvoyLog()}
	t.Cleanup(func() { s.stop(context.Background()) })
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(parallel)
	for range requests {
		group.Go(func() error {
			_, err := send(ctx, s.listener, Request{Method: "GET", Path: "/headers/counter", Authority: "waft.test", Headers: wasmhost.Headers{}})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	counted := map[string]bool{}
	for _, r := range up.take() {
		counted[fmt.Sprint(r.Headers["x-result"])] = true
	}
	for i := 1; i <= requests; i++ {
		if want := fmt.Sprintf("[%d ok /headers/counter]", i); !counted[want] {
			t.Errorf("no request was counted as number %d", i)
		}
	}
	wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(envoyPoll)
	defer ticker.Stop()
	for {
		metrics, _, err := readMetrics(wait, s.admin, envoy.DefaultStatPrefix)
		if err != nil {
			t.Fatal(err)
		}
		if n := metrics["waft.requests.await"].Value; n == requests {
			return
		} else if n > requests {
			t.Fatalf("the counter stands at %d after %d requests", n, requests)
		}
		select {
		case <-ticker.C:
		case <-wait.Done():
			t.Fatalf("the counter stands at %d after %d requests and 20 s", metrics["waft.requests.await"].Value, requests)
		}
	}
}
