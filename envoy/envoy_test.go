package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/wholefile"
)

// guest and otherGuest are modules with the same behaviour and different bytes, which Envoy loads in a moment; goGuest is one that it takes seconds for.
var guest, otherGuest, goGuest string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "waft-envoy-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, g := range []struct {
		build   func(dir, flavour string) (string, error)
		flavour string
		path    *string
	}{{envoytest.SmallGuest, "plain", &guest}, {envoytest.SmallGuest, "other", &otherGuest}, {envoytest.BuildGuest, "plain", &goGuest}} {
		if *g.path, err = g.build(dir, g.flavour); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// eachVersion runs a test on the pinned Envoy and on the oldest that is supported.
func eachVersion(t *testing.T, test func(t *testing.T, binary envoy.Binary, number envoy.Number)) {
	for _, number := range []envoy.Number{envoytest.Newest, envoytest.Oldest} {
		t.Run(number.String(), func(t *testing.T) { test(t, envoytest.Binary(t, number), number) })
	}
}

// node is a bootstrap with one filter, named one, and the folder of its slots.
func node(t *testing.T, number envoy.Number, chain []envoy.WasmFilter) envoy.BootstrapConfig {
	t.Helper()
	config := envoy.BootstrapConfig{
		NodeID: "node-1", Cluster: "test", Number: number, SlotDir: t.TempDir(), Default: chain,
		DirectResponse: &envoy.DirectResponse{Status: 200, Body: "ok\n"},
	}
	if !number.HasFilterChain() {
		config.SlotFilters = []string{"one"}
	}
	if chain != nil {
		write(t, config, "default", chain)
	}
	return config
}

func write(t *testing.T, config envoy.BootstrapConfig, version string, chain []envoy.WasmFilter) {
	t.Helper()
	files, err := envoy.Slots(config.Number, chain, version)
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Write(t, config.SlotDir, files...)
}

func one(word string) []envoy.WasmFilter {
	return []envoy.WasmFilter{{Name: "one", ModulePath: guest, Config: []byte(word)}}
}

// slot is the name of the slot that holds the filter one.
func slot(number envoy.Number) string {
	if number.HasFilterChain() {
		return envoy.SlotName
	}
	return envoy.FilterSlotName("one")
}

// serves waits until version is active and returns the answer to a request.
func serves(t *testing.T, admin *envoy.Admin, number envoy.Number, version string) *http.Response {
	t.Helper()
	prefix := envoy.SlotStats(slot(number))
	var answer *http.Response
	envoytest.Eventually(t, "serving "+version, func(ctx context.Context) error {
		stats, err := admin.Stats(ctx, "extension_config_discovery")
		if err != nil {
			return err
		}
		if got := stats.Texts[prefix+"version_text"]; got != version || stats.Values[prefix+"config_reload"] == 0 {
			return fmt.Errorf("version_text is %q, config_reload %d", got, stats.Values[prefix+"config_reload"])
		}
		listeners, err := admin.Listeners(ctx)
		if err != nil {
			return err
		}
		answer, _, err = envoytest.Get(ctx, listeners[envoy.DefaultStatPrefix], "/")
		return err
	})
	return answer
}

func TestServesAndStops(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary envoy.Binary, number envoy.Number) {
		process, admin := envoytest.Start(t, binary, node(t, number, one("hello")))
		ctx, cancel := context.WithTimeout(t.Context(), envoytest.Patience)
		defer cancel()
		if err := process.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		answer := serves(t, admin, number, "default")
		if answer.StatusCode != 200 || answer.Header.Get("x-one") != "hello" || answer.Header.Get("x-one-policy") != "FAIL_RELOAD" {
			t.Errorf("answer %d, headers %v", answer.StatusCode, answer.Header)
		}

		info, err := admin.ServerInfo(ctx)
		if err != nil {
			t.Fatal(err)
		}
		version, err := binary.Version(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if info.State != "LIVE" || info.Version != version.Build || info.NodeID != "node-1" || info.NodeCluster != "test" || version.Number != number {
			t.Errorf("info %+v, version %+v", info, version)
		}
		envoytest.Eventually(t, "the filter's own counter moves", func(ctx context.Context) error {
			stats, err := admin.Stats(ctx, "waft.requests|downstream_rq")
			if err != nil {
				return err
			}
			if n := stats.Values["wasmcustom.waft.requests.one"]; n != 1 {
				return fmt.Errorf("it is %d", n)
			}
			if n := stats.Histograms["http.edge.downstream_rq_time"].Count; n > 1 {
				return fmt.Errorf("downstream_rq_time has %d samples", n)
			}
			return nil
		})
		_, body, err := envoytest.Get(ctx, admin.Address(), "/config_dump")
		if err != nil {
			t.Fatal(err)
		}
		if open := strings.Contains(body, "hello"); open != (number.Compare(envoy.Number{Major: 1, Minor: 37}) < 0) {
			t.Errorf("/config_dump shows the plugin's configuration: %v", open)
		}

		if err := process.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if err := process.Wait(ctx); err != nil {
			t.Errorf("it ended with %v", err)
		}
		if err := syscall.Kill(process.PID(), 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", process.PID(), err)
		}
		if err := admin.Ready(ctx); err == nil {
			t.Error("admin still answers")
		}
		if err := process.Stop(ctx); err != nil {
			t.Errorf("stopping it again: %v", err)
		}
	})
}

