package agent

import (
	"encoding/json"
	"fmt"
	"slices"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// split says that a chain is two, of which the requests of a cohort take the second; the filters of the chain are then those of both, each with its side.
type split struct {
	// Rest and Test are the hashes of the two chains.
	Rest string `json:"rest"`
	Test string `json:"test"`
	// Release is what the second is rendered from, in its layer, as the distributor says.
	Release release      `json:"release"`
	Cohort  model.Cohort `json:"cohort"`
}

// id is the filter's name in Envoy, and in the collection.
func (f filter) id() string {
	if f.Side == model.SideCohort {
		return f.Name + model.CohortSuffix
	}
	return f.Name
}

// onDisk is how a chain is kept: one that is split, as the chain of the rest, with both beside it. An agent that does not know of splits reads the chain of the
// rest, which it may run for every request; the other one it must not. One that lacks filters is kept under its version, and so never taken for the whole one
// by an agent that does not know of those.
type onDisk struct {
	Hash       string         `json:"hash"`
	Generation int64          `json:"generation"`
	Filters    []filter       `json:"filters,omitempty"`
	Releases   []release      `json:"releases,omitempty"`
	Resources  []heldResource `json:"resources,omitempty"`
	Split      *splitOnDisk   `json:"split,omitempty"`
	Lacks      *lackOnDisk    `json:"lacks,omitempty"`
	Secrets    *secretsOnDisk `json:"secrets,omitempty"`
	// LeftOut is how agents wrote it that kept such a chain under the hash of the whole one; it is only read.
	LeftOut []string `json:"leftOut,omitempty"`
}

// lackOnDisk is the hash of the whole chain, and the filters that are left out of it.
type lackOnDisk struct {
	Hash    string   `json:"hash"`
	LeftOut []string `json:"leftOut"`
}

// secretsOnDisk are the hash of the chain, whatever its secrets are, and the secrets in it.
type secretsOnDisk struct {
	Hash    string       `json:"hash"`
	Secrets []heldSecret `json:"secrets"`
}

type splitOnDisk struct {
	split
	Hash    string   `json:"hash"`
	Filters []filter `json:"filters"`
}

// MarshalJSON is for the state folder.
func (c chain) MarshalJSON() ([]byte, error) {
	d := onDisk{Hash: c.version(), Generation: c.Generation, Filters: c.Filters, Releases: c.Releases, Resources: c.Resources}
	if len(c.LeftOut) > 0 {
		d.Lacks = &lackOnDisk{Hash: c.Hash, LeftOut: c.LeftOut}
	}
	if len(c.Secrets) > 0 {
		d.Secrets = &secretsOnDisk{Hash: c.Hash, Secrets: c.Secrets}
	}
	if c.Split != nil {
		d.Hash, d.Filters = c.Split.Rest, c.side(model.SideRest)
		d.Split = &splitOnDisk{split: *c.Split, Hash: c.Hash, Filters: c.Filters}
	}
	return json.Marshal(d)
}

// UnmarshalJSON reads what MarshalJSON, or an agent before there were splits, has written.
func (c *chain) UnmarshalJSON(data []byte) error {
	var d onDisk
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	*c = chain{Hash: d.Hash, Generation: d.Generation, Filters: d.Filters, LeftOut: d.LeftOut, Releases: d.Releases, Resources: d.Resources}
	if d.Lacks != nil {
		c.Hash, c.LeftOut = d.Lacks.Hash, d.Lacks.LeftOut
	}
	if d.Secrets != nil {
		c.Hash, c.Secrets = d.Secrets.Hash, d.Secrets.Secrets
	}
	if d.Split != nil {
		c.Hash, c.Filters, c.Split = d.Split.Hash, d.Split.Filters, &d.Split.split
	}
	return nil
}

// side is one of the two chains, its filters as they would be alone; of a chain that is not split it is all of it.
func (c *chain) side(side model.Side) []filter {
	var filters []filter
	for _, f := range c.Filters {
		if f.Side == model.SideBoth || f.Side == side {
			f.Side = model.SideBoth
			filters = append(filters, f)
		}
	}
	return filters
}

// only is which requests meet a filter of the chain, in Envoy's words.
func (c *chain) only(f filter) envoy.Only {
	if c.Split == nil || f.Side == model.SideBoth {
		return envoy.Only{}
	}
	of := c.Split.Cohort
	return envoy.Only{Cohort: envoy.Cohort{Header: of.Header.Name, Value: of.Header.Value, Percent: of.Percent}, Outside: f.Side == model.SideRest}
}

// splitsAlike says whether Envoy sees no difference between two chains in who meets their filters.
func splitsAlike(a, b *chain) bool {
	if a.Split == nil || b.Split == nil {
		return a.Split == b.Split
	}
	return a.Split.Cohort == b.Split.Cohort && slices.EqualFunc(a.Filters, b.Filters, func(x, y filter) bool { return x.Side == y.Side })
}

var sides = map[waftv1.SplitSide]model.Side{
	waftv1.SplitSide_SPLIT_SIDE_UNSPECIFIED: model.SideBoth,
	waftv1.SplitSide_REST:                   model.SideRest,
	waftv1.SplitSide_COHORT:                 model.SideCohort,
}

// checkSplit says what is wrong with a split that the distributor sent.
func checkSplit(object string, c *waftv1.Chain) error {
	s := c.GetSplit()
	if s == nil {
		return nil
	}
	for field, hash := range map[string]string{"split.hash": s.GetHash(), "split.test_hash": s.GetTestHash()} {
		if err := model.ValidateDigest(object, field, hash); err != nil {
			return err
		}
	}
	if len(s.GetFilters()) > 2*maxFilters {
		return fmt.Errorf("%s: split has %d filters; at most %d are taken", object, len(s.GetFilters()), 2*maxFilters)
	}
	if ref, err := model.ParseReleaseRef(s.GetRelease().GetRelease()); err != nil || !ref.Exact() {
		return fmt.Errorf("%s: split.release %q is not NAME@sha256:HEX", object, s.GetRelease().GetRelease())
	}
	cohort := cohortOf(s.GetCohort())
	if err := model.ValidateCohort(object, "split.cohort", cohort); err != nil {
		return err
	}
	if want := model.SplitHash(c.GetHash(), s.GetTestHash(), cohort); want != s.GetHash() {
		return fmt.Errorf("%s: split.hash is %s, and its chains and cohort make %s", object, s.GetHash(), want)
	}
	var rest []*waftv1.FilterVersion
	for _, f := range s.GetFilters() {
		side, known := sides[f.GetSide()]
		if !known {
			return fmt.Errorf("%s: split: side %d of filter %s is not known to this agent", object, f.GetSide(), f.GetName())
		}
		if side != model.SideCohort {
			rest = append(rest, &waftv1.FilterVersion{Name: f.GetName(), Version: f.GetVersion()})
		}
	}
	same := func(a, b *waftv1.FilterVersion) bool {
		return a.GetName() == b.GetName() && a.GetVersion() == b.GetVersion()
	}
	if !slices.EqualFunc(rest, c.GetFilters(), same) {
		return fmt.Errorf("%s: split: the rest does not meet the filters of the chain", object)
	}
	return nil
}

func cohortOf(c *waftv1.Cohort) model.Cohort {
	return model.Cohort{Header: model.CohortHeader{Name: c.GetHeader().GetName(), Value: c.GetHeader().GetValue()}, Percent: int(c.GetPercent())}
}

// assembleSplit adds to a chain of the rest what is split; missing are filters that are not there, or not at that version, yet.
func (o offer) assembleSplit(c *chain) (missing []string) {
	s := o.chain.GetSplit()
	if s == nil {
		return nil
	}
	filters := make([]filter, 0, len(s.GetFilters()))
	for _, want := range s.GetFilters() {
		named := filter{Name: want.GetName(), Side: sides[want.GetSide()]}
		f, ok := o.filters[named.id()]
		if !ok || f.Version != want.GetVersion() {
			missing = append(missing, named.id())
			continue
		}
		f.Side = named.Side
		filters = append(filters, f)
	}
	c.Split = &split{
		Rest: c.Hash, Test: s.GetTestHash(), Cohort: cohortOf(s.GetCohort()),
		Release: release{Layer: model.Layer(s.GetRelease().GetLayer()), ID: s.GetRelease().GetRelease()},
	}
	c.Hash, c.Filters = s.GetHash(), filters
	return missing
}

// heads are the first filters of the two chains, by their names in Envoy, each once; of a chain that is not split there is one. False: there are
// requests that meet none.
func (c *chain) heads() ([]string, bool) {
	var heads []string
	for _, side := range []model.Side{model.SideRest, model.SideCohort} {
		i := slices.IndexFunc(c.Filters, func(f filter) bool { return f.Side == model.SideBoth || f.Side == side })
		if i < 0 {
			return nil, false
		}
		if id := c.Filters[i].id(); !slices.Contains(heads, id) {
			heads = append(heads, id)
		}
	}
	return heads, true
}
