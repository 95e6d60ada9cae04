package agent

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

func TestMisfit(t *testing.T) {
	of := func(names ...string) *chain {
		c := &chain{Hash: newHash}
		for _, name := range names {
			c.Filters = append(c.Filters, filter{Name: name, Digest: "a"})
		}
		return c
	}
	for _, test := range []struct {
		name   string
		number envoy.Number
		slots  []string
		chain  *chain
		says   string
	}{
		{"one slot for all", envoytest.Newest, nil, of("a", "b"), ""},
		{"a slot for each", envoytest.Oldest, []string{"a", "b"}, of("a", "b"), ""},
		{"a slot without its filter", envoytest.Oldest, []string{"a", "b"}, of("b"), ""},
		{"slots without any", envoytest.Oldest, []string{"a", "b"}, of(), ""},
		{"Envoy was not started yet", envoytest.Oldest, nil, of("a", "b"), ""},
		{"a filter without a slot", envoytest.Oldest, []string{"a", "b"}, of("a", "c"), "here for [a b], and the chain has the filters [a c]"},
		{"another order", envoytest.Oldest, []string{"a", "b"}, of("b", "a"), "here for [a b]"},
		{"an Envoy without slots", envoytest.Oldest, []string{}, of("a"), "here for []"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := misfit(test.number, test.slots, test.chain); (got == "") != (test.says == "") || !strings.Contains(got, test.says) {
				t.Errorf("%q, want %q", got, test.says)
			}
		})
	}
}

// A slot that holds what it held takes the version and reloads nothing, also where that is nothing.
func TestSameSlots(t *testing.T) {
	of := func(filters ...filter) *chain { return &chain{Filters: filters} }
	a, b := filter{Name: "a", Digest: "1"}, filter{Name: "b", Digest: "1"}
	changed := filter{Name: "a", Digest: "2"}
	for _, test := range []struct {
		name     string
		from, to *chain
		want     map[string]bool
	}{
		{"both stay", of(a, b), of(a, b), map[string]bool{"waft.a": true, "waft.b": true}},
		{"one changes", of(a, b), of(changed, b), map[string]bool{"waft.a": false, "waft.b": true}},
		{"one goes out", of(a, b), of(b), map[string]bool{"waft.a": false, "waft.b": true}},
		{"it stays out", of(b), of(b), map[string]bool{"waft.a": true, "waft.b": true}},
		{"it comes back", of(b), of(a, b), map[string]bool{"waft.a": false, "waft.b": true}},
	} {
		if got := sameSlots(envoytest.Oldest, []string{"a", "b"}, test.from, test.to); !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// An Envoy that has no slots is not one whose slots are not known.
func TestNoSlotsAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	for _, want := range [][]string{nil, {}, {"one"}} {
		s, _, err := openState(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.change(func(r *record) { r.Slots = want }); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if s, _, err = openState(dir); err != nil {
			t.Fatal(err)
		}
		if got := s.read().Slots; (got == nil) != (want == nil) || len(got) != len(want) {
			t.Errorf("kept %#v as %#v", want, got)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What `waft filter disable` and `enable` do to a node: a filter goes out of its chain and comes back, under load, past a restart of Envoy and agent in
// between. An Envoy before 1.39 has a slot for it all the while.
func TestFiltersComeAndGoOnEveryEnvoy(t *testing.T) {
	t.Parallel()
	envoytest.EachVersion(t, func(t *testing.T, number envoy.Number) {
		s := newSource(t, "n1")
		config := configFor(t, s, number)
		agent := run(t, config)
		plain := s.module(guest)
		one, two := filterOf("one", plain, "first"), filterOf("two", plain, "also")
		whole := s.give(one, two)
		s.await(whole, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-one", "first")

		load := visitFor(t, config.Listen, "x-two")
		rest := s.give(two)
		s.awaitServing(rest, waftv1.ChainState_SERVING, rest)
		answers(t, config.Listen, "x-one", "")
		load.stop()
		if load.failed.Load() > 0 || load.sent.Load() == 0 {
			t.Errorf("%d of %d requests failed or did not meet the filter that stays, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
		}
		envoytest.Eventually(t, "the chain without the filter is the good one", func(context.Context) error {
			content, err := os.ReadFile(filepath.Join(config.StateDir, envoyFolder, "bootstrap.json"))
			if err == nil && strings.Contains(string(content), `"first"`) {
				err = fmt.Errorf("the default of the bootstrap still has it")
			}
			return err
		})
		requireSlots(t, config, number, rest)

		// It stays out.
		agent.stop()
		run(t, config)
		answers(t, config.Listen, "x-two", "also")
		answers(t, config.Listen, "x-one", "")
		s.await(rest, waftv1.ChainState_SERVING)

		if !number.HasFilterChain() {
			// A filter that there is no slot for changes nothing.
			wrong := s.give(filterOf("three", plain, "third"), two)
			if r := s.awaitServing(wrong, waftv1.ChainState_REJECTED, rest); !r.GetFinal() || !strings.Contains(r.GetReason(), "here for [one two], and the chain has the filters [three two]") {
				t.Errorf("report %v", r)
			}
			answers(t, config.Listen, "x-one", "")
		}
		none := s.give()
		s.await(none, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-two", "")

		if back := s.give(one, two); back != whole {
			t.Fatalf("the source's hashes differ: %s, %s", back, whole)
		}
		s.await(whole, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-one", "first")
		answers(t, config.Listen, "x-two", "also")
		requireSlots(t, config, number, whole)
	})
}

// requireSlots asks Envoy what it has in each of its slots.
func requireSlots(t testing.TB, config Config, number envoy.Number, hash string) {
	t.Helper()
	stats, err := envoy.NewAdmin(config.Admin).Stats(t.Context(), "extension_config_discovery")
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range slotNames(number, []string{"one", "two"}) {
		if got := stats.Texts[envoy.SlotStats(slot)+"version_text"]; got != hash || stats.Values[envoy.SlotStats(slot)+"config_reload"] == 0 {
			t.Errorf("slot %s has %q, loaded %d times; want %s", slot, got, stats.Values[envoy.SlotStats(slot)+"config_reload"], hash)
		}
	}
}