func TestWaitsWithoutAChain(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary envoy.Binary, number envoy.Number) {
		config := node(t, number, nil)
		waiting, err := envoy.WaitingListeners()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(config.SlotDir, envoy.ListenersFileName)
		if err := wholefile.Replace(path, waiting); err != nil {
			t.Fatal(err)
		}
		process, admin := envoytest.Start(t, binary, config)
		if err := process.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		listeners, err := admin.Listeners(t.Context())
		if err != nil || len(listeners) != 0 {
			t.Fatalf("without a chain it listens: %v, %v", listeners, err)
		}
		write(t, config, "first", one("first"))
		content, err := config.Listeners("1")
		if err != nil {
			t.Fatal(err)
		}
		if err := wholefile.Replace(path, content); err != nil {
			t.Fatal(err)
		}
		envoytest.Eventually(t, "listening", func(ctx context.Context) error {
			listeners, err := admin.Listeners(ctx)
			if err == nil && listeners[envoy.DefaultStatPrefix] == "" {
				err = errors.New("it does not listen")
			}
			return err
		})
		if answer := serves(t, admin, number, "first"); answer.Header.Get("x-one") != "first" {
			t.Errorf("headers %v", answer.Header)
		}
	})
}

func TestSwaps(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary envoy.Binary, number envoy.Number) {
		config := node(t, number, one("first"))
		process, admin := envoytest.Start(t, binary, config)
		if err := process.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		serves(t, admin, number, "default")

		write(t, config, "configuration", one("second"))
		if answer := serves(t, admin, number, "configuration"); answer.Header.Get("x-one") != "second" {
			t.Errorf("after a change of configuration: %v", answer.Header)
		}
		chain := one("second")
		chain[0].ModulePath = otherGuest
		write(t, config, "module", chain)
		if answer := serves(t, admin, number, "module"); answer.Header.Get("x-one-flavour") != "other" {
			t.Errorf("after a change of the module: %v", answer.Header)
		}
		chain[0].FailurePolicy = envoy.FailClosed
		write(t, config, "policy", chain)
		if answer := serves(t, admin, number, "policy"); answer.Header.Get("x-one-policy") != "FAIL_CLOSED" {
			t.Errorf("after a change of the failure policy the module is told %q", answer.Header.Get("x-one-policy"))
		}

		for name, bad := range map[string]struct {
			chain  []envoy.WasmFilter
			reason string
		}{
			"refuses": {one("refuse"), "one: the guest refuses its configuration"},
			"broken":  {[]envoy.WasmFilter{{Name: "one", ModulePath: envoytest.BadModule(t)}}, "Failed to parse corrupted Wasm module"},
			"absent":  {[]envoy.WasmFilter{{Name: "one", ModulePath: "/absent.wasm"}}, "Invalid path: /absent.wasm"},
		} {
			before, err := admin.Stats(t.Context(), "update_rejected")
			if err != nil {
				t.Fatal(err)
			}
			at := process.Log().Position()
			write(t, config, name, bad.chain)
			envoytest.Eventually(t, name+" is rejected", func(ctx context.Context) error {
				stats, err := admin.Stats(ctx, "update_rejected")
				rejected := envoy.SlotStats(slot(number)) + "update_rejected"
				if err == nil && stats.Values[rejected] == before.Values[rejected] {
					err = errors.New("not yet")
				}
				return err
			})
			ctx, cancel := context.WithTimeout(t.Context(), envoytest.Patience)
			if !process.Log().Await(ctx, at, envoy.IsRejection) {
				t.Error("the log does not say so")
			}
			cancel()
			lines, _ := process.Log().Since(at)
			if reasons := envoy.Reasons(lines); !slices.Contains(reasons, bad.reason) {
				t.Errorf("%s: reasons %q, want %q among them", name, reasons, bad.reason)
			}
			if answer := serves(t, admin, number, "policy"); answer.StatusCode != 200 || answer.Header.Get("x-one-flavour") != "other" {
				t.Errorf("%s: the chain before no longer serves: %d, %v", name, answer.StatusCode, answer.Header)
			}
		}
	})
}

