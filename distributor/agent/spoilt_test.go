package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

func TestSpoilt(t *testing.T) {
	version := envoy.Version{Number: envoytest.Newest, Build: build}
	with := func(value string) *chain {
		c := &chain{Hash: newHash, Secrets: []heldSecret{{Ref: "env:A", Version: value, Value: value}}}
		c.Filters = append(c.Filters, filter{Name: "one", Digest: "a", Policy: model.FailReload})
		for _, name := range []string{"two", "three"} {
			c.Filters = append(c.Filters, filter{Name: name, Digest: "b", Config: []byte(`"` + value + `"`), Policy: model.FailOpen})
		}
		return c
	}
	lacking := func(value string, name string) *chain {
		c := with(value)
		less := *c
		less.Filters, less.LeftOut = nil, []string{name}
		for _, f := range c.Filters {
			if f.Name != name {
				less.Filters = append(less.Filters, f)
			}
		}
		return &less
	}
	for _, test := range []struct {
		name     string
		rejected []filter
		had      *chain
		want     string
	}{
		{name: "nothing is left out", had: with("old")},
		{name: "a filter refuses the new value", rejected: with("new").Filters[1:2], had: with("old"), want: "filter two: no"},
		{name: "two do", rejected: with("new").Filters[1:3], had: with("old"), want: "filter two: no; filter three: no"},
		{name: "nothing runs yet", rejected: with("new").Filters[1:2]},
		{name: "it was left out before", rejected: with("new").Filters[1:2], had: lacking("old", "two")},
		{name: "another was", rejected: with("new").Filters[1:3], had: lacking("old", "two"), want: "filter three: no"},
		{name: "this Envoy does not take it with the old value either", rejected: []filter{with("new").Filters[1], with("old").Filters[1]}, had: with("old")},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := openVerdicts(filepath.Join(t.TempDir(), verdictsFile))
			if err != nil {
				t.Fatal(err)
			}
			no := envoy.Verdict{Outcome: envoy.Rejected, Reasons: []string{"no"}}
			found := probed{verdict: no, alone: map[string]envoy.Verdict{}}
			for _, f := range test.rejected {
				found.alone[f.content()] = no
			}
			if err := v.keep(build, with("new"), found, noon); err != nil {
				t.Fatal(err)
			}
			full := with("new")
			rest, _ := without(full, version, v)
			if got := spoilt(full, rest, test.had, version, v); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestSpoiltWay(t *testing.T) {
	with := func(value string) *chain {
		return &chain{Hash: newHash, Filters: []filter{{Name: "one", Digest: "a", Config: []byte(`"` + value + `"`)}}, Secrets: []heldSecret{{Ref: "env:A", Version: value, Value: value}}}
	}
	v, err := openVerdicts(filepath.Join(t.TempDir(), verdictsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"bad", "worse"} {
		if err := v.keep(build, with(value), probed{verdict: envoy.Verdict{Outcome: envoy.Rejected, Reasons: []string{"no"}}}, noon); err != nil {
			t.Fatal(err)
		}
	}
	d := &driver{version: envoy.Version{Number: envoytest.Newest, Build: build}, verdicts: v, refusals: map[string]*refusalCount{
		with("late").version(): {refusal: refusal{reason: "hangs", until: noon.Add(time.Second)}},
		with("past").version(): {refusal: refusal{reason: "hangs", until: noon}},
	}}
	for name, test := range map[string]struct {
		next, had *chain
		want      string
	}{
		"the new value is good":              {with("new"), with("old"), ""},
		"the probe rejects it":               {with("bad"), with("old"), "no"},
		"Envoy refused it":                   {with("late"), with("old"), "hangs"},
		"it did, and is to be tried again":   {with("past"), with("old"), ""},
		"nothing is there of before":         {with("bad"), nil, ""},
		"it is the same":                     {with("bad"), with("bad"), ""},
		"the one before is rejected as well": {with("bad"), with("worse"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := d.spoiltWay(test.next, test.had, noon); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// A node is taken back to the chain that it had before, whose secret has been given a value since that the filter refuses: it goes back with the value that it had there. Once
// there, it takes the next good one.
func TestBackToAChainWhoseSecretIsBad(t *testing.T) {
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = -1
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	config.SecretDirs = []string{dir}
	replace(t, path, "horse-battery-1")
	run(t, config)
	plain := s.module(guest)
	keyed := s.give(secretConfig(plain, path))
	s.await(keyed, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "horse-battery-1")
	second := s.give(filterOf("one", plain, "second"))
	s.await(second, waftv1.ChainState_SERVING)
	replace(t, path, "gossip-battery-2")

	s.mu.Lock()
	s.reports = nil
	s.mu.Unlock()
	if back := s.give(secretConfig(plain, path)); back != keyed {
		t.Fatalf("the source's hashes differ: %s, %s", back, keyed)
	}
	answers(t, config.Listen, "x-one", "horse-battery-1")
	envoytest.Eventually(t, "the ledger says with which value it serves", func(context.Context) error {
		if r := s.lastStanding(); r.GetState() != waftv1.ChainState_DEGRADED || r.GetServingHash() != keyed || !strings.Contains(r.GetReason(), "the secrets that it had") {
			return fmt.Errorf("the last report is %v", r)
		}
		return nil
	})
	for _, r := range s.said() {
		if r.GetChain().GetHash() == keyed && r.GetChain().GetState() == waftv1.ChainState_REJECTED && r.GetChain().GetFinal() {
			t.Errorf("on the way back it says %v", r)
		}
	}
	replace(t, path, "horse-battery-3")
	answers(t, config.Listen, "x-one", "horse-battery-3")
	s.await(keyed, waftv1.ChainState_SERVING)
}

// A filter that may be left out refuses another value of its secret: it goes on with the one that it had, and is not taken out of a node that serves.
func TestBadSecretOfAnOptionalFilter(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	config.SecretDirs = []string{dir}
	replace(t, path, "horse-battery-1")
	run(t, config)
	plain := s.module(guest)
	optional := secretConfig(plain, path)
	optional.Name, optional.FailurePolicy = "two", waftv1.FailurePolicy_FAIL_OPEN
	given := s.give(filterOf("one", plain, "first"), optional)
	s.await(given, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-two", "horse-battery-1")
	load := visitFor(t, config.Listen, "x-two")

	replace(t, path, "gossip-battery-2")
	r := s.await(given, waftv1.ChainState_DEGRADED)
	if r.GetStep() != "probe" || !strings.Contains(r.GetReason(), "the new ones were rejected: filter two: ") || r.GetServingHash() != given {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-two", "horse-battery-1")

	replace(t, path, "horse-battery-3")
	answers(t, config.Listen, "x-two", "horse-battery-3")
	envoytest.Eventually(t, "the ledger says that it serves", func(context.Context) error {
		if r := s.lastStanding(); r.GetState() != waftv1.ChainState_SERVING {
			return fmt.Errorf("the last report is %v", r)
		}
		return nil
	})
	load.stop()
	if load.failed.Load() > 0 || load.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed, or met no filter two, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
	}
}
