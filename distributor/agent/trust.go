package agent

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/descriptors"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
)

// judgeAgain is after how long a chain is judged anew: a key begins to count, or no longer does, without anything being said.
const judgeAgain = time.Minute

// trustState is what the node's own policy says of a chain.
type trustState int

const (
	// trusted: the policy allows it, or there is no policy.
	trusted trustState = iota
	// unjudged: what the decision rests on is not here yet.
	unjudged
	// distrusted: the policy refuses it.
	distrusted
)

// judgement is what the policy says of a chain, and why. The zero value is that of a node without a policy.
type judgement struct {
	state  trustState
	reason string
	// until is when it may be another one by itself; zero: never.
	until time.Time
}

// release names a release that a chain was rendered from, as the distributor says.
type release struct {
	Layer model.Layer `json:"layer"`
	// ID is NAME@sha256:HEX.
	ID string `json:"id"`
}

// filed is what was brought for decisions, by the names of needs. None of it is to be trusted.
type filed struct {
	artifacts map[string]trust.Dossier
	releases  map[string]trust.ReleaseDossier
	// descriptors are those by which resources of releases are read.
	descriptors map[string]*descriptors.Set
}

// has says whether something of that name is there.
func (f filed) has(name string) bool {
	_, artifact := f.artifacts[name]
	_, release := f.releases[name]
	return artifact || release || f.descriptors[name] != nil
}