func TestEmptyChainIsAChain(t *testing.T) {
	t.Parallel()
	number := envoytest.Newest
	config := node(t, number, []envoy.WasmFilter{})
	_, admin := envoytest.Start(t, envoytest.Binary(t, number), config)
	if answer := serves(t, admin, number, "default"); answer.StatusCode != 200 || answer.Header.Get("x-one") != "" {
		t.Errorf("the empty chain: %d, %v", answer.StatusCode, answer.Header)
	}
	write(t, config, "two", append(one("x"), envoy.WasmFilter{Name: "two", ModuleBytes: mustRead(t, guest), Config: []byte("y")}))
	if answer := serves(t, admin, number, "two"); answer.Header.Get("x-one") != "x" || answer.Header.Get("x-two") != "y" {
		t.Errorf("two filters, one of them inline: %v", answer.Header)
	}
	write(t, config, "empty", nil)
	if answer := serves(t, admin, number, "empty"); answer.StatusCode != 200 || answer.Header.Get("x-one") != "" {
		t.Errorf("back to the empty chain: %d, %v", answer.StatusCode, answer.Header)
	}
}

func TestCountsDenied(t *testing.T) {
	t.Parallel()
	number := envoytest.Newest
	process, admin := envoytest.Start(t, envoytest.Binary(t, number), node(t, number, one("deny")))
	if err := process.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if answer := serves(t, admin, number, "default"); answer.StatusCode != 403 {
		t.Fatalf("status %d", answer.StatusCode)
	}
	envoytest.Eventually(t, "the answer 403 is counted", func(ctx context.Context) error {
		stats, err := admin.Stats(ctx, "denied")
		if err == nil && stats.Values[envoy.DeniedStat] != 1 {
			err = fmt.Errorf("%s is not 1 in %v", envoy.DeniedStat, stats.Values)
		}
		return err
	})
}

func TestPreloadSlotLoadsWithoutServing(t *testing.T) {
	t.Parallel()
	number := envoytest.Newest
	config := node(t, number, one("first"))
	config.Preload = true
	next, err := envoy.Chain(envoy.PreloadSlotName, nil, "none")
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Write(t, config.SlotDir, envoy.SlotFile{Slot: envoy.PreloadSlotName, Content: next})
	process, admin := envoytest.Start(t, envoytest.Binary(t, number), config)
	if err := process.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	chain := one("second")
	chain[0].ModulePath = otherGuest
	if next, err = envoy.Chain(envoy.PreloadSlotName, chain, "next"); err != nil {
		t.Fatal(err)
	}
	envoytest.Write(t, config.SlotDir, envoy.SlotFile{Slot: envoy.PreloadSlotName, Content: next})
	envoytest.Eventually(t, "pre-loaded", func(ctx context.Context) error {
		stats, err := admin.Stats(ctx, "waft-next")
		if got := stats.Texts[envoy.SlotStats(envoy.PreloadSlotName)+"version_text"]; err == nil && got != "next" {
			err = fmt.Errorf("version_text is %q", got)
		}
		return err
	})
	if answer := serves(t, admin, number, "default"); answer.Header.Get("x-one") != "first" {
		t.Errorf("pre-loading changed what serves: %v", answer.Header)
	}
	started := time.Now()
	write(t, config, "second", chain)
	if answer := serves(t, admin, number, "second"); answer.Header.Get("x-one-flavour") != "other" {
		t.Errorf("after the swap: %v", answer.Header)
	}
	t.Logf("the swap to a pre-loaded module took %s", time.Since(started))
}

