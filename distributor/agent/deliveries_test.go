package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// attempted is how often Envoy was offered something in any slot, and what is in those.
func attempted(t testing.TB, admin string) string {
	t.Helper()
	stats, err := envoy.NewAdmin(admin).Stats(t.Context(), `extension_config_discovery\.http_filter\.waft.*(update_attempt|version_text)`)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(stats.Values, stats.Texts)
}

// again delivers everything once more, as a source does after a reconnect, and waits until the agent has taken it.
func (s *source) again() {
	s.t.Helper()
	s.mu.Lock()
	acks := s.acks
	s.mu.Unlock()
	s.change(func() {})
	envoytest.Eventually(s.t, "the duplicates are acknowledged", func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.acks < acks+len(collections) {
			return fmt.Errorf("%d of %d", s.acks-acks, len(collections))
		}
		return nil
	})
}

// Duplicates change nothing; nor does what is older than what was seen; and what was rejected is neither probed nor offered to Envoy again,
// whatever comes: not with duplicates, not after a restart of the agent.
func TestDeliveriesOnEveryEnvoy(t *testing.T) {
	t.Parallel()
	envoytest.EachVersion(t, func(t *testing.T, number envoy.Number) {
		s := newSource(t, "n1")
		config := configFor(t, s, number)
		agent := run(t, config)
		plain := s.module(guest)
		first := s.give(filterOf("one", plain, "first"))
		s.await(first, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-one", "first")
		second := s.give(filterOf("one", plain, "second"))
		s.await(second, waftv1.ChainState_SERVING)
		envoytest.Eventually(t, "the trial is over", func(context.Context) error {
			if !holds(config, second) {
				return errors.New("not yet")
			}
			return nil
		})
		was := attempted(t, config.Admin)
		same := func(what string) {
			t.Helper()
			if is := attempted(t, config.Admin); is != was {
				t.Errorf("%s: Envoy was offered something: %s, then %s", what, was, is)
			}
			answers(t, config.Listen, "x-one", "second")
			if r := s.lastStanding(); r.GetServingHash() != second {
				t.Errorf("%s: the last report is %v", what, r)
			}
		}
		s.again()
		s.again()
		same("duplicates")

		refused := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(slices.DeleteFunc(slices.Clone(s.nacks), func(n string) bool { return !strings.Contains(n, "out of order") }))
		}
		before := refused()
		s.giveGeneration(1, filterOf("one", plain, "first"))
		envoytest.Eventually(t, "the older chain is refused", func(context.Context) error {
			if refused() == before {
				return errors.New("not yet")
			}
			return nil
		})
		same("an older chain")

		bad := s.give(filterOf("one", plain, "refuse"))
		if r := s.await(bad, waftv1.ChainState_REJECTED); !r.GetFinal() || r.GetStep() != "probe" {
			t.Errorf("report %v", r)
		}
		s.again()
		same("a rejected chain, twice")
		if n := agent.log.count("probed", bad); n != 1 {
			t.Errorf("it was probed %d times", n)
		}
		if states := s.states(bad); states[len(states)-1] != waftv1.ChainState_REJECTED || slices.Index(states, waftv1.ChainState_REJECTED) != len(states)-1 {
			t.Errorf("states %v", states)
		}
		agent.stop()
		agent = run(t, config)
		answers(t, config.Listen, "x-one", "second")
		envoytest.Eventually(t, "the rejection is reported by the next agent", func(context.Context) error {
			if r := s.lastStanding(); r.GetHash() != bad || r.GetState() != waftv1.ChainState_REJECTED || r.GetServingHash() != second {
				return fmt.Errorf("the last report is %v", r)
			}
			return nil
		})
		s.again()
		if n := agent.log.count("probed", bad); n != 0 {
			t.Errorf("after a restart it was probed %d times", n)
		}
	})
}

