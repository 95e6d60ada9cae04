package service

import (
	"fmt"
	"reflect"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// outlook is what a rollout's picture says of a node's chains: what is rendered from its row, from the release that it would be given, and from the
// one that it would go back to. It is worked out again only when one of these has changed, which between two decisions is so of few nodes.
type outlook struct {
	// of, makeup (of the row), from and fromGiven are what it was worked out from. Releases are known by their content, so that what they render
	// to stays the same. Nil: it was never worked out.
	of        *entry
	makeup    uint64
	from      model.ReleaseID
	fromGiven bool
	// assigned is the release of the rollout's layer in the row, given whether it has any.
	assigned model.ReleaseID
	given    bool

	// rest is the hash of the chain of the other requests, where the row has a release under test that is left out of it: one of the rollout's layer, or any
	// where the sink knows of no splits; split says so.
	rest  string
	split bool
	// fromChain is the hash of the chain that it would go back to; empty for none.
	fromChain string
	// target is the chain that it would run, modules those of it. gives is false where the rollout gives it nothing.
	target  model.Chain
	modules []model.Module
	gives   bool
	// unloadable says why it cannot be given target, cannotSplit why it cannot run two chains, cannotTell why it does not count their requests apart; empty
	// where they can.
	unloadable, cannotSplit, cannotTell string
	// partly says what of target is not for it; empty where all of it is.
	partly string
	// failed says why it cannot be rendered; empty where it can.
	failed string

	// fetched says whether the node has the modules of target, by the digests in fetchedOf, which is the node's map itself: it is never changed in
	// place. Nil: it was not looked at.
	fetched   bool
	fetchedOf map[string]struct{}
}

// hasFetched says whether the node has the modules of target.
func (o *outlook) hasFetched(digests map[string]struct{}) bool {
	if o.fetchedOf == nil || reflect.ValueOf(o.fetchedOf).UnsafePointer() != reflect.ValueOf(digests).UnsafePointer() {
		o.fetched, o.fetchedOf = hasAll(o.target, digests), digests
	}
	return o.fetched
}

// outlookOf is the outlook of a node in a rollout, in which it has that progress; mu is held, and what is returned is good for as long.
func (s *Service) outlookOf(e *entry, n *node, progress *model.NodeProgress) *outlook {
	o := &n.outlook
	if o.of == e && o.makeup == n.makeup && o.from == progress.From && o.fromGiven == progress.FromGiven {
		return o
	}
	*o = s.workOut(e, n, progress)
	if o.failed != "" || !model.Given(n.row.Assigned) {
		o.of = nil // it may be rendered the next time; and what a node without a release is given depends on what is disabled then
	}
	return o
}

func (s *Service) workOut(e *entry, n *node, progress *model.NodeProgress) outlook {
	o := outlook{of: e, makeup: n.makeup, from: progress.From, fromGiven: progress.FromGiven}
	o.assigned, o.given = n.row.Assigned[e.state.Layer], len(n.row.Assigned) > 0
	if testsSomewhere(e.state) {
		o.cannotSplit, o.cannotTell = cannotSplit(n.row, e.state.Layer), cannotTell(n.row)
	}
	var release model.ReleaseID
	if release, o.gives = rollout.ReleaseFor(e.state, n.row.ID); !o.gives {
		return o
	}
	left := beside(splitFor(n.row, n.row.Split), e.state.Layer)
	if o.split = left != n.row.Split; o.split {
		rest, err := s.renderNode(n.row.Assigned, left)
		if err != nil {
			o.failed = fmt.Sprintf("the chain of its other requests cannot be rendered: %v", err)
			o.split = false
			return o
		}
		o.rest = rest.Hash
	}
	if progress.FromGiven {
		from, err := s.renderNode(with(n.row.Assigned, e.state.Layer, progress.From), left)
		if err != nil {
			o.of = nil // it may be rendered the next time
		}
		o.fromChain = from.Hash
	}
	chain, err := s.renderNode(with(s.base(n), e.state.Layer, release), left)
	if err != nil {
		o.failed = fmt.Sprintf("the chain it would run cannot be rendered: %v", err)
		return o
	}
	o.target, o.modules, o.partly = chain, modulesOf(chain), partly(n.row, chain)
	o.unloadable, _ = s.cannotRun(n.row, chain)
	return o
}