func TestValidate(t *testing.T) {
	t.Parallel()
	loopLimits := envoy.DefaultLimits(1, 3<<20)
	loopLimits.CPU = 4 * time.Second
	cases := []struct {
		name   string
		chain  []envoy.WasmFilter
		limits envoy.Limits
		want   envoy.Outcome
		reason string
		// once: on one version only; it takes long, and what it tries is the probe rather than Envoy.
		once bool
	}{
		{name: "a good chain", chain: append(one("fine"), envoy.WasmFilter{Name: "two", ModulePath: guest}), want: envoy.Accepted},
		{name: "a good chain of Go", chain: []envoy.WasmFilter{{Name: "one", ModulePath: goGuest, Config: []byte("fine")}}, want: envoy.Accepted},
		{name: "a panic in Go", chain: []envoy.WasmFilter{{Name: "one", ModulePath: goGuest, Config: []byte("panic")}}, want: envoy.Rejected, reason: "proxy_on_configure failed"},
		{name: "a loop in Go", chain: []envoy.WasmFilter{{Name: "one", ModulePath: goGuest, Config: []byte("loop")}}, limits: loopLimits, want: envoy.Rejected, reason: "not done after 4s of computing", once: true},
		{name: "no filters", want: envoy.Accepted},
		{name: "a refused configuration", chain: one("refuse"), want: envoy.Rejected, reason: "one: the guest refuses its configuration"},
		{name: "a panic", chain: one("panic"), want: envoy.Rejected, reason: "proxy_on_configure failed"},
		{name: "an endless loop", chain: one("loop"), limits: loopLimits, want: envoy.Rejected, reason: "not done after 4s of computing", once: true},
		{name: "a memory hog", chain: one("hog"), want: envoy.Rejected, reason: "MiB of memory", once: true},
		{name: "no module", chain: []envoy.WasmFilter{{Name: "one", ModulePath: envoytest.BadModule(t)}}, want: envoy.Rejected, reason: "corrupted Wasm module"},
		{name: "a file that is gone", chain: []envoy.WasmFilter{{Name: "one", ModulePath: "/absent.wasm"}}, want: envoy.Inconclusive, reason: "/absent.wasm"},
		{name: "no time", chain: one("fine"), limits: envoy.Limits{Wall: time.Millisecond}, want: envoy.Inconclusive, reason: "the machine is busy", once: true},
	}
	eachVersion(t, func(t *testing.T, binary envoy.Binary, number envoy.Number) {
		for _, test := range cases {
			if test.once && number != envoytest.Newest {
				continue
			}
			t.Run(test.name, func(t *testing.T) {
				bootstrap, err := envoy.ProbeBootstrap(number, test.chain)
				if err != nil {
					t.Fatal(err)
				}
				limits := test.limits
				if limits == (envoy.Limits{}) {
					limits = envoy.DefaultLimits(len(test.chain), 3<<20)
				}
				verdict, err := envoy.Validate(t.Context(), binary, bootstrap, limits)
				if err != nil {
					t.Fatal(err)
				}
				if verdict.Outcome != test.want || !strings.Contains(verdict.Reason(), test.reason) {
					t.Errorf("verdict %+v, want %s because of %q", verdict, test.want, test.reason)
				}
			})
		}
	})
}

