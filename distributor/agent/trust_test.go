package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// notary has keys by their names, and a registry in which it signs.
type notary struct {
	t     testing.TB
	where registrytest.Endpoint
	path  string
}

func newNotary(t *testing.T) *notary {
	t.Helper()
	return &notary{t: t, where: registrytest.Start(t), path: filepath.Join(t.TempDir(), "trust.yaml")}
}

func (n *notary) signer(name string) signing.Signer {
	n.t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	s, err := signing.FromPrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// policy writes a policy with some keys, some revoked digests, and further members of the spec, and reads it.
func (n *notary) policy(keys, revoked []string, rest string) *trust.Policy {
	n.t.Helper()
	text := "apiVersion: waft.dev/v1\nkind: TrustPolicy\nmetadata: {name: node}\nspec:\n  keys:\n"
	for _, name := range keys {
		public, err := signing.PublicKeyOf(n.t.Context(), n.signer(name))
		if err != nil {
			n.t.Fatal(err)
		}
		pem, err := public.PEM()
		if err != nil {
			n.t.Fatal(err)
		}
		text += fmt.Sprintf("  - {name: %s, publicKey: %q}\n", name, pem)
	}
	list, err := json.Marshal(append([]string{}, revoked...))
	if err != nil {
		n.t.Fatal(err)
	}
	text += fmt.Sprintf("  revoked: {digests: %s}\n  rules:\n  - {name: filters, repositories: [\"%s/filters/*\"], signatures: {keys: [%s]}}\n%s",
		list, n.where.Host, strings.Join(keys, ", "), rest)
	if err := os.WriteFile(n.path+".new", []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(n.path+".new", n.path); err != nil {
		n.t.Fatal(err)
	}
	p, err := trust.Parse([]byte(text))
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// publish pushes a module as filters/NAME.
func (n *notary) publish(name string, content []byte) registry.Artifact {
	n.t.Helper()
	a, err := n.where.Client(n.t).Push(n.t.Context(), n.where.Reference(n.t, "filters/"+name+":1"), registry.ModuleBytes(content), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

func (n *notary) sign(a registry.Artifact, keys ...string) {
	n.t.Helper()
	for _, key := range keys {
		if _, err := signing.Sign(n.t.Context(), n.where.Client(n.t), a, n.signer(key)); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *notary) gather(a registry.Artifact) trust.Dossier {
	n.t.Helper()
	d, err := trust.Gather(n.t.Context(), n.where.Client(n.t), a)
	if err != nil {
		n.t.Fatal(err)
	}
	return d
}

// release seals a release, publishes it, and has it signed.
func (n *notary) release(r model.Release, keys ...string) (model.Release, trust.ReleaseDossier) {
	n.t.Helper()
	sealed, err := model.Seal(r)
	if err != nil {
		n.t.Fatal(err)
	}
	canonical, err := sealed.CanonicalForm()
	if err != nil {
		n.t.Fatal(err)
	}
	ref, err := trust.ReleaseReference(n.where.Host, sealed.ID.Name, registry.DigestOf(canonical))
	if err != nil {
		n.t.Fatal(err)
	}
	a, err := n.where.Client(n.t).PushDocument(n.t.Context(), ref, trust.ReleaseDocument(sealed.ID.Name, canonical), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.sign(a, keys...)
	evidence, err := trust.GatherRelease(n.t.Context(), n.where.Client(n.t), n.where.Host, sealed.ID.Name, canonical)
	if err != nil {
		n.t.Fatal(err)
	}
	return sealed, trust.ReleaseDossier{Canonical: canonical, Evidence: evidence}
}

func moduleOf(a registry.Artifact) *model.Module {
	return &model.Module{Reference: a.Reference.String(), Artifact: string(a.Digest), Digest: string(a.Module.Digest), Size: a.Module.Size}
}

// chainOf is what a distributor sends for some releases.
func chainOf(t *testing.T, releases ...model.Release) *chain {
	t.Helper()
	layers := map[model.Layer]model.Release{}
	c := &chain{Generation: 1}
	for _, r := range releases {
		layers[r.Layer] = r
		c.Releases = append(c.Releases, release{Layer: r.Layer, ID: r.ID.String()})
	}
	rendered, err := merge.Render(layers)
	if err != nil {
		t.Fatal(err)
	}
	c.Hash = rendered.Hash
	for _, f := range rendered.Filters {
		c.Filters = append(c.Filters, filter{
			Name: f.Name, Version: f.Version, Digest: f.Module.Digest, Artifact: f.Module.Artifact, Reference: f.Module.Reference,
			Size: f.Module.Size, Config: f.Config, Policy: f.FailurePolicy, Phase: f.Phase,
		})
	}
	return c
}

// The distributor is only a courier: whatever it changes of what was signed, or leaves out, the node does not take.
func TestJudgeChain(t *testing.T) {
	n := newNotary(t)
	one, two := n.publish("one", guest), n.publish("two", otherGuest)
	n.sign(one, "k")
	n.sign(two, "k")
	ten := int32(10)
	global, globalDossier := n.release(model.Release{ID: model.ReleaseID{Name: "edge"}, Filters: []model.FilterSpec{
		{Name: "a", Module: moduleOf(one), Phase: model.PhaseAuthn, Config: json.RawMessage(`{"strict":true}`)},
		{Name: "b", Module: moduleOf(two), Priority: &ten, Config: json.RawMessage(`{"x":1}`)},
	}}, "k")
	team, teamDossier := n.release(model.Release{ID: model.ReleaseID{Name: "edge-team"}, Layer: "team/x", Filters: []model.FilterSpec{
		{Name: "b", Config: json.RawMessage(`{"y":2}`), FailurePolicy: model.FailClosed},
	}}, "k")
	loose, looseDossier := n.release(model.Release{ID: model.ReleaseID{Name: "edge"}, Filters: []model.FilterSpec{
		{Name: "a", Module: moduleOf(one), Phase: model.PhaseAuthn, Config: json.RawMessage(`{"strict":false}`)},
	}})
	disabling := func(filter string, pass bool, keys ...string) (model.Release, trust.ReleaseDossier) {
		return n.release(model.Release{ID: model.ReleaseID{Name: "disable-" + filter}, Layer: model.EmergencyLayer(filter),
			Disable: &model.Disabling{Filter: filter, PassUnauthorized: pass}}, keys...)
	}
	out, outDossier := disabling("b", false, "k")
	open, openDossier := disabling("a", true, "k")
	hidden, hiddenDossier := disabling("a", false, "k")
	unsigned, unsignedDossier := disabling("b", true)
	have := filed{
		artifacts: map[string]trust.Dossier{artifactName(string(one.Digest)): n.gather(one), artifactName(string(two.Digest)): n.gather(two)},
		releases: map[string]trust.ReleaseDossier{
			releaseName(global.ID.String()): globalDossier, releaseName(team.ID.String()): teamDossier, releaseName(loose.ID.String()): looseDossier,
			releaseName(out.ID.String()): outDossier, releaseName(open.ID.String()): openDossier,
			releaseName(hidden.ID.String()): hiddenDossier, releaseName(unsigned.ID.String()): unsignedDossier,
		},
	}
	const releases = "  releases: [{name: all, releases: [\"edge*\"], signatures: {keys: [k]}}]\n  requiredLayers: [global]\n"
	governed, modulesOnly := n.policy([]string{"k"}, nil, releases), n.policy([]string{"k"}, nil, "")
	const emergencies = "  - {name: emergencies, releases: [\"disable-*\"], layers: [\"emergency/*\"], "
	rules := strings.Replace(releases, "  requiredLayers", emergencies+"signatures: {keys: [k]}}\n  requiredLayers", 1)
	rules = strings.Replace(rules, "[{name: all, releases: [\"edge*\"], signatures: {keys: [k]}}]", "\n  - {name: all, releases: [\"edge*\"], signatures: {keys: [k]}}", 1)
	prepared := n.policy([]string{"k"}, nil, rules)
	careless := n.policy([]string{"k"}, nil, strings.Replace(rules, emergencies+"signatures: {keys: [k]}", emergencies+"unsigned: true", 1))
	old := n.policy([]string{"k"}, nil, strings.Replace(releases, "edge*", "*", 1))
	now := time.Now()
	for _, tc := range []struct {
		name   string
		policy *trust.Policy
		change func(c *chain, have *filed)
		want   trustState
		says   string
	}{
		{name: "as it was signed", policy: governed, want: trusted},
		{name: "modules alone are asked about", policy: modulesOnly, want: trusted, change: func(c *chain, _ *filed) { c.Releases, c.Filters[0].Config = nil, nil }},
		{name: "an artifact's dossier is missing", policy: modulesOnly, want: unjudged, change: func(_ *chain, have *filed) { have.artifacts = nil }},
		{name: "a release's dossier is missing", policy: governed, want: unjudged, change: func(_ *chain, have *filed) { have.releases = nil }},
		{name: "no artifact is named", policy: modulesOnly, want: distrusted, says: "does not say which artifact", change: func(c *chain, _ *filed) { c.Filters[0].Artifact = "" }},
		{name: "no reference is named", policy: modulesOnly, want: distrusted, says: "does not say which artifact", change: func(c *chain, _ *filed) { c.Filters[0].Reference = "" }},
		{name: "a repository without a rule", policy: modulesOnly, want: distrusted, says: "no rule is about", change: func(c *chain, _ *filed) {
			c.Filters[0].Reference = strings.Replace(c.Filters[0].Reference, "filters/", "others/", 1)
		}},
		{name: "another module", policy: modulesOnly, want: distrusted, says: "it holds the module", change: func(c *chain, _ *filed) { c.Filters[0].Digest = c.Filters[1].Digest }},
		{name: "another configuration", policy: governed, want: distrusted, says: "filter a has another configuration", change: func(c *chain, _ *filed) {
			c.Filters[0].Config = []byte(`{"strict":false}`)
		}},
		{name: "another failure policy", policy: governed, want: distrusted, says: "filter b has another failure policy", change: func(c *chain, _ *filed) { c.Filters[1].Policy = model.FailOpen }},
		{name: "another artifact", policy: governed, want: distrusted, says: "filter a has another module", change: func(c *chain, _ *filed) {
			b := c.Filters[1]
			c.Filters[0].Reference, c.Filters[0].Artifact, c.Filters[0].Digest, c.Filters[0].Size = b.Reference, b.Artifact, b.Digest, b.Size
		}},
		{name: "a filter left out", policy: governed, want: distrusted, says: "they make 2 filters, and 1 were sent", change: func(c *chain, _ *filed) { c.Filters = c.Filters[1:] }},
		{name: "another order", policy: governed, want: distrusted, says: "filter b was sent in the place of a", change: func(c *chain, _ *filed) { slices.Reverse(c.Filters) }},
		{name: "another hash", policy: governed, want: distrusted, says: "it is called", change: func(c *chain, _ *filed) { c.Hash = someDigest }},
		{name: "a layer left out", policy: governed, want: distrusted, says: "asks for a release of layer global", change: func(c *chain, _ *filed) {
			*c = chain{Hash: c.Hash, Releases: c.Releases[1:]}
		}},
		{name: "no filters and no releases", policy: governed, want: distrusted, says: "asks for a release of layer global", change: func(c *chain, _ *filed) { *c = chain{Hash: someDigest} }},
		{name: "a release that nobody has signed", policy: governed, want: distrusted, says: "1 of the keys k must have signed it", change: func(c *chain, _ *filed) { *c = *chainOf(t, loose) }},
		{name: "a signature of another release", policy: governed, want: distrusted, says: "1 of the keys k must have signed it", change: func(c *chain, have *filed) {
			*c = *chainOf(t, loose)
			d := looseDossier
			d.Evidence = globalDossier.Evidence
			have.releases[releaseName(loose.ID.String())] = d
		}},
		{name: "another content under a release's hash", policy: governed, want: distrusted, says: "of another release", change: func(_ *chain, have *filed) {
			have.releases[releaseName(global.ID.String())] = looseDossier
		}},
		{name: "a release under another name", policy: governed, want: distrusted, says: "must have signed it", change: func(c *chain, have *filed) {
			id := model.ReleaseID{Name: "edge-other", Hash: global.ID.Hash}.String()
			c.Releases[0].ID, have.releases[releaseName(id)] = id, globalDossier
		}},
		{name: "a release in another layer", policy: governed, want: distrusted, says: "it is of layer team/x", change: func(c *chain, _ *filed) { c.Releases[1].Layer = "service/y" }},
		{name: "two releases of one layer", policy: governed, want: distrusted, says: "as the one release of layer global", change: func(c *chain, _ *filed) { c.Releases = append(c.Releases, c.Releases[0]) }},
		{name: "a module that is revoked", policy: n.policy([]string{"k"}, []string{string(two.Module.Digest)}, releases), want: distrusted, says: "is revoked"},
		{name: "a release that is revoked", policy: n.policy([]string{"k"}, []string{team.ID.Hash}, releases), want: distrusted, says: "is revoked"},
		{name: "a release that is revoked, where nothing else is asked of them", policy: n.policy([]string{"k"}, []string{team.ID.Hash}, ""), want: distrusted, says: "is revoked"},
		{name: "another key", policy: n.policy([]string{"other"}, nil, strings.ReplaceAll(releases, "[k]", "[other]")), want: distrusted, says: "1 of the keys other must have signed it"},
		{name: "a filter that is disabled by who may", policy: prepared, want: trusted, change: func(c *chain, _ *filed) { *c = *chainOf(t, global, team, out) }},
		{name: "a guard that is disabled by who may", policy: prepared, want: trusted, change: func(c *chain, _ *filed) { *c = *chainOf(t, global, team, open) }},
		{name: "a guard, without the word for it", policy: prepared, want: distrusted, says: "every request passes", change: func(c *chain, _ *filed) {
			*c = *chainOf(t, global, team, open)
			c.Releases[2].ID = hidden.ID.String()
		}},
		{name: "a filter that is disabled, and no rule is about it", policy: governed, want: distrusted, says: "no rule is about", change: func(c *chain, _ *filed) {
			*c = *chainOf(t, global, team, out)
		}},
		{name: "a guard that is disabled by a key of a rule for all releases", policy: old, want: distrusted, says: "only where its layers say emergency/", change: func(c *chain, _ *filed) {
			*c = *chainOf(t, global, team, open)
		}},
		{name: "a filter that nobody has disabled by signature", policy: prepared, want: distrusted, says: "1 of the keys k must have signed it", change: func(c *chain, _ *filed) {
			*c = *chainOf(t, global, team, unsigned)
		}},
		{name: "a filter that a rule for unsigned ones disables", policy: careless, want: distrusted, says: "nobody has signed it", change: func(c *chain, _ *filed) {
			*c = *chainOf(t, global, team, unsigned)
		}},
		{name: "more left out than what is disabled", policy: prepared, want: distrusted, says: "they make 1 filters, and 0 were sent", change: func(c *chain, _ *filed) {
			*c = *chainOf(t, global, team, out)
			c.Filters = nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, have := chainOf(t, global, team), filed{artifacts: maps.Clone(have.artifacts), releases: maps.Clone(have.releases)}
			if tc.change != nil {
				tc.change(c, &have)
			}
			j := judge(tc.policy, c, have, now)
			if j.state != tc.want || !strings.Contains(j.reason, tc.says) || j.state == trusted && j.reason != "" || !j.until.After(now) {
				t.Errorf("judged %+v, want %d with %q", j, tc.want, tc.says)
			}
		})
	}
}

// A judgement is of one content. A distributor that sends another one under the same hash and generation is not given the first one's.
func TestJudgementIsOfTheContent(t *testing.T) {
	g := &guard{log: slog.New(slog.DiscardHandler)}
	judged := 0
	ask := func(c *chain, by string, now time.Time) {
		g.remember(c, by, now, func() judgement { judged++; return judgement{until: now.Add(time.Minute)} })
	}
	one, same := newChain(), newChain()
	for i, step := range []struct {
		c    *chain
		by   string
		now  time.Time
		want int
	}{
		{one, "a", noon, 1}, {one, "a", noon.Add(time.Second), 1}, {same, "a", noon, 2}, {one, "a", noon, 3},
		{one, "b", noon, 4}, {one, "b", noon.Add(time.Minute), 5},
	} {
		if ask(step.c, step.by, step.now); judged != step.want {
			t.Errorf("step %d: judged %d times, want %d", i, judged, step.want)
		}
	}
}

// A real node by its own policy: what nobody has signed, what is revoked and what an old key has signed is not given to Envoy; the chain before serves
// on; and the ledger says why.
func TestTrustPolicyOfANode(t *testing.T) {
	t.Parallel()
	n := newNotary(t)
	s := newSource(t, "n1")
	n.policy([]string{"old"}, nil, "")
	file, err := trust.Open(n.path)
	if err != nil {
		t.Fatal(err)
	}
	bring := func(a registry.Artifact) {
		t.Helper()
		text, err := json.Marshal(n.gather(a))
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dossiers[artifactName(string(a.Digest))] = text
	}
	give := func(a registry.Artifact, word string) string {
		t.Helper()
		return s.give(filterOf("one", &waftv1.ModuleRef{
			Reference: a.Reference.String(), Artifact: string(a.Digest), Digest: string(a.Module.Digest), Size: a.Module.Size,
		}, word))
	}
	one, two := n.publish("one", guest), n.publish("two", otherGuest)
	s.module(guest)
	s.module(otherGuest)
	n.sign(one, "old")
	bring(one)
	bring(two)
	config := configFor(t, s, envoytest.Newest)
	config.TrustPolicy = file
	node := run(t, config)

	// A first chain that is not trusted starts no Envoy.
	untrusted := give(two, "untrusted")
	if r := s.await(untrusted, waftv1.ChainState_REJECTED); !r.GetFinal() || r.GetStep() != "trust" || r.GetServingHash() != "" ||
		!strings.Contains(r.GetReason(), "policy node, rule filters: 1 of the keys old must have signed it") || !strings.Contains(r.GetReason(), string(two.Digest)) {
		t.Errorf("report %v", r)
	}
	if listens(config.Listen) {
		t.Error("Envoy was started with what is not trusted")
	}
	first := give(one, "first")
	s.await(first, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "first")

	// The next one: Envoy does not hear of it.
	load := visit(t, config.Listen)
	before := attempts(t, config.Admin)
	second := give(two, "second")
	if r := s.awaitServing(second, waftv1.ChainState_REJECTED, first); !r.GetFinal() || r.GetStep() != "trust" {
		t.Errorf("report %v", r)
	}
	if after := attempts(t, config.Admin); after != before {
		t.Errorf("Envoy was offered what is not trusted: %d attempts after %d", after, before)
	}
	answers(t, config.Listen, "x-one", "first")
	// Somebody signs it, and asks to try again.
	n.sign(two, "old", "new")
	bring(two)
	s.change(func() { s.retry++ })
	s.await(second, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "second")

	// Rotation: both keys, then the new one alone. What both have signed serves on; what the old one alone has is refused.
	n.policy([]string{"old", "new"}, nil, "")
	awaitPolicy(t, file)
	n.policy([]string{"new"}, nil, "")
	awaitPolicy(t, file)
	third := give(one, "third")
	if r := s.awaitServing(third, waftv1.ChainState_REJECTED, second); r.GetStep() != "trust" || !strings.Contains(r.GetReason(), "keys new") {
		t.Errorf("report %v", r)
	}
	back := give(two, "second")
	s.await(back, waftv1.ChainState_SERVING)

	// What serves is revoked: it serves on, and the ledger says so. The agent comes up again without the distributor, and serves on.
	n.policy([]string{"new"}, []string{string(two.Module.Digest)}, "")
	if r := s.awaitServing(back, waftv1.ChainState_DEGRADED, back); r.GetStep() != "trust" || !strings.Contains(r.GetReason(), "is revoked") {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "second")
	load.stop()
	if load.failed.Load() > 0 || load.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed: %v", load.failed.Load(), load.sent.Load(), load.last.Load())
	}
	node.stop()
	s.stop()
	node = run(t, config)
	answers(t, config.Listen, "x-one", "second")
	s.start()
	s.await(back, waftv1.ChainState_DEGRADED)

	// It is not loaded again once something else runs.
	n.sign(one, "new")
	bring(one)
	fourth := give(one, "fourth")
	s.await(fourth, waftv1.ChainState_SERVING)
	envoytest.Eventually(t, "the trial is over", func(context.Context) error {
		if r, err := stateOf(config); err != nil || r.Good == nil || r.Good.Hash != fourth {
			return fmt.Errorf("not yet: %w", err)
		}
		return nil
	})
	again := give(two, "second")
	if r := s.awaitServing(again, waftv1.ChainState_REJECTED, fourth); r.GetStep() != "trust" {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "fourth")
	node.stop()
}

// stateOf reads the record of an agent that may be running.
func stateOf(config Config) (record, error) {
	var r record
	from, err := readSealed(filepath.Join(config.StateDir, stateFile), &r)
	if from == "" && err == nil {
		err = errors.New("there is none")
	}
	return r, err
}

// awaitPolicy waits until the policy in use is what its file says.
func awaitPolicy(t *testing.T, file *trust.File) {
	t.Helper()
	text, err := os.ReadFile(file.Path())
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, "the policy is read", func(context.Context) error {
		if _, id := file.Policy(); id != registry.DigestOf(text) {
			return errors.New("not yet")
		}
		return nil
	})
}