// holds says whether the state on the disk has a chain as the good one.
func holds(config Config, hash string) bool {
	var r record
	_, err := readSealed(joinState(config, stateFile), &r)
	return err == nil && r.Good != nil && r.Good.Hash == hash && r.Trial == nil
}

// optionalFilter is one that may be left out.
func optionalFilter(name string, module *waftv1.ModuleRef, word string) *waftv1.Filter {
	f := filterOf(name, module, word)
	f.FailurePolicy, f.Phase = waftv1.FailurePolicy_FAIL_OPEN, waftv1.Phase_STATS
	return f
}

// A filter that does not load and may be left out does not keep the others out; one that may not does. Before 1.39 each filter has a slot, and
// one that does nothing stands there meanwhile.
func TestLeavesOutOnEveryEnvoy(t *testing.T) {
	t.Parallel()
	envoytest.EachVersion(t, func(t *testing.T, number envoy.Number) {
		s := newSource(t, "n1")
		config := configFor(t, s, number)
		config.Trial = -1 // good at once
		agent := run(t, config)
		plain := s.module(guest)
		broken := s.module([]byte("no module"))
		// Envoy starts without it, and yet has a place for it.
		s.await(s.give(filterOf("one", plain, "first"), optionalFilter("two", broken, "z")), waftv1.ChainState_DEGRADED)
		answers(t, config.Listen, "x-one", "first")
		first := s.give(filterOf("one", plain, "first"), optionalFilter("two", plain, "also"))
		s.awaitServing(first, waftv1.ChainState_SERVING, first)
		answers(t, config.Listen, "x-two", "also")

		load := visit(t, config.Listen)
		degraded := s.give(filterOf("one", plain, "second"), optionalFilter("two", broken, "x"))
		isDegraded := func() {
			t.Helper()
			r := s.await(degraded, waftv1.ChainState_DEGRADED)
			if r.GetServingHash() != degraded || !strings.Contains(r.GetReason(), "filter two was left out: ") {
				t.Errorf("report %v", r)
			}
			answers(t, config.Listen, "x-one", "second")
			answers(t, config.Listen, "x-two", "")
		}
		isDegraded()
		if states := s.states(degraded); slices.Contains(states, waftv1.ChainState_SERVING) || slices.Contains(states, waftv1.ChainState_REJECTED) {
			t.Errorf("states %v", states)
		}
		// Tried once more, whole, when asked: `waft nodes retry`.
		s.change(func() { s.retry++ })
		envoytest.Eventually(t, "it is probed once more, whole", func(context.Context) error {
			if n := agent.log.count("probed", "chain="+degraded, "outcome=rejected"); n != 2 {
				return fmt.Errorf("it was probed %d times", n)
			}
			return nil
		})
		isDegraded()

		// One that must not be left out, beside one that may.
		for _, filters := range [][]*waftv1.Filter{
			{filterOf("one", broken, "x"), optionalFilter("two", plain, "also")},
			{filterOf("one", broken, "x"), optionalFilter("two", broken, "x")},
			{optionalFilter("two", broken, "y")}, // nothing would be left
		} {
			if r := s.awaitServing(s.give(filters...), waftv1.ChainState_REJECTED, degraded); !r.GetFinal() {
				t.Errorf("report %v", r)
			}
		}
		answers(t, config.Listen, "x-one", "second")

		// The next agent goes on with it.
		if back := s.give(filterOf("one", plain, "second"), optionalFilter("two", broken, "x")); back != degraded {
			t.Fatalf("the source's hashes differ: %s, %s", back, degraded)
		}
		isDegraded()
		load.stop()
		if load.failed.Load() > 0 || load.sent.Load() == 0 {
			t.Errorf("%d of %d requests failed, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
		}
		agent.stop()
		run(t, config)
		isDegraded()
		whole := s.give(filterOf("one", plain, "second"), optionalFilter("two", plain, "whole"))
		s.await(whole, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-two", "whole")
	})
}
