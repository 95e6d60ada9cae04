package mcp

import (
	"slices"
	"strings"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// subscription is what a source knows of one collection on one stream. It decides, without I/O, what to send and what a
// request means.
type subscription struct {
	collection string
	// incremental: the sink's latest request opted in.
	incremental bool
	// held is what the sink is known to hold; nil when that is not known.
	held holding
	// claimed is how many bytes of held are the sink's own word; what it was sent since then is not.
	claimed int
	// pending is the message that waits for its answer; nil when none does. behind: while it waited, the collection was of another version, which is to be looked at
	// when the answer is there.
	pending *offer
	behind  bool
	// answered is true once the first request was answered and the answer accepted or refused.
	answered bool
	// accepted and refused are the collection's versions of the latest ACK and of the latest NACK, if that was later.
	accepted, refused string
}

// offer is a message that was sent.
type offer struct {
	nonce    string
	version  string
	versions holding
	// chain is the hash of the chain in it, for the ledger; empty where there is none.
	chain string
	// toward is the hash of the chain that the node was to have when it was sent; empty for none.
	toward string
}

// holding are the resources that a sink holds, by name: a list, since a map takes ten times the memory of the few that there mostly are. It is not changed once it is there.
type holding []heldResource

type heldResource struct{ name, version string }

// newHolding makes one of a list that it takes.
func newHolding(of []heldResource) holding {
	byName := func(a, b heldResource) int { return strings.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(of, byName) { // a backend's mostly is
		slices.SortStableFunc(of, byName)
	}
	return of
}

// version is that of a resource; false: it is not held.
func (h holding) version(name string) (string, bool) {
	at, is := slices.BinarySearchFunc(h, name, func(r heldResource, name string) int { return strings.Compare(r.name, name) })
	if !is {
		return "", false
	}
	return h[at].version, true
}

// change is what to send.
type change struct {
	resources   []model.Resource
	removed     []string
	incremental bool
}

// answer is what a request turned out to be.
type answer int

const (
	answerFirst answer = iota // a first request
	answerACK
	answerNACK
	answerStale // about a nonce that is not awaited: ignored
)

// take reads a request. The offer is the one that an ACK or a NACK is about. room is how many bytes the sink may still say that it holds, of all collections of its
// stream.
func (s *subscription) take(req *mcpv1.RequestResources, room int) (answer, *offer) {
	nonce := req.GetResponseNonce()
	if nonce == "" && req.GetErrorDetail() == nil {
		// The sink starts anew: what it holds is what it says it holds.
		*s = subscription{collection: s.collection, incremental: req.GetIncremental()}
		if req.GetIncremental() {
			s.claim(req.GetInitialResourceVersions(), room)
		}
		return answerFirst, nil
	}
	if s.pending == nil || nonce != s.pending.nonce {
		return answerStale, nil
	}
	done := s.pending
	s.pending, s.answered = nil, true
	s.incremental = req.GetIncremental()
	if req.GetErrorDetail() != nil {
		s.refused = done.version
		return answerNACK, done
	}
	s.held, s.accepted, s.refused = done.versions, done.version, ""
	s.claimed = 0
	return answerACK, done
}

// claim takes what a sink says that it holds. What no sink can hold that was sent to it by this protocol, since it would fit into no node's chain, is not
// remembered: such a sink is sent the whole collection.
func (s *subscription) claim(versions map[string]string, room int) {
	size := 0
	for name, version := range versions {
		size += len(name) + len(version) + heldOverhead
	}
	if len(versions) > MaxHeld || size > room {
		return
	}
	s.claimed = size
	held := make([]heldResource, 0, len(versions))
	for name, version := range versions {
		held = append(held, heldResource{name, version})
	}
	s.held = newHolding(held)
}

// next says whether the collection, as it is now, is to be sent, and what of it. What it gives is not to be changed.
func (s *subscription) next(c model.Collection) (change, bool) {
	switch {
	case s.pending != nil:
		s.behind = s.behind || s.pending.version != c.Version
		return change{}, false // the answer comes first
	case s.refused != "" && s.refused == c.Version:
		return change{}, false
	case s.answered && s.refused == "" && s.accepted == c.Version:
		return change{}, false
	}
	if !s.incremental || s.held == nil {
		return change{resources: c.Resources}, true
	}
	resources, stay := s.newer(c.Resources)
	ch := change{resources: resources, incremental: true}
	if stay == len(s.held) {
		return ch, true
	}
	there := make(map[string]bool, len(c.Resources))
	for _, r := range c.Resources {
		there[r.Name] = true
	}
	for _, r := range s.held {
		if !there[r.name] {
			ch.removed = append(ch.removed, r.name)
		}
	}
	return ch, true
}

// newer are those of some resources that the sink does not hold as they are: the list itself where that is all of them, as mostly. stay counts those that it holds in
// some version.
func (s *subscription) newer(all []model.Resource) (newer []model.Resource, stay int) {
	whole := true
	for i, r := range all {
		version, held := s.held.version(r.Name)
		if held {
			stay++
		}
		due := version != r.Version || version == "" // nobody knows what an empty one says
		switch {
		case due && !whole:
			newer = append(newer, r)
		case !due && whole:
			whole, newer = false, append([]model.Resource(nil), all[:i]...)
		}
	}
	if whole {
		return slices.Clip(all), stay
	}
	return newer, stay
}

// settled says whether the sink has accepted that version of the collection, and it is the last that it was sent.
func (s *subscription) settled(version string) bool {
	return s.pending == nil && s.answered && s.refused == "" && s.accepted == version
}

// sent notes that the collection was sent under the nonce, on the way to a chain.
func (s *subscription) sent(nonce string, c model.Collection, toward string) {
	o := &offer{nonce: nonce, version: c.Version, toward: toward}
	versions := make([]heldResource, 0, len(c.Resources))
	for _, r := range c.Resources {
		versions = append(versions, heldResource{r.Name, r.Version})
		if r.Chain != nil {
			o.chain = r.Chain.Hash
		}
	}
	o.versions = newHolding(versions)
	s.pending, s.behind = o, false
}
