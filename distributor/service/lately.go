package service

import (
	"cmp"
	"context"
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// maxLately is how many of the latest rollouts Lately looks at.
const maxLately = 4

// Lately are the collections of chains that a node may have had, by the latest rollouts whose target it is in, the newest first, without those that it is to have
// now. They are for a sink that names a version of what it holds and not what that is. A chain whose releases are not kept any more is left out.
func (s *Service) Lately(ctx context.Context, nodeID string) ([][]model.Collection, error) {
	given, err := s.givenLately(nodeID)
	if err != nil {
		return nil, err
	}
	var kept []laid
	for _, one := range given {
		if err := s.needReleases(ctx, one.release); err == nil {
			kept = append(kept, one)
		}
	}
	s.enter()
	row, chains := s.renderLately(nodeID, kept)
	s.leave()
	var out [][]model.Collection
	for _, chain := range chains {
		out = append(out, s.maker.Collections(row, chain, nil))
	}
	return out, nil
}

// laid is a release in its layer.
type laid struct {
	layer   model.Layer
	release model.ReleaseID
}

// givenLately are releases that a node may have been given, the newest first.
func (s *Service) givenLately(nodeID string) ([]laid, error) {
	s.enter()
	defer s.leave()
	if err := s.ready(); err != nil {
		return nil, err
	}
	n := s.nodes[nodeID]
	if n == nil {
		return nil, nil
	}
	var of []*entry
	for _, e := range s.rollouts {
		if e.target.Matches(n.row.Labels) {
			of = append(of, e)
		}
	}
	slices.SortFunc(of, func(a, b *entry) int { return cmp.Compare(b.state.Sequence, a.state.Sequence) })
	var given []laid
	for _, e := range of[:min(len(of), maxLately)] {
		if release, gives := rollout.ReleaseFor(e.state, nodeID); gives {
			given = append(given, laid{e.state.Layer, release})
		}
		// Of a rollout that has ended it is not in memory what its nodes had before; the rollouts before it say so.
		if progress := e.state.Nodes[nodeID]; progress.FromGiven {
			given = append(given, laid{e.state.Layer, progress.From})
		}
	}
	return given, nil
}

// renderLately is the node's row, and the distinct chains that it has with each of those releases; mu is held.
func (s *Service) renderLately(nodeID string, given []laid) (model.Node, []model.Chain) {
	n := s.nodes[nodeID]
	if n == nil {
		return model.Node{}, nil
	}
	seen := map[string]bool{n.givenChain.Hash: true}
	var chains []model.Chain
	for _, one := range given {
		chain, err := s.render(with(n.row.Assigned, one.layer, one.release))
		if err == nil && chain.Hash != "" && !seen[chain.Hash] {
			seen[chain.Hash] = true
			chains = append(chains, chain)
		}
	}
	return n.row, chains
}
