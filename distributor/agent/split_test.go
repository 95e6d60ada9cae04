package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/registry/trust"
	"google.golang.org/protobuf/proto"
)

var tenth = model.Cohort{Percent: 10}

// otherDigest is not someDigest.
var otherDigest = "sha256:" + strings.Repeat("cd", 32)

// twoChains is old a → b and new a' → b → c, as a distributor sends it.
func twoChains() *waftv1.Chain {
	rest := []*waftv1.FilterVersion{{Name: "a", Version: "1"}, {Name: "b", Version: "1"}}
	return &waftv1.Chain{Hash: someDigest, Generation: 3, Filters: rest, Split: &waftv1.ChainSplit{
		Hash: model.SplitHash(someDigest, otherDigest, tenth), TestHash: otherDigest, Cohort: &waftv1.Cohort{Percent: 10},
		Release: &waftv1.ReleaseRef{Layer: "global", Release: "edge@" + otherDigest},
		Filters: []*waftv1.SplitFilter{
			{Name: "a", Version: "1", Side: waftv1.SplitSide_REST}, {Name: "a", Version: "2", Side: waftv1.SplitSide_COHORT},
			{Name: "b", Version: "1"}, {Name: "c", Version: "1", Side: waftv1.SplitSide_COHORT},
		},
	}}
}

func splitFilters() map[string]filter {
	return map[string]filter{
		"a": {Name: "a", Version: "1"}, "a.cohort": {Name: "a", Version: "2"}, "b": {Name: "b", Version: "1"}, "c.cohort": {Name: "c", Version: "1"},
	}
}

func TestAssembleSplit(t *testing.T) {
	c, missing := assemble(offer{chain: twoChains(), filters: splitFilters()})
	if c == nil || !slices.Equal(c.names(), []string{"a", "a.cohort", "b", "c.cohort"}) || c.Hash != twoChains().GetSplit().GetHash() {
		t.Fatalf("assembled %+v, missing %v", c, missing)
	}
	if rest, test := c.side(model.SideRest), c.side(model.SideCohort); len(rest) != 2 || rest[0].Version != "1" || len(test) != 3 || test[0].Version != "2" {
		t.Errorf("the rest meets %+v, the cohort %+v", rest, test)
	}
	less := splitFilters()
	delete(less, "c.cohort")
	if c, missing := assemble(offer{chain: twoChains(), filters: less}); c != nil || !slices.Equal(missing, []string{"c.cohort"}) {
		t.Errorf("assembled %+v, missing %v", c, missing)
	}
}

