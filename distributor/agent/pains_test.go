package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// variant is the same module in other bytes: with one more custom section, which nobody reads.
func variant(module []byte, name string) []byte {
	section := append([]byte{0, byte(len(name) + 1), byte(len(name))}, name...)
	return slices.Concat(module, section)
}

// What users of other systems complain of, and one node shows; docs/pains.md has the whole list. A real agent and a real Envoy go through all
// of it, one after the other, and are left serving by each.
func TestPainsOfANode(t *testing.T) {
	t.Parallel()
	whole := t // what outlives a subtest belongs to it
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = -1 // good at once
	var accept func()
	config.Envoy, accept = hasty(t, config.Envoy)
	agent := run(t, config)
	plain := s.module(guest)
	// serve gives the node a chain of the filter one, and waits for it.
	serve := func(t *testing.T, module *waftv1.ModuleRef, word string) string {
		t.Helper()
		hash := s.give(filterOf("one", module, word))
		s.await(hash, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-one", word)
		return hash
	}
	// guarded has clients until the returned function is called; whatever happens in between, each request must meet the filter one.
	guarded := func(t *testing.T) func() {
		load := visitFor(t, config.Listen, "x-one")
		return func() {
			t.Helper()
			load.stop()
			if load.failed.Load() > 0 || load.sent.Load() == 0 {
				t.Errorf("%d of %d requests failed or missed the filter, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
			}
		}
	}
	pain := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			s.t = t // what the source waits for in vain fails this one
			defer func() { s.t = whole }()
			test(t)
		})
	}
	serve(t, plain, "first")

	// A pull that takes its time does not put an older chain over a newer one, nor does whoever says again what it said before.
	pain("Pain05SlowPullDeliversNothingOld", func(t *testing.T) {
		defer guarded(t)()
		slow := s.module(variant(guest, "slow"))
		s.prefetch(slow) // it stays wanted when the chain that needs it does not
		begun, release := s.hold(slow)
		older := s.give(filterOf("one", slow, "older"))
		generation := s.generation
		<-begun
		newer := serve(t, plain, "newer")
		was := attempted(t, config.Admin)
		release()
		envoytest.Eventually(t, "the slow pull has come to its end", func(context.Context) error {
			for _, r := range s.said() {
				if slices.Contains(r.GetFetched().GetDigests(), slow.GetDigest()) {
					return nil
				}
			}
			return errors.New("not yet")
		})
		s.again()
		s.mu.Lock()
		refused := len(s.nacks)
		s.mu.Unlock()
		s.giveGeneration(generation, filterOf("one", slow, "older"))
		envoytest.Eventually(t, "the older chain is refused", func(context.Context) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.nacks) == refused {
				return errors.New("not yet")
			}
			return nil
		})
		if is := attempted(t, config.Admin); is != was {
			t.Errorf("Envoy was offered something: %s, then %s", was, is)
		}
		answers(t, config.Listen, "x-one", "newer")
		if r := s.lastStanding(); r.GetHash() != newer || r.GetServingHash() != newer {
			t.Errorf("the last report is %v", r)
		}
		if states := s.states(older); slices.ContainsFunc(states, func(is waftv1.ChainState) bool { return is >= waftv1.ChainState_LOADED }) {
			t.Errorf("the older chain came as far as %v", states)
		}
	})

	// A filter that does not load, and may be left out, is named and keeps no others out.
	pain("Pain06OneBadFilterKeepsNoOthersOut", func(t *testing.T) {
		defer guarded(t)()
		degraded := s.give(filterOf("one", plain, "beside"), optionalFilter("culprit", s.module([]byte("no module")), "x"))
		if r := s.awaitServing(degraded, waftv1.ChainState_DEGRADED, degraded); !strings.Contains(r.GetReason(), "filter culprit was left out: ") {
			t.Errorf("report %v", r)
		}
		answers(t, config.Listen, "x-one", "beside")
	})

	// A fetch that failed for a moment is tried again, though nothing was changed.
	pain("Pain08FailedFetchIsTriedAgain", func(t *testing.T) {
		defer guarded(t)()
		s.mu.Lock()
		s.unavailable = true
		s.mu.Unlock()
		late := s.give(filterOf("one", s.module(variant(guest, "late")), "late"))
		awaitReason(t, s, late, "fetch", "registry unavailable")
		s.mu.Lock()
		s.unavailable = false
		s.mu.Unlock()
		s.await(late, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-one", "late")
	})

	// A filter that cannot be fetched takes no other filter away, least of all one that authenticates: not from an Envoy that runs, and not
	// from one that starts. Nor is one that authenticates left out because it does not load itself.
	pain("Pain09FailedFetchBypassesNoFilter", func(t *testing.T) {
		authn := func(module *waftv1.ModuleRef, word string) *waftv1.Filter {
			f := filterOf("one", module, word)
			f.Phase, f.FailurePolicy = waftv1.Phase_AUTHN, waftv1.FailurePolicy_FAIL_CLOSED
			return f
		}
		guarding := s.give(authn(plain, "guarding"))
		s.await(guarding, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-one", "guarding")
		done := guarded(t)
		away := optionalFilter("two", &waftv1.ModuleRef{Digest: digestOf([]byte("nowhere")), Artifact: digestOf([]byte("nowhere")), Size: 100, Reference: "localhost/nowhere:1"}, "x")
		awaitReason(t, s, s.give(authn(plain, "and another"), away), "fetch", "not found")
		done()

		pid := envoyPID(t, config)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		firstAnswer(t, config.Listen, "x-one", "guarding")

		done = guarded(t)
		broken := s.give(authn(s.module([]byte("no module")), "x"), optionalFilter("two", plain, "x"))
		s.awaitServing(broken, waftv1.ChainState_REJECTED, guarding)
		done()
	})

	// What was rejected is asked for no more, however often it is said again, and the way back is the chain before.
	pain("Pain13RejectedIsNotTriedAgain", func(t *testing.T) {
		defer guarded(t)()
		before := serve(t, plain, "before")
		was := attempted(t, config.Admin)
		began := time.Now()
		bad := s.give(filterOf("one", plain, "refuse"))
		if r := s.awaitServing(bad, waftv1.ChainState_REJECTED, before); !r.GetFinal() {
			t.Errorf("report %v", r)
		}
		rejected := time.Now()
		for range 3 {
			s.again()
		}
		envoytest.Eventually(t, "a second probe would have ended", func(context.Context) error {
			if took := rejected.Sub(began); time.Since(rejected) < 2*took {
				return fmt.Errorf("the first one took %s", took)
			}
			return nil
		})
		if n := agent.log.count("probed", bad); n != 1 {
			t.Errorf("it was probed %d times", n)
		}
		if is := attempted(t, config.Admin); is != was {
			t.Errorf("Envoy was offered something: %s, then %s", was, is)
		}
		serve(t, plain, "before")
	})

	// A module that cannot be used keeps no node from starting: not one that has served before, and not a new one that has other filters.
	pain("Pain03BadImageBlocksNoStart", func(t *testing.T) {
		served := serve(t, plain, "before")
		unusable := optionalFilter("one", s.module(variant([]byte("no module"), "at all")), "x")
		s.awaitServing(s.give(unusable), waftv1.ChainState_REJECTED, served)
		agent.stop()
		agent = run(whole, config)
		firstAnswer(t, config.Listen, "x-one", "before")
		agent.stop()

		config.StateDir = whole.TempDir()
		unusable.Name = "two"
		degraded := s.give(filterOf("one", plain, "fresh"), unusable)
		agent = run(whole, config)
		firstAnswer(t, config.Listen, "x-one", "fresh")
		s.await(degraded, waftv1.ChainState_DEGRADED)
	})

	// Old VMs are gone after any number of changes, of configuration and of modules, and so are old modules on the disk. Envoy takes no more memory after many than after a few.
	pain("Pain16UpdatesLeaveNoVMs", func(t *testing.T) {
		defer guarded(t)()
		// machines waits until there are no more VMs than so many; 0: any number.
		machines := func(most int64) (active, created int64) {
			t.Helper()
			const prefix = "wasm.envoy.wasm.runtime.v8."
			envoytest.Eventually(t, "the old VMs are gone", func(ctx context.Context) error {
				stats, err := envoy.NewAdmin(config.Admin).Stats(ctx, `wasm\.envoy\.wasm\.runtime\.v8\.`)
				active, created = stats.Values[prefix+"active"], stats.Values[prefix+"created"]
				if err == nil && most > 0 && active > most {
					err = fmt.Errorf("%d VMs are there instead of %d", active, most)
				}
				return err
			})
			return active, created
		}
		serve(t, plain, "as at the end")
		before, made := machines(0)
		for _, word := range []string{"one config", "another"} {
			serve(t, plain, word)
		}
		for _, name := range []string{"new", "newer"} {
			serve(t, s.module(variant(guest, name)), name)
		}
		serve(t, plain, "as at the end")
		after, madeAfter := machines(before)
		t.Logf("%d VMs and then %d; %d were made meanwhile", before, after, madeAfter-made)
		if madeAfter-made < 4 { // two modules, each a base VM and one for the worker
			t.Errorf("only %d VMs were made: the modules were not loaded", madeAfter-made)
		}
		// What the VMs that stay keep of configurations before, no count of VMs tells.
		begun, taken := time.Now(), resident(t, config)
		accept() // so many probes would take more than a minute
		for i := range manyConfigs {
			serve(t, plain, fmt.Sprintf("config %d", i))
		}
		machines(before)
		grown := resident(t, config) - taken
		t.Logf("Envoy had %d MiB, and has %d KiB more after %d configurations, in %s", taken>>20, grown>>10, manyConfigs, time.Since(begun))
		if grown > mostGrowth {
			t.Errorf("Envoy takes %d MiB more after %d changes of configuration; more than %d are no chance", grown>>20, manyConfigs, mostGrowth>>20)
		}
		kept, err := filepath.Glob(filepath.Join(config.StateDir, keptFolder, "*.wasm"))
		if err != nil || len(kept) != 1 {
			t.Fatalf("second copies of modules: %q, %v; want that of the good chain alone", kept, err)
		}
		if content, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(content, guest) {
			t.Errorf("the copy is not the module: %v", err)
		}
	})
}

// Of the memory after changes of configuration: how many there are, and how much more Envoy may have in the end.
const (
	manyConfigs = 50
	mostGrowth  = 16 << 20
)

// hasty is an Envoy whose probe accepts everything at once, after accept was called.
func hasty(t testing.TB, real envoy.Binary) (binary envoy.Binary, accept func()) {
	t.Helper()
	dir := t.TempDir()
	binary, mark := envoy.Binary{Path: filepath.Join(dir, "envoy")}, filepath.Join(dir, "accept")
	script := fmt.Sprintf("#!/bin/sh\n[ -e %s ] && [ \"$1 $2\" = '--mode validate' ] && exit\nexec %s \"$@\"\n", mark, real.Path)
	if err := os.WriteFile(binary.Path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return binary, func() {
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// resident is the memory of the node's Envoy, in bytes. Envoy's own statistics do not know that of VMs.
func resident(t testing.TB, config Config) int64 {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", envoyPID(t, config)))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(content), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// firstAnswer waits until the node answers at all. The first answer that it gives, whatever the status, must have the header: a listener that
// is there before its filters would be seen.
func firstAnswer(t testing.TB, address, header, want string) {
	t.Helper()
	envoytest.Eventually(t, "the node to answer", func(ctx context.Context) error {
		response, _, err := envoytest.Get(ctx, address, "/")
		if err != nil {
			return err
		}
		if got := response.Header.Get(header); response.StatusCode != 200 || got != want {
			t.Fatalf("its first answer is %s, %s: %q instead of %q", response.Status, header, got, want)
		}
		return nil
	})
}
