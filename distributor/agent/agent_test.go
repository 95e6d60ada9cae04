package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/loopback"
)

// guest and otherGuest are modules with the same behaviour and different bytes, which Envoy loads in a moment; goGuest and otherGoGuest such that it takes seconds for.
var guest, otherGuest, goGuest, otherGoGuest []byte

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "waft-agent-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, g := range []struct {
		build   func(dir, flavour string) (string, error)
		flavour string
		content *[]byte
	}{
		{envoytest.SmallGuest, "plain", &guest}, {envoytest.SmallGuest, "other", &otherGuest},
		{envoytest.BuildGuest, "plain", &goGuest}, {envoytest.BuildGuest, "other", &otherGoGuest},
	} {
		path, err := g.build(dir, g.flavour)
		if err == nil {
			*g.content, err = os.ReadFile(path)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// running is an agent under test.
type running struct {
	t      testing.TB
	config Config
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	log    *testLog
}

// testLog passes the agent's log to the test for as long as it runs.
type testLog struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
	lines []string
}

// count is how many lines have all of the words.
func (l *testLog) count(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			n++
		}
	}
	return n
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.lines = append(l.lines, string(p))
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// freeAddress is an address on loopback that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := loopback.Free()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// configFor is the configuration of an agent of a source, as Envoy's parent. Envoy's addresses stay the same over restarts.
func configFor(t testing.TB, s *source, number envoy.Number) Config {
	t.Helper()
	return Config{
		Node: s.node, Labels: map[string]string{"env": "test"}, Version: "test",
		Server: s.grpcAddress, Modules: s.httpAddress, Insecure: true,
		StateDir: t.TempDir(), Envoy: envoytest.Binary(t, number), EnvoyArgs: []string{"--log-level", "warning"},
		Listen: freeAddress(t), Admin: freeAddress(t), DirectResponse: &envoy.DirectResponse{Status: 200, Body: "ok\n"},
		Trial: 500 * time.Millisecond,
	}
}

// run runs an agent until stop, or until the end of the test.
func run(t testing.TB, config Config) *running {
	t.Helper()
	log := &testLog{t: t}
	config.Log = slog.New(slog.NewTextHandler(log, nil))
	config.EnvoyOutput = true
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, config: config, cancel: cancel, done: make(chan struct{}), log: log}
	go func() {
		defer close(r.done)
		r.err = Run(ctx, config)
	}()
	t.Cleanup(func() {
		r.stop()
		log.mu.Lock()
		log.ended = true
		log.mu.Unlock()
	})
	return r
}

func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	<-r.done
	if r.err != nil {
		r.t.Errorf("the agent ended with %v", r.err)
	}
}

// filterOf is the filter that misbehaves as word says.
func filterOf(name string, module *waftv1.ModuleRef, word string) *waftv1.Filter {
	return &waftv1.Filter{Name: name, Module: module, Config: []byte(`"` + word + `"`), FailurePolicy: waftv1.FailurePolicy_FAIL_RELOAD}
}

// answers waits until the node answers with a header.
func answers(t testing.TB, address, header, want string) {
	t.Helper()
	envoytest.Eventually(t, fmt.Sprintf("%s: %q", header, want), func(ctx context.Context) error {
		response, _, err := envoytest.Get(ctx, address, "/")
		if err != nil {
			return err
		}
		if got := response.Header.Get(header); got != want {
			return fmt.Errorf("status %d, %s: %q", response.StatusCode, header, got)
		}
		return nil
	})
}

// visitInterval is the time between two requests of one client; the machine has to compile modules as well.
const visitInterval = 5 * time.Millisecond

// visitor sends requests until it is stopped; each must be answered 200, and with a header where it was told one.
type visitor struct {
	sent, failed atomic.Int64
	last         atomic.Value
	cancel       context.CancelFunc
	done         sync.WaitGroup
}

func visit(t testing.TB, address string) *visitor {
	t.Helper()
	return visitFor(t, address, "")
}

// visitFor is visit, and an answer without the header has failed.
func visitFor(t testing.TB, address, header string) *visitor {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v := &visitor{cancel: cancel}
	client := &http.Client{Transport: &http.Transport{}, Timeout: envoytest.Patience}
	for range 2 {
		v.done.Go(func() {
			ticker := time.NewTicker(visitInterval)
			defer ticker.Stop()
			for ctx.Err() == nil {
				<-ticker.C
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				response, err := client.Do(request)
				if ctx.Err() != nil {
					return
				}
				v.sent.Add(1)
				if err != nil {
					v.failed.Add(1)
					v.last.Store(err.Error())
					continue
				}
				discard(response.Body)
				if response.StatusCode != http.StatusOK || header != "" && response.Header.Get(header) == "" {
					v.failed.Add(1)
					v.last.Store(fmt.Sprintf("%s, %v", response.Status, response.Header))
				}
			}
		})
	}
	t.Cleanup(v.stop)
	return v
}

