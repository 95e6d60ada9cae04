package filtertest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// parallelRequests is how many requests are under way at once.
const parallelRequests = 16

// startWorkers runs the filter of a folder in a real Envoy with several workers, until the test ends.
func startWorkers(t *testing.T, folder, config string, workers int) *envoySession {
	t.Helper()
	dir, err := filepath.Abs(folder)
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
	e := envoyRun{binary: binary, number: version.Number, dir: t.TempDir(), opts: Options{Name: filepath.Base(dir), metrics: countLater}}
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
	bootstrap, err := e.bootstrap(File{Config: []byte(config)}, up.address(), nil)
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
	return s
}

// sendAll sends requests, each over a connection of its own, many at a time.
func sendAll(t *testing.T, s *envoySession, requests []Request) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(parallelRequests)
	for _, r := range requests {
		group.Go(func() error {
			_, err := send(ctx, s.listener, r)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestWorkersShare has the workers of a real Envoy count in shared data, all at the same time: no request is lost, and none counted
// twice. Their counters, which tell Envoy with a delay, come to the same number.
func TestWorkersShare(t *testing.T) {
	const requests = 400
	s := startWorkers(t, "../testdata/await", "", 2)
	all := make([]Request, requests)
	for i := range all {
		all[i] = Request{Method: "GET", Path: "/headers/counter", Authority: "waft.test", Headers: wasmhost.Headers{}}
	}
	sendAll(t, s, all)
	counted := map[string]bool{}
	for _, r := range s.traffic.(httpTraffic).take() {
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

// TestWorkersTakeSignaturesOnce sends signed requests again and again, to all workers of a real Envoy at the same time: the filter hmac lets each
// pass once, whichever worker has it.
func TestWorkersTakeSignaturesOnce(t *testing.T) {
	const signatures, copies = 100, 8
	secret := []byte("a secret of 32 bytes, for a test")
	s := startWorkers(t, "../../filters/hmac", `{"keys":[{"id":"k","secret":"`+base64.StdEncoding.EncodeToString(secret)+`"}]}`, 2)
	now := time.Now().Unix()
	var all []Request
	for i := range signatures {
		path := fmt.Sprintf("/%d", i)
		parameters := fmt.Sprintf(`("@method" "@authority" "@path" "@query");created=%d;keyid="k"`, now)
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "\"@method\": GET\n\"@authority\": waft.test\n\"@path\": %s\n\"@query\": ?\n\"@signature-params\": %s", path, parameters)
		r := Request{Method: "GET", Path: path, Authority: "waft.test", Headers: wasmhost.Headers{
			{Name: "signature-input", Value: "s=" + parameters},
			{Name: "signature", Value: "s=:" + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + ":"},
		}}
		for range copies {
			all = append(all, r)
		}
	}
	sendAll(t, s, all)
	passed := map[string]int{}
	for _, r := range s.traffic.(httpTraffic).take() {
		passed[r.Path]++
	}
	for i := range signatures {
		if n := passed[fmt.Sprintf("/%d", i)]; n != 1 {
			t.Errorf("signature %d let %d requests pass, want 1", i, n)
		}
	}
	// With one worker at work, the above would say nothing.
	connections, err := readStats(t.Context(), s.admin, url.Values{"format": {"json"}, "filter": {"worker_.*downstream_cx_total"}})
	if err != nil {
		t.Fatal(err)
	}
	busy := 0
	for name, n := range connections {
		if regexp.MustCompile(`^listener\..*\.worker_\d+\.downstream_cx_total$`).MatchString(name) && !regexp.MustCompile(`^listener\.admin`).MatchString(name) && n > 0 {
			busy++
		}
	}
	if busy < 2 {
		t.Errorf("%d workers had connections, want 2: %v", busy, connections)
	}
}
