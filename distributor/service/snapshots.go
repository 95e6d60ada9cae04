package service

import (
	"errors"

	"github.com/waft-project/waft/distributor/model"
)

// Snapshots looks at the resources of a chain that are for Envoy itself. An implementation may be used concurrently.
type Snapshots interface {
	// Misfit says why an Envoy over ADS that asks for these cannot be given a chain: what of its resources refers to nothing, what nothing asks for, what Envoy could not
	// read, and filters that none of its listeners runs. nil: it can. It is called often, with few distinct chains.
	Misfit(chain model.Chain, takes model.Takes) error
}

// noSnapshots knows none: an Envoy over ADS is given no resources.
type noSnapshots struct{}

func (noSnapshots) Misfit(model.Chain, model.Takes) error {
	return errors.New("this distributor gives Envoys no resources over ADS")
}

// What to do about a node that cannot be given a chain.
const (
	nextUnloadable = "build the module for that Envoy (waft check says what it lacks), upgrade the node's Envoy or its agent, or leave the node out by the selector"
	nextNoFilters  = "take the filters out of the release, or leave the node out by the selector"
	nextUnfilled   = "upgrade the agent of the node, give the node one, write the value in the place of the secret, or leave the node out by the selector"
	nextMisfit     = "correct the release, or the bootstrap (see docs/dialects.md), or leave the node out by the selector"
)

// misfit says why an Envoy over ADS cannot be given a chain; nil where it can. One that takes no resources runs filters in its own listener.
func (s *Service) misfit(row model.Node, chain model.Chain) error {
	if row.Dialect != model.DialectADS || len(chain.Resources) == 0 && (len(chain.Filters) == 0 || len(row.Takes.Collections) == 0) {
		return nil
	}
	return s.snapshots.Misfit(chain, row.Takes)
}