func (v *visitor) stop() {
	v.cancel()
	v.done.Wait()
}

// attempts is how often Envoy was offered something in the serving slot.
func attempts(t testing.TB, admin string) int64 {
	t.Helper()
	stats, err := envoy.NewAdmin(admin).Stats(t.Context(), "update_attempt")
	if err != nil {
		t.Fatal(err)
	}
	return stats.Values[envoy.SlotStats(envoy.SlotName)+"update_attempt"]
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// The whole way: nothing, an explicit empty chain, a filter, a swap to another module under load, a chain that the probe
// refuses, a rollback; and what is reported on it.
func TestTheWayOfAChain(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	run(t, config)
	envoytest.Eventually(t, "the agent says hello", func(context.Context) error {
		for _, r := range s.said() {
			if h := r.GetHello(); h != nil {
				if h.GetNode() != "n1" || h.GetLabels()["env"] != "test" || h.GetEnvoyVersion() != envoytest.Newest.String() || h.GetEnvoyBuild() == "" || h.GetAgentVersion() != "test" {
					t.Fatalf("hello %v", h)
				}
				return nil
			}
		}
		return errors.New("not yet")
	})
	plain, other := s.module(goGuest), s.module(otherGoGuest)
	s.prefetch(plain)
	envoytest.Eventually(t, "the prefetched module is reported", func(context.Context) error {
		for _, r := range s.said() {
			if slices.Contains(r.GetFetched().GetDigests(), plain.GetDigest()) {
				return nil
			}
		}
		return errors.New("not yet")
	})
	if listens(config.Listen) {
		t.Fatal("a node that was never given a chain serves")
	}

	empty := s.give()
	s.await(empty, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "")

	first := s.give(filterOf("one", plain, "first"))
	s.awaitServing(first, waftv1.ChainState_SERVING, first)
	answers(t, config.Listen, "x-one", "first")

	load := visit(t, config.Listen)
	loaded := preloads(t, config)
	second := s.give(filterOf("one", other, "second"), filterOf("two", plain, "also"))
	s.await(second, waftv1.ChainState_SERVING)
	// One at a time, so that Envoy answers in between; and each step has those before, whose code Envoy would drop else.
	if got, want := loaded(), []string{"1 one", "2 one two"}; !slices.Equal(got, want) {
		t.Errorf("into the slot for loading were put %q, one after the other; want %q", got, want)
	}
	answers(t, config.Listen, "x-one-flavour", "other")
	answers(t, config.Listen, "x-two", "also")
	want := []waftv1.ChainState{waftv1.ChainState_FETCHED, waftv1.ChainState_LOADED, waftv1.ChainState_SERVING}
	got := s.states(second)
	if len(got) > 0 && got[0] == waftv1.ChainState_OFFERED { // said when the download takes longer than a moment
		got = got[1:]
	}
	if !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}

	// Envoy is told nothing of the artifact that a module came in, and reloads nothing for it.
	moved := proto.CloneOf(plain)
	moved.Artifact = digestOf([]byte("the same module in another artifact"))
	second = s.give(filterOf("one", other, "second"), filterOf("two", moved, "also"))
	s.await(second, waftv1.ChainState_SERVING)

	before := attempts(t, config.Admin)
	bad := s.give(filterOf("one", other, "refuse"))
	r := s.await(bad, waftv1.ChainState_REJECTED)
	if !r.GetFinal() || r.GetStep() != "probe" || !strings.Contains(r.GetReason(), "the guest refuses its configuration") || r.GetServingHash() != second {
		t.Errorf("report %v", r)
	}
	if after := attempts(t, config.Admin); after != before {
		t.Errorf("Envoy was offered a chain that the probe refuses: %d attempts after %d", after, before)
	}
	broken := s.give(filterOf("one", s.module([]byte("no module")), "x"))
	if r := s.await(broken, waftv1.ChainState_REJECTED); !r.GetFinal() {
		t.Errorf("report %v", r)
	}

	back := s.give(filterOf("one", plain, "first"))
	if back != first {
		t.Fatalf("the source's hashes differ: %s, %s", back, first)
	}
	s.await(first, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "first")
	load.stop()
	if load.failed.Load() > 0 || load.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
	}
	t.Logf("%d requests, none failed", load.sent.Load())

	for range 3 {
		if _, _, err := envoytest.Get(t.Context(), config.Listen, "/"); err != nil {
			t.Fatal(err)
		}
	}
	envoytest.Eventually(t, "statistics count for the chain", func(context.Context) error {
		got := s.statistics()
		if got.GetHash() != first || got.GetRequests() < 3 || got.GetErrors() != 0 || got.GetSeenByFilters() < 3 || !got.GetDeniedKnown() {
			return fmt.Errorf("statistics %v", got)
		}
		h := got.GetHealth()
		if h.GetStuck()+h.GetWatchdogMegaMisses()+h.GetReloads()+h.GetReloadFailures()+h.GetPanics() != 0 {
			return fmt.Errorf("an Envoy that is well: %v", h)
		}
		var answered int64
		for _, n := range h.GetLatency() {
			answered += n
		}
		// Envoy adds up its histograms each five seconds.
		if h.GetVms() == 0 || h.GetVmsBefore() == 0 || !h.GetResident() || h.GetMemory() < 1<<20 || h.GetMemoryBefore() < 1<<20 || answered < 3 {
			return fmt.Errorf("health %v", h)
		}
		return nil
	})
	// A chain that is older than one that was seen changes nothing.
	s.giveGeneration(1, filterOf("one", plain, "stale"))
	envoytest.Eventually(t, "the stale chain is refused", func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.ContainsFunc(s.nacks, func(n string) bool { return strings.Contains(n, "out of order") }) {
			return fmt.Errorf("refusals %q", s.nacks)
		}
		return nil
	})
	answers(t, config.Listen, "x-one", "first")

	// The distributor comes back and remembers nothing: it is told everything again, though nothing has changed.
	s.stop()
	s.mu.Lock()
	s.reports = nil
	s.mu.Unlock()
	s.start()
	s.await(first, waftv1.ChainState_SERVING)
	envoytest.Eventually(t, "the modules and the statistics are reported again", func(context.Context) error {
		var fetched bool
		for _, r := range s.said() {
			fetched = fetched || slices.Contains(r.GetFetched().GetDigests(), plain.GetDigest())
		}
		if got := s.statistics(); !fetched || got.GetHash() != first || s.said()[0].GetHello() == nil {
			return fmt.Errorf("fetched: %v, statistics %v", fetched, got)
		}
		return nil
	})
}

