package service

import (
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// picture is the fleet as a rollout saw it last. Between two decisions few nodes of a large fleet change, and only what is said of those is made anew;
// what does the telling are the marks of each node. The drive loop alone uses it, under Service.mu.
type picture struct {
	// views are of nodes, in their order; drawn is beside them.
	views []rollout.NodeView
	drawn []drawn
	nodes []*node
	// progress, since and held are what the rollout said of the nodes then: the map itself, which is never changed in place, what lately gave, and
	// whether any node was held by another rollout.
	progress map[string]model.NodeProgress
	since    time.Time
	held     bool
	// memo is what the state machine remembers of the views.
	memo rollout.Memo
}

// drawn is what the view of a node was made from.
type drawn struct {
	marks marks
	// again: it depends on what the marks do not tell of, such as the time, and is made anew the next time.
	again bool
	// from, fromGiven and moved are what counts of its progress.
	from      model.ReleaseID
	fromGiven bool
	moved     bool
}

// marks change with what a view says of a node: its row, as it is and as it is stored, its statistics, streams and modules.
type marks struct {
	version, stored    uint64
	counts             uint64
	restarts           int
	streams, reporting int
	// fetched and unfetched are where the node's maps are, which are never changed in place.
	fetched, unfetched unsafe.Pointer
}

// butCounts are the marks without that of the statistics.
func (m marks) butCounts() marks {
	m.counts = 0
	return m
}

// marks are those of now; mu is held.
func (n *node) marks() marks {
	return marks{
		version: n.version, stored: n.stored, counts: n.counts.told.Load(), restarts: n.restarts, streams: len(n.sessions), reporting: n.reporting,
		fetched: reflect.ValueOf(n.fetched).UnsafePointer(), unfetched: reflect.ValueOf(n.unfetched).UnsafePointer(),
	}
}

// draw brings the picture of nodes up to date and gives the views, which are good until the next time. Chains in it that nobody has checked go to
// unchecked. mu is held.
func (s *Service) draw(e *entry, nodes []*node, unchecked map[string]model.Chain) []rollout.NodeView {
	p := &e.picture
	anew := !slices.Equal(p.nodes, nodes)
	if anew {
		*p = picture{views: make([]rollout.NodeView, len(nodes)), drawn: make([]drawn, len(nodes)), nodes: nodes}
	}
	now, since := s.now(), lately(e.state)
	all := anew || !since.Equal(p.since)
	progressed := !sameProgress(p.progress, e.state.Nodes)
	held := s.holders(e)
	for i, n := range nodes {
		d, marks := &p.drawn[i], n.marks()
		stale := all || d.again || d.marks.butCounts() != marks.butCounts()
		if !stale && progressed {
			of := e.state.Nodes[n.row.ID]
			stale = d.from != of.From || d.fromGiven != of.FromGiven || d.moved == of.MovedAt.IsZero()
		}
		if stale {
			of := e.state.Nodes[n.row.ID]
			known := s.viewInto(&p.views[i], e, n, &of, now, since, unchecked)
			*d = drawn{marks: marks, again: !known, from: of.From, fromGiven: of.FromGiven, moved: !of.MovedAt.IsZero()}
		} else if d.marks.counts != marks.counts {
			// Each second, of every node that has moved: no more of its view is made anew than that.
			n.measured(&p.views[i], since)
			d.marks.counts = marks.counts
		}
		if held != nil || p.held {
			p.views[i].HeldBy = held[n.row.ID]
		}
	}
	p.progress, p.since, p.held = e.state.Nodes, since, held != nil
	return p.views
}

// sameProgress says whether two maps are one in memory.
func sameProgress(a, b map[string]model.NodeProgress) bool {
	return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}
