package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy/envoytest"
)

func TestOlder(t *testing.T) {
	with := func(c *chain, version string) *chain {
		c.Secrets = []heldSecret{{Ref: "env:A", Version: version, Value: "value " + version}}
		return c
	}
	for _, test := range []struct {
		name         string
		trial        *trial
		good, before *chain
		want         string // the version of its secret
	}{
		{name: "nothing"},
		{name: "the good one", good: with(newChain(), "1"), before: goodChain(), want: "1"},
		{name: "the one on trial first", trial: &trial{chain: with(newChain(), "2")}, good: with(newChain(), "1"), want: "2"},
		{name: "another is on trial", trial: &trial{chain: with(goodChain(), "2")}, good: with(newChain(), "1"), want: "1"},
		{name: "the one before, to which a rollback leads", good: goodChain(), before: with(newChain(), "1"), want: "1"},
		{name: "others", trial: &trial{chain: with(goodChain(), "1")}, good: with(goodChain(), "1"), before: with(goodChain(), "1")},
		{name: "without values", good: newChain(), before: newChain()},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := newChain()
			given.Generation = 7
			got := older(given, test.trial, test.good, test.before)
			if (got == nil) != (test.want == "") || got != nil && (got.Secrets[0].Version != test.want || got.Generation != given.Generation) {
				t.Errorf("%+v, want secrets of version %q, of the chain that was given now", got, test.want)
			}
		})
	}
}

// A rollback to a chain whose secret is gone by now: it is gone back to with the value that it had.
func TestRollbackWithoutTheSecret(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = -1 // good at once
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	config.SecretDirs = []string{dir}
	replace(t, path, "horse-battery-1")
	run(t, config)
	plain := s.module(guest)
	first := s.give(secretConfig(plain, path))
	s.await(first, waftv1.ChainState_SERVING)
	second := s.give(filterOf("one", plain, "second"))
	s.await(second, waftv1.ChainState_SERVING)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if back := s.give(secretConfig(plain, path)); back != first {
		t.Fatalf("the source's hashes differ: %s, %s", back, first)
	}
	r := s.await(first, waftv1.ChainState_DEGRADED)
	// A report of an earlier generation is stale to a distributor.
	if r.GetGeneration() != 3 || r.GetStep() != "secrets" || !strings.Contains(r.GetReason(), "there is no file "+path) || r.GetServingHash() != first {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "horse-battery-1")
}