// passed makes everything in a folder as old as if nobody had touched it for so long.
func passed(t *testing.T, dir string, since time.Duration) {
	t.Helper()
	then := time.Now().Add(-since)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing but this machine is needed to start and to serve, also after a month of which nothing is known; a killed Envoy comes back.
func TestServesWithoutDistributor(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	agent := run(t, config)
	first := s.give(filterOf("one", s.module(goGuest), "first"))
	s.await(first, waftv1.ChainState_SERVING)
	agent.stop()
	if listens(config.Listen) {
		t.Fatal("Envoy outlived the agent")
	}
	s.stop()
	passed(t, config.StateDir, 30*24*time.Hour)
	served := func(since time.Time) time.Duration {
		answers(t, config.Listen, "x-one", "first")
		return time.Since(since)
	}
	envoytest.AsSoonAsEnvoy(t, func() time.Duration {
		agent.stop()
		began := time.Now()
		alone, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: t.TempDir(), BootstrapPath: filepath.Join(config.StateDir, envoyFolder, "bootstrap.json")})
		if err != nil {
			t.Fatal(err)
		}
		took := served(began)
		if err := alone.Kill(); err != nil {
			t.Fatal(err)
		}
		return took
	}, func() time.Duration {
		began := time.Now()
		agent = run(t, config)
		return served(began)
	})

	pid := envoyPID(t, config)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, "another Envoy", func(context.Context) error {
		if envoyPID(t, config) == pid {
			return errors.New("the same process")
		}
		return nil
	})
	answers(t, config.Listen, "x-one", "first")
	s.start()
	s.await(first, waftv1.ChainState_SERVING)
	envoytest.Eventually(t, "the restart is reported once the distributor is back", func(context.Context) error {
		for _, r := range s.said() {
			if strings.Contains(r.GetRestarted().GetReason(), "killed") {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

// envoyPID finds the child Envoy by its command line, which names the bootstrap; 0 when there is none.
func envoyPID(t testing.TB, config Config) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		line, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(line), filepath.Join(config.StateDir, envoyFolder)) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/cmdline", &pid); err == nil {
			return pid
		}
	}
	return 0
}