func TestValidateEndsWithItsContext(t *testing.T) {
	bootstrap, err := envoy.ProbeBootstrap(envoytest.Newest, one("loop"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if verdict, err := envoy.Validate(ctx, envoytest.Binary(t, envoytest.Newest), bootstrap, envoy.Limits{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("verdict %+v, error %v", verdict, err)
	}
}

func TestProcessThatCannotStart(t *testing.T) {
	binary := envoytest.Binary(t, envoytest.Newest)
	process, err := envoy.Start(t.Context(), binary, envoy.ProcessConfig{Dir: t.TempDir(), Bootstrap: []byte(`{"no_such_field": 1}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Ready(t.Context()); !errors.Is(err, envoy.ErrExited) || !strings.Contains(err.Error(), "no_such_field") {
		t.Errorf("ready: %v", err)
	}
	if err := process.Wait(t.Context()); !errors.Is(err, envoy.ErrExited) {
		t.Errorf("wait: %v", err)
	}
	if _, err := envoy.Start(t.Context(), binary, envoy.ProcessConfig{Dir: t.TempDir()}); err == nil {
		t.Error("started without a bootstrap")
	}
	if _, err := envoy.Start(t.Context(), envoy.Binary{Path: "/absent"}, envoy.ProcessConfig{Dir: t.TempDir(), Bootstrap: []byte("{}")}); err == nil {
		t.Error("started a binary that is not there")
	}
}

func TestKilledWorkerIsSeen(t *testing.T) {
	t.Parallel()
	number := envoytest.Newest
	config := node(t, number, one("hang"))
	config.WorkerKillTimeout = 2100 * time.Millisecond
	process, admin := envoytest.Start(t, envoytest.Binary(t, number), config)
	if err := process.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	listeners, err := admin.Listeners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := envoytest.Get(t.Context(), listeners[envoy.DefaultStatPrefix], "/"); err == nil {
		t.Error("a request to a filter that loops was answered")
	}
	if err := process.Wait(t.Context()); !errors.Is(err, envoy.ErrExited) {
		t.Errorf("the watchdog did not end it: %v", err)
	}
}

// A worker that hangs shows in seconds on every version, and not only where Envoy's own watchdog ends it; meanwhile the admin interface answers,
// and the uptime, which moves with each round through all workers, stands still.
func TestHungWorkerShows(t *testing.T) {
	envoytest.EachVersion(t, func(t *testing.T, number envoy.Number) {
		config := node(t, number, one("hang"))
		config.WorkerKillTimeout = -1
		process, admin := envoytest.Start(t, envoytest.Binary(t, number), config)
		if err := process.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		listeners, err := admin.Listeners(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var asked sync.WaitGroup
		defer asked.Wait()
		defer cancel()
		asked.Go(func() { _, _, _ = envoytest.Get(ctx, listeners[envoy.DefaultStatPrefix], "/") }) // it gets no answer
		began := time.Now()
		var stats envoy.Stats
		envoytest.Eventually(t, "the worker is seen to hang", func(ctx context.Context) error {
			if stats, err = admin.Stats(ctx, `^server\.(worker_0\.watchdog_mega_miss|uptime)$|downstream_rq_time$`); err != nil {
				return err
			}
			if stats.Values["server.worker_0.watchdog_mega_miss"] == 0 {
				return fmt.Errorf("%v", stats.Values)
			}
			return nil
		})
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it was seen only after %s", took)
		}
		uptime := stats.Values["server.uptime"]
		envoytest.Eventually(t, "two rounds of statistics are due", func(ctx context.Context) error {
			info, err := admin.ServerInfo(ctx)
			if err == nil && info.UptimeCurrentEpoch < time.Duration(uptime)*time.Second+12*time.Second {
				err = fmt.Errorf("up for %s", info.UptimeCurrentEpoch)
			}
			return err
		})
		if stats, err = admin.Stats(t.Context(), `^server\.uptime$`); err != nil || stats.Values["server.uptime"] != uptime {
			t.Errorf("uptime moved from %d: %v, %v", uptime, stats.Values, err)
		}
	})
}

func TestFind(t *testing.T) {
	real := envoytest.Binary(t, envoytest.Newest)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	onPath := filepath.Join(t.TempDir(), "envoy")
	if err := os.Symlink(real.Path, onPath); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, explicit, variable, path string
		want                           string
		fails                          bool
	}{
		{name: "explicit first", explicit: real.Path, variable: plain, path: filepath.Dir(onPath), want: real.Path},
		{name: "then the variable", variable: real.Path, path: filepath.Dir(onPath), want: real.Path},
		{name: "then the PATH", path: filepath.Dir(onPath), want: onPath},
		{name: "an explicit one that is absent", explicit: "/absent/envoy", variable: real.Path, fails: true},
		{name: "an explicit one that is a folder", explicit: "/", fails: true},
		{name: "a variable that is no executable", variable: plain, path: filepath.Dir(onPath), fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(envoy.PathVariable, test.variable)
			t.Setenv("PATH", test.path)
			got, err := envoy.Find(test.explicit)
			if got.Path != test.want || errors.Is(err, envoy.ErrNotFound) != test.fails {
				t.Errorf("Find = %+v, %v; want %s", got, err, test.want)
			}
		})
	}
	t.Run("outside of a module there is none", func(t *testing.T) {
		t.Setenv(envoy.PathVariable, "")
		t.Setenv("PATH", "")
		t.Chdir(t.TempDir())
		if got, err := envoy.Find(""); !errors.Is(err, envoy.ErrNotFound) || !strings.Contains(err.Error(), "make envoy") {
			t.Errorf("Find = %+v, %v", got, err)
		}
	})
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