// needs names what a decision about a chain rests on, as it is asked of the distributor.
func needs(p *trust.Policy, c *chain) []string {
	var names []string
	for _, f := range c.Filters {
		if f.Artifact != "" {
			names = append(names, artifactName(f.Artifact))
		}
	}
	if p.GovernsReleases() {
		for _, r := range c.allReleases() {
			names = append(names, releaseName(r.ID))
		}
		for _, r := range c.Resources {
			if name := descriptorsName(r.Descriptors); r.Descriptors != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func artifactName(digest string) string { return "artifacts/" + digest }
func releaseName(id string) string      { return "releases/" + id }
func descriptorsName(d string) string   { return "descriptors/" + d }

// judge decides about a chain by the node's own policy. What the distributor sends besides the module's bytes (references, the order, configurations,
// which releases it all comes from) is its claim: where the policy has rules about releases, the chain is rendered anew from the releases
// that are signed, and must be what was sent. So a distributor takes no filter out, not even in an emergency, without a release that says so and
// is signed. It is pure.
func judge(p *trust.Policy, c *chain, have filed, now time.Time) judgement {
	j := judgement{until: now.Add(judgeAgain)}
	no := func(format string, args ...any) judgement {
		j.state, j.reason = distrusted, fmt.Sprintf(format, args...)
		return j
	}
	count := func(d trust.Decision, err error) error {
		if !d.Expires.IsZero() && d.Expires.Before(j.until) {
			j.until = d.Expires
		}
		return err
	}
	for _, name := range needs(p, c) {
		if !have.has(name) {
			return judgement{state: unjudged, until: j.until}
		}
	}
	for _, f := range c.Filters {
		ref, err := registry.ParseReference(f.Reference)
		if err != nil || f.Artifact == "" {
			return no("filter %s: the distributor does not say which artifact of which repository its module is from", f.Name)
		}
		about := trust.Artifact{Reference: ref, Digest: registry.Digest(f.Artifact), Module: registry.Digest(f.Digest)}
		if err := count(p.Judge(about, have.artifacts[artifactName(f.Artifact)], now)); err != nil {
			return no("filter %s: %v", f.Name, err)
		}
	}
	// Known even where nothing is asked of releases, as far as the distributor tells the truth about them.
	for _, r := range c.allReleases() {
		if id, err := model.ParseReleaseRef(r.ID); err == nil && p.Revokes(registry.Digest(id.Hash)) {
			return no("release %s is revoked by the policy %s; use another one", r.ID, p.Name())
		}
	}
	if !p.GovernsReleases() {
		return j
	}
	layers := make(map[model.Layer]model.Release, len(c.Releases))
	contents := make(map[release]model.Release, len(c.Releases)+1)
	for i, r := range c.allReleases() {
		id, err := model.ParseReleaseRef(r.ID)
		if err != nil || !id.Exact() {
			return no("release %q is not named by its hash", r.ID)
		}
		dossier := have.releases[releaseName(r.ID)]
		decision, err := p.JudgeRelease(id.Name, string(r.Layer), registry.Digest(id.Hash), dossier, now)
		if err := count(decision, err); err != nil {
			return no("%v", err)
		}
		// A rule that lets releases be unsigned was written for what adds filters. What takes one out is a person's word, or nobody's.
		if r.Layer.Disables() != "" && len(decision.SignedBy) == 0 {
			return no("release %s takes the filter %s out, and nobody has signed it; sign it with `waft release sign`, by a key of a rule about layer %s", r.ID, r.Layer.Disables(), r.Layer)
		}
		content, err := model.ParseCanonicalForm(id.Name, dossier.Canonical)
		if err != nil {
			return no("%v", err)
		}
		contents[r] = content
		if c.Split != nil && i == len(c.Releases) && content.Layer == r.Layer {
			continue // it takes the place of another, for the cohort
		}
		if _, twice := layers[r.Layer]; twice || content.Layer != r.Layer {
			return no("release %s: it is of layer %s, and was sent as the one release of layer %s", r.ID, content.Layer, r.Layer)
		}
		layers[r.Layer] = content
	}
	for _, layer := range p.RequiredLayers() {
		if _, there := layers[model.Layer(layer)]; !there {
			return no("the policy %s asks for a release of layer %s, and the chain has none", p.Name(), layer)
		}
	}
	rendered, err := merge.Render(layers)
	if err == nil && c.Split != nil {
		rendered, err = renderSplit(rendered, layers, contents[c.Split.Release], c.Split)
	}
	if err != nil {
		return no("what the signed releases make cannot run: %v", err)
	}
	if why := differs(rendered, c); why != "" {
		return no("it is not what the signed releases make: %s", why)
	}
	if why := resourcesDiffer(rendered, c, have); why != "" {
		return no("it is not what the signed releases make: %s", why)
	}
	return j
}

// allReleases are those that a chain is rendered from; where it is split, the one under test is the last.
func (c *chain) allReleases() []release {
	if c.Split == nil {
		return c.Releases
	}
	return append(slices.Clone(c.Releases), c.Split.Release)
}

// renderSplit is the two chains that signed releases make: rest, and the one with the release under test in its layer.
func renderSplit(rest model.Chain, layers map[model.Layer]model.Release, under model.Release, s *split) (model.Chain, error) {
	layers = maps.Clone(layers)
	layers[under.Layer] = under
	test, err := merge.Render(layers)
	if err != nil {
		return model.Chain{}, err
	}
	return merge.Split(rest, test, model.NodeSplit{Layer: under.Layer, Release: under.ID, Cohort: s.Cohort})
}

// differs says in what a chain is not the one that was rendered; empty when it is.
func differs(rendered model.Chain, c *chain) string {
	if len(rendered.Filters) != len(c.Filters) {
		return fmt.Sprintf("they make %d filters, and %d were sent", len(rendered.Filters), len(c.Filters))
	}
	for i, want := range rendered.Filters {
		have := c.Filters[i]
		switch {
		case want.Name != have.Name:
			return fmt.Sprintf("filter %s was sent in the place of %s", have.Name, want.Name)
		case want.Module.Digest != have.Digest, want.Module.Artifact != have.Artifact, want.Module.Size != have.Size:
			return fmt.Sprintf("filter %s has another module", have.Name)
		case want.Side != have.Side:
			return fmt.Sprintf("filter %s is met by other requests", have.Name)
		case want.Phase != have.Phase:
			return fmt.Sprintf("filter %s has another phase", have.Name)
		case want.FailurePolicy != have.Policy:
			return fmt.Sprintf("filter %s has another failure policy", have.Name)
		case !bytes.Equal(want.Config, have.Config):
			return fmt.Sprintf("filter %s has another configuration", have.Name)
		}
	}
	if rendered.Hash != c.Hash {
		return fmt.Sprintf("it is called %s, and they make %s", c.Hash, rendered.Hash)
	}
	return ""
}

// resourcesDiffer says in what the resources of a chain are not those that were rendered; empty when they are. Their bytes are made anew: what a message says is
// in the releases as fields, and which bytes mean that only whoever has the descriptors knows.
func resourcesDiffer(rendered model.Chain, c *chain, have filed) string {
	if len(rendered.Resources) != len(c.Resources) {
		return fmt.Sprintf("they make %d resources, and %d were sent", len(rendered.Resources), len(c.Resources))
	}
	for i, want := range rendered.Resources {
		sent := c.Resources[i]
		switch {
		case want.Key() != sent.key():
			return fmt.Sprintf("resource %s was sent in the place of %s", sent.key(), want.Key())
		case want.Type != sent.Type:
			return fmt.Sprintf("resource %s has another type", want.Key())
		case want.Version != sent.Version:
			return fmt.Sprintf("resource %s has another version", want.Key())
		case want.Descriptors != sent.Descriptors:
			return fmt.Sprintf("resource %s is read by other descriptors", want.Key())
		}
		message := want.Opaque
		if !want.IsOpaque() {
			set := descriptors.Linked()
			if want.Descriptors != "" {
				set = have.descriptors[descriptorsName(want.Descriptors)]
			}
			var err error
			if message, err = set.Marshal(want.Message(), want.Fields); err != nil {
				return fmt.Sprintf("resource %s cannot be made of them: %v", want.Key(), err)
			}
		}
		if model.Digest(message) != sent.Content {
			return fmt.Sprintf("resource %s has another content", want.Key())
		}
	}
	return ""
}
