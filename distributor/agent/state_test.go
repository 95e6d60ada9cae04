package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/envoy"
)

func TestStateIsLockedAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	s, damaged, err := openState(dir)
	if err != nil || damaged != nil {
		t.Fatal(err, damaged)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, _, err := openState(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("a second agent: %v", err)
	}
	packed, err := pack([]*mcpv1.Resource{{Metadata: &mcpv1.Metadata{Name: "r", Version: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*record){
		func(r *record) { r.Good, r.Generation = goodChain(), 7 },
		func(r *record) { r.Held = map[string][][]byte{"c": packed} },
	} {
		if err := s.change(change); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s, damaged, err = openState(dir)
	if err != nil || damaged != nil {
		t.Fatal(err, damaged)
	}
	defer func() { _ = s.close() }()
	r := s.read()
	resources, err := unpack(r.Held["c"])
	if err != nil || len(resources) != 1 || resources[0].GetMetadata().GetVersion() != "1" || r.Generation != 7 || !r.Good.is(goodChain()) {
		t.Errorf("read %+v, %v", r, err)
	}
	// What the disk does not take is not taken.
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.change(func(r *record) { r.Generation = 8 }); err == nil || s.read().Generation != 7 {
		t.Errorf("changed without a disk: %v, generation %d", err, s.read().Generation)
	}
}

func TestVerdictsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "verdicts.json")
	v, err := openVerdicts(path)
	if err != nil {
		t.Fatal(err)
	}
	for hash, outcome := range map[string]envoy.Outcome{"a": envoy.Accepted, "r": envoy.Rejected, "i": envoy.Inconclusive} {
		if err := v.keep("build", &chain{Hash: hash}, probed{verdict: envoy.Verdict{Outcome: outcome, Reasons: []string{"why"}}}, noon); err != nil {
			t.Fatal(err)
		}
	}
	if v, err = openVerdicts(path); err != nil {
		t.Fatal(err)
	}
	if got := v.of("build", "a"); got == nil || got.Outcome != envoy.Accepted {
		t.Errorf("a: %+v", got)
	}
	if got := v.of("build", "r"); got == nil || got.Outcome != envoy.Rejected || got.Reason() != "why" {
		t.Errorf("r: %+v", got)
	}
	if got := v.of("build", "i"); got != nil {
		t.Errorf("an inconclusive verdict was kept: %+v", got)
	}
	if got := v.of("other build", "r"); got != nil {
		t.Errorf("a verdict of another build: %+v", got)
	}
	if err := v.forget("build", &chain{Hash: "r"}); err != nil || v.of("build", "r") != nil {
		t.Errorf("not forgotten: %v", err)
	}
	for i := range maxVerdicts + 10 {
		v.kept[verdictKey("build", string(rune('A'+i)))] = keptVerdict{At: noon.Add(-1)}
	}
	if err := v.keep("build", &chain{Hash: "newest"}, probed{verdict: envoy.Verdict{Outcome: envoy.Accepted}}, noon); err != nil || len(v.kept) != maxVerdicts || v.of("build", "newest") == nil {
		t.Errorf("%d verdicts are kept, %v", len(v.kept), err)
	}
}

// A chain is probed for the filters that this Envoy build has not accepted in another chain.
func TestVerdictsOnFilters(t *testing.T) {
	v, err := openVerdicts(filepath.Join(t.TempDir(), "verdicts.json"))
	if err != nil {
		t.Fatal(err)
	}
	one := filter{Name: "a", Digest: "sha256:1", Config: []byte(`{"x":1}`)}
	two := filter{Name: "b", Digest: "sha256:2"}
	if err := v.keep("build", &chain{Hash: "h", Filters: []filter{one, two}}, probed{verdict: envoy.Verdict{Outcome: envoy.Accepted}}, noon); err != nil {
		t.Fatal(err)
	}
	if v, err = openVerdicts(v.path); err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*filter)) filter { f := one; change(&f); return f }
	for _, c := range []struct {
		name  string
		build string
		f     filter
		known bool
	}{
		{"the same", "build", one, true},
		{"another version of the resource, with the same content", "build", changed(func(f *filter) { f.Version = "v2" }), true},
		{"another name", "build", changed(func(f *filter) { f.Name = "c" }), false},
		{"another module", "build", changed(func(f *filter) { f.Digest = "sha256:3" }), false},
		{"another configuration", "build", changed(func(f *filter) { f.Config = []byte(`{"x":2}`) }), false},
		{"another policy", "build", changed(func(f *filter) { f.Policy = "FAIL_CLOSED" }), false},
		{"another build", "other", one, false},
	} {
		left := v.unproven(c.build, &chain{Filters: []filter{c.f, two}})
		wanted := 0
		if !c.known {
			wanted = 1
		}
		if c.build != "build" {
			wanted = 2
		}
		if len(left) != wanted {
			t.Errorf("%s: %d filters are probed instead of %d", c.name, len(left), wanted)
		}
	}
	if err := v.forget("build", &chain{Hash: "h", Filters: []filter{one}}); err != nil || len(v.unproven("build", &chain{Filters: []filter{one, two}})) != 1 {
		t.Errorf("not forgotten: %v", err)
	}
}
