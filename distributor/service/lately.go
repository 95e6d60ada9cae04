package service

import (
	"context"
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// maxLately is how many of the latest rollouts of a node Lately looks at.
const maxLately = 4

// Lately are the collections of the chains that a node had, or was to have, by the latest rollouts that it was in, the newest first, without those that it is to have
// now. They are for a sink that names a version of what it holds and not what that is. A chain whose releases are not kept any more is left out.
func (s *Service) Lately(_ context.Context, nodeID string) ([][]model.Collection, error) {
	s.enter()
	row, chains, err := s.lately(nodeID)
	s.leave()
	if err != nil {
		return nil, err
	}
	var out [][]model.Collection
	for _, chain := range chains {
		out = append(out, s.maker.Collections(row, chain, nil))
	}
	return out, nil
}

// lately is the node's row and those chains; mu is held.
func (s *Service) lately(nodeID string) (model.Node, []model.Chain, error) {
	if err := s.ready(); err != nil {
		return model.Node{}, nil, err
	}
	n := s.nodes[nodeID]
	if n == nil {
		return model.Node{ID: nodeID}, nil, nil
	}
	var of []*entry
	for _, e := range s.rollouts {
		if _, in := e.state.Nodes[nodeID]; in {
			of = append(of, e)
		}
	}
	slices.SortFunc(of, func(a, b *entry) int { return int(b.state.Sequence - a.state.Sequence) })
	seen := map[string]bool{n.givenChain.Hash: true}
	var chains []model.Chain
	add := func(layer model.Layer, release model.ReleaseID) {
		chain, err := s.render(with(n.row.Assigned, layer, release))
		if err == nil && chain.Hash != "" && !seen[chain.Hash] {
			seen[chain.Hash] = true
			chains = append(chains, chain)
		}
	}
	for _, e := range of[:min(len(of), maxLately)] {
		if progress := e.state.Nodes[nodeID]; progress.FromGiven {
			add(e.state.Layer, progress.From)
		}
		if release, gives := rollout.ReleaseFor(e.state, nodeID); gives {
			add(e.state.Layer, release)
		}
	}
	return n.row, chains, nil
}