// TestSplitIsRefused: what is no split of two chains by a cohort is not taken.
func TestSplitIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*waftv1.Chain)
		says   string
	}{
		{"as it is", func(*waftv1.Chain) {}, ""},
		{"without a cohort", func(c *waftv1.Chain) { c.Split.Cohort = nil }, "split.cohort"},
		{"of all requests", func(c *waftv1.Chain) { c.Split.Cohort.Percent = 100 }, "split.cohort.percent"},
		{"another cohort than the hash says", func(c *waftv1.Chain) { c.Split.Cohort.Percent = 11 }, "make"},
		{"no hash", func(c *waftv1.Chain) { c.Split.Hash = "" }, "split.hash"},
		{"a side of later versions", func(c *waftv1.Chain) { c.Split.Filters[0].Side = 9 }, "side 9"},
		{"a filter that the rest would lack", func(c *waftv1.Chain) { c.Split.Filters[0].Side = waftv1.SplitSide_COHORT }, "the rest does not meet"},
		{"a release that is not exact", func(c *waftv1.Chain) { c.Split.Release.Release = "edge" }, "split.release"},
	} {
		c := twoChains()
		test.change(c)
		if err := checkSplit("chain", c); (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// chainBefore is how an agent before there were splits reads a chain from its disk.
type chainBefore struct {
	Hash    string   `json:"hash"`
	Filters []filter `json:"filters"`
}

// TestLackOnDisk: a chain that lacks filters is read again as what it is, and never as the whole one by an agent that does not know of those.
func TestLackOnDisk(t *testing.T) {
	whole := goodChain()
	less := *whole
	less.LeftOut = []string{"two"}
	raw, err := json.Marshal(record{Good: &less})
	if err != nil {
		t.Fatal(err)
	}
	var again record
	if err := json.Unmarshal(raw, &again); err != nil || again.Good.Hash != whole.Hash || !again.Good.is(&less) || again.Good.is(whole) {
		t.Errorf("read %+v, %v", again.Good, err)
	}
	var before struct{ Good chainBefore }
	if err := json.Unmarshal(raw, &before); err != nil || before.Good.Hash == whole.Hash || len(before.Good.Filters) != len(less.Filters) {
		t.Errorf("an older agent reads %+v, %v; it would say that the whole chain serves", before.Good, err)
	}
	written := fmt.Sprintf(`{"hash":%q,"leftOut":["two"]}`, whole.Hash)
	var earlier chain
	if err := json.Unmarshal([]byte(written), &earlier); err != nil || !earlier.is(&less) || earlier.Hash != whole.Hash {
		t.Errorf("read %+v, %v, of what was written before", earlier, err)
	}
}

// TestSplitOnDisk: what is kept is read again, and an agent that does not know of splits reads the chain of the rest.
func TestSplitOnDisk(t *testing.T) {
	c, _ := assemble(offer{chain: twoChains(), filters: splitFilters()})
	raw, err := json.Marshal(record{Good: c})
	if err != nil {
		t.Fatal(err)
	}
	var again record
	if err := json.Unmarshal(raw, &again); err != nil || !slices.EqualFunc(again.Good.Filters, c.Filters, func(a, b filter) bool { return a.id() == b.id() && a.Side == b.Side && a.Version == b.Version }) ||
		again.Good.Hash != c.Hash || *again.Good.Split != *c.Split {
		t.Errorf("read %+v, %v", again.Good, err)
	}
	var before struct{ Good chainBefore }
	if err := json.Unmarshal(raw, &before); err != nil || before.Good.Hash != someDigest || len(before.Good.Filters) != 2 || before.Good.Filters[0].Version != "1" {
		t.Errorf("an older agent reads %+v, %v", before, err)
	}
	for _, f := range before.Good.Filters {
		if f.Side != model.SideBoth {
			t.Errorf("an older agent reads %+v", f)
		}
	}
}

func TestSplitInEnvoysWords(t *testing.T) {
	c, _ := assemble(offer{chain: twoChains(), filters: splitFilters()})
	cohort := envoy.Cohort{Percent: 10}
	want := []envoy.Only{{Cohort: cohort, Outside: true}, {Cohort: cohort}, {}, {Cohort: cohort}}
	for i, f := range c.Filters {
		if got := c.only(f); got != want[i] {
			t.Errorf("%s: %+v, want %+v", f.id(), got, want[i])
		}
	}
	// Envoy sees a change where the cohort alone is another.
	other := *c
	other.Split = &split{Rest: c.Split.Rest, Test: c.Split.Test, Cohort: model.Cohort{Percent: 20}}
	if same := sameSlots(envoytest.Newest, nil, c, &other); same[envoy.SlotName] {
		t.Error("another share is taken for no change")
	}
	if same := sameSlots(envoytest.Newest, nil, c, c); !same[envoy.SlotName] {
		t.Error("the same is taken for a change")
	}
	if why := misfit(envoytest.Oldest, []string{"a"}, c); !strings.Contains(why, "two chains side by side") {
		t.Errorf("an Envoy that cannot: %q", why)
	}
	// What runs before is what the rest goes on with: nothing is loaded for it. The cohort's filter of the same name is another VM.
	plain := &chain{Filters: []filter{{Name: "a"}, {Name: "b"}}}
	for id, want := range map[string]bool{"a": true, "a.cohort": false, "b": true, "c.cohort": false} {
		i := slices.IndexFunc(c.Filters, func(f filter) bool { return f.id() == id })
		if runs(plain, c.Filters[i]) != want {
			t.Errorf("%s is loaded already: %v", id, !want)
		}
	}
}

func TestMeterOfACohort(t *testing.T) {
	c, _ := assemble(offer{chain: twoChains(), filters: splitFilters()})
	at := func(requests, settled, seen int64) observation {
		return observation{at: noon, epoch: 1, told: true, requests: 1000, cohort: counts{requests: requests}, settledCohort: counts{requests: settled, errors: settled / 10},
			seen: map[string]int64{"a": 900, "b": 1000, "a.cohort": seen, "c.cohort": seen}}
	}
	var m meter
	m.follow(c, at(5, 5, 5))
	for _, test := range []struct {
		name string
		seen observation
		want counts
	}{
		{"what has just completed does not count yet", at(105, 5, 5), counts{}},
		{"what has settled does", at(105, 105, 105), counts{requests: 100, errors: 10, seen: 100}},
		{"a filter that is skipped shows", at(105, 105, 25), counts{requests: 100, errors: 10, seen: 20}},
		{"filters are ahead", at(205, 105, 205), counts{requests: 100, errors: 10, seen: 100}},
	} {
		m.follow(c, test.seen)
		if got := m.cohort(c); got == nil || *got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
	// What is known of it beside its answers needs no filter to show it, and begins with the chain.
	measured := at(205, 105, 205)
	measured.measured, measured.cohortHealth, measured.health = true, health{stuck: 3, panics: 2, latency: model.Latency{4: 7}}, health{stuck: 99, panics: 98}
	m.follow(c, measured)
	if got, want := m.cohort(c).health, (model.Health{Known: true, Stuck: 3, Panics: 2, Latency: model.Latency{4: 7}}); got != want {
		t.Errorf("its health: %+v, want %+v", got, want)
	}
	mute := at(105, 105, 105)
	mute.told = false
	m.follow(c, mute)
	if got := m.cohort(c); got != nil {
		t.Errorf("an Envoy that does not tell: %+v", got)
	}
	if got := m.cohort(&chain{}); got != nil {
		t.Errorf("a chain that is not split: %+v", got)
	}
}

func TestBypassedSplit(t *testing.T) {
	c, _ := assemble(offer{chain: twoChains(), filters: splitFilters()})
	since := observation{seen: map[string]int64{"a": 5, "a.cohort": 5}}
	for name, test := range map[string]struct {
		rest, cohort int64
		want         bool
	}{"neither counts": {5, 5, true}, "the rest counts": {6, 5, false}, "the cohort counts": {5, 6, false}} {
		now := observation{settled: bypassRequests, seen: map[string]int64{"a": test.rest, "a.cohort": test.cohort}}
		if bypassed(c, since, now) != test.want {
			t.Errorf("%s: %v", name, !test.want)
		}
	}
	only := &chain{Split: c.Split, Filters: []filter{{Name: "a", Side: model.SideCohort}}}
	if bypassed(only, observation{}, observation{settled: 1000, seen: map[string]int64{"a.cohort": 0}}) {
		t.Error("requests that are to meet no filter say nothing")
	}
}

// splitOf is what a distributor sends for a release under test beside others.
func splitOf(t *testing.T, cohort model.Cohort, under model.Release, releases ...model.Release) *chain {
	t.Helper()
	c := chainOf(t, releases...)
	layers := map[model.Layer]model.Release{}
	for _, r := range releases {
		layers[r.Layer] = r
	}
	rest, err := merge.Render(layers)
	if err != nil {
		t.Fatal(err)
	}
	layers[under.Layer] = under
	test, err := merge.Render(layers)
	if err != nil {
		t.Fatal(err)
	}
	both, err := merge.Split(rest, test, model.NodeSplit{Layer: under.Layer, Release: under.ID, Cohort: cohort})
	if err != nil {
		t.Fatal(err)
	}
	c.Hash, c.Filters = both.Hash, nil
	c.Split = &split{Rest: rest.Hash, Test: test.Hash, Cohort: cohort, Release: release{Layer: under.Layer, ID: under.ID.String()}}
	for _, f := range both.Filters {
		c.Filters = append(c.Filters, filter{
			Name: f.Name, Version: f.Version, Digest: f.Module.Digest, Artifact: f.Module.Artifact, Reference: f.Module.Reference,
			Size: f.Module.Size, Config: f.Config, Policy: f.FailurePolicy, Phase: f.Phase, Side: f.Side,
		})
	}
	return c
}

// TestJudgeSplit: two chains are taken where both are what signed releases make, each met by whom it is for, and no others.
func TestJudgeSplit(t *testing.T) {
	n := newNotary(t)
	one := n.publish("one", guest)
	n.sign(one, "k")
	named := func(config string, keys ...string) (model.Release, trust.ReleaseDossier) {
		return n.release(model.Release{ID: model.ReleaseID{Name: "edge"}, Filters: []model.FilterSpec{
			{Name: "a", Module: moduleOf(one), Phase: model.PhaseAuthn, Config: json.RawMessage(config)}, {Name: "same", Module: moduleOf(one)},
		}}, keys...)
	}
	old, oldDossier := named(`{"v":1}`, "k")
	next, nextDossier := named(`{"v":2}`, "k")
	loose, looseDossier := named(`{"v":3}`)
	have := filed{
		artifacts: map[string]trust.Dossier{artifactName(string(one.Digest)): n.gather(one)},
		releases: map[string]trust.ReleaseDossier{
			releaseName(old.ID.String()): oldDossier, releaseName(next.ID.String()): nextDossier, releaseName(loose.ID.String()): looseDossier,
		},
	}
	const releases = "  releases: [{name: all, releases: [\"edge*\"], signatures: {keys: [k]}}]\n  requiredLayers: [global]\n"
	governed := n.policy([]string{"k"}, nil, releases)
	for _, tc := range []struct {
		name   string
		policy *trust.Policy
		sent   func() *chain
		want   trustState
		says   string
	}{
		{"two signed releases", governed, func() *chain { return splitOf(t, tenth, next, old) }, trusted, ""},
		{"nobody has signed the one under test", governed, func() *chain { return splitOf(t, tenth, loose, old) }, distrusted, "must have signed it"},
		{"nobody has signed the other", governed, func() *chain { return splitOf(t, tenth, next, loose) }, distrusted, "must have signed it"},
		{"the one under test is revoked", n.policy([]string{"k"}, []string{next.ID.Hash}, releases), func() *chain { return splitOf(t, tenth, next, old) }, distrusted, "is revoked"},
		{"its dossier is missing", governed, func() *chain {
			c := splitOf(t, tenth, next, old)
			c.Split.Release.ID = model.ReleaseID{Name: "edge", Hash: otherDigest}.String()
			return c
		}, unjudged, ""},
		{"the sides are changed", governed, func() *chain {
			c := splitOf(t, tenth, next, old)
			for i := range c.Filters {
				c.Filters[i].Side = model.SideBoth
			}
			return c
		}, distrusted, "is met by other requests"},
		{"a filter that all meet is for the cohort", governed, func() *chain {
			c := splitOf(t, tenth, next, old)
			c.Filters[len(c.Filters)-1].Side = model.SideCohort
			return c
		}, distrusted, "is met by other requests"},
		{"another configuration for the cohort", governed, func() *chain {
			c := splitOf(t, tenth, next, old)
			c.Filters[1].Config = []byte(`{"v":3}`)
			return c
		}, distrusted, "another configuration"},
		{"another cohort than its name says", governed, func() *chain {
			c := splitOf(t, tenth, next, old)
			c.Split.Cohort.Percent = 90
			return c
		}, distrusted, "it is called"},
		{"in another layer", governed, func() *chain {
			c := splitOf(t, tenth, next, old)
			c.Split.Release.Layer = "team/x"
			return c
		}, distrusted, "it is of layer global"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			have := filed{artifacts: maps.Clone(have.artifacts), releases: maps.Clone(have.releases)}
			if j := judge(tc.policy, tc.sent(), have, time.Now()); j.state != tc.want || !strings.Contains(j.reason, tc.says) {
				t.Errorf("judged %+v, want %d with %q", j, tc.want, tc.says)
			}
		})
	}
}

// TestDecodeCohortFilter: the filter that only a cohort meets has a resource of its own name.
func TestDecodeCohortFilter(t *testing.T) {
	var o offer
	resources := []*mcpv1.Resource{resource(t, "authz", "v1", goodFilter()), resource(t, "authz.cohort", "v2", goodFilter())}
	if err := o.decode("n1", model.CollectionFilters, resources); err != nil || len(o.filters) != 2 || o.filters["authz.cohort"].Name != "authz" {
		t.Errorf("%+v, %v", o.filters, err)
	}
	for _, name := range []string{"authz.other", "cohort", "authz.cohort.cohort"} {
		if _, err := decodeFilter(resource(t, name, "v1", proto.CloneOf(goodFilter()))); err == nil {
			t.Errorf("a filter authz as %s was taken", name)
		}
	}
}
