package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// node is the memory's picture of a node. Service.mu guards it; the maps inside row and given are never changed, only
// replaced, so that copies may leave the lock.
type node struct {
	// row is the truth, and ahead of the store by what is marked for writing.
	row model.Node
	// chain is what row.Assigned and row.Split render to, for the sink that the node has (splitFor).
	chain model.Chain
	// doubted: nobody says the labels in its row, which it may not have; see judge.
	doubted bool
	// floor is the generation at which row.Ledger.Chain became the chain to run: reports of an earlier one are stale.
	floor int64
	// version counts the changes of row, stored the newest that the store has.
	version, stored uint64
	// makeup counts those of the changes after which its chains may be others.
	makeup uint64
	// due is when row must be written; zero: nothing to write.
	due time.Time
	// audit are entries that go with the next write.
	audit []model.AuditEntry

	// given is the row as sinks see it: the newest that is durable, with its chain.
	given      model.Node
	givenChain model.Chain
	// duty is what the running rollout asks of the node.
	duty duty
	// outlook is what the rollout that was stepped last says of its chains.
	outlook outlook

	sessions map[*Session]struct{}
	// reporting is how many of sessions report.
	reporting int
	// joinAfter is until when a node that does not report waits for its baseline, and a rollout that begins waits to hear
	// whether it does, by the process's own clock.
	joinAfter time.Time
	// away is for how long it was watched to be away, beside row.AwayFor.
	away time.Duration
	// lastSeen is when a session last said anything; zero: not since the start.
	lastSeen time.Time
	// fetched are the digests that the node said it has.
	fetched map[string]struct{}
	// unfetched are those that it said it could not fetch yet, and why. It is never changed in place; nil: none.
	unfetched map[string]string
	// counts are the latest statistics; lately counts what was served since a wave moved.
	counts   counts
	lately   window
	restarts int
}

// duty is what a running rollout asks of a node beside running a chain.
type duty struct {
	rollout    string
	prefetch   []model.Module
	statistics bool
	// names of Envoy's statistics that are to be among them. They are told before any are asked for, so that the node has them from the moment
	// at which it serves a new chain.
	names []string
}

func newNode(row model.Node) *node {
	return &node{row: row, floor: row.Generation, sessions: map[*Session]struct{}{}}
}

// publish makes the row, which the store has, what the node's sinks see. mu is held.
func (s *Service) publish(n *node) error {
	chain, err := s.renderNode(n.row.Assigned, splitFor(n.row, n.row.Split))
	if err != nil {
		s.log.Error("what a node is assigned cannot be rendered; it keeps what it has", "node", n.row.ID, "error", err)
		chain = model.Chain{}
	}
	n.chain = chain
	n.given, n.givenChain = n.row, chain
	return nil
}

// Presence says whether a node is there. It is computed, never stored.
type Presence string

// The presences.
const (
	PresenceConnected Presence = "connected"
	PresenceUnknown   Presence = "unknown"
)

// NodeStatus is a node's row with what the memory knows beside it. Its maps are shared and must not be changed.
type NodeStatus struct {
	model.Node
	// Chain is the hash of the chain that the node is to run; empty when it was never given a release.
	Chain    string
	Presence Presence
	// LastSeen is when the node last said anything to this distributor; zero when it has not since the start.
	LastSeen time.Time
	// Statistics are the latest; the zero value when there are none.
	Statistics model.Statistics
	// Disabled are the filters that are taken out of its chain, by name.
	Disabled []DisabledFilter
	// Unfetched are the modules that it was asked to have on its disk and could not fetch yet, by digest, and why.
	Unfetched map[string]string
}

// statusOf is a node as it is shown; mu is held.
func (s *Service) statusOf(n *node) NodeStatus {
	stats, came := n.counts.get()
	seen := n.lastSeen
	if came.After(seen) {
		seen = came
	}
	return NodeStatus{Node: n.row, Chain: n.chain.Hash, Presence: n.presence(), LastSeen: seen, Statistics: stats, Disabled: s.disabledOn(n), Unfetched: n.unfetched}
}

// counts are the latest statistics of a node and when they came. They have a lock of their own, which may be taken under Service.mu: a
// large fleet sends them by the thousand each second, and no decision should queue behind those.
type counts struct {
	// told rises after each change of the others; it is read without mu.
	told  atomic.Uint64
	mu    sync.Mutex
	stats model.Statistics
	came  time.Time
}

func (c *counts) get() (model.Statistics, time.Time) {
	var stats model.Statistics
	came := c.into(&stats)
	return stats, came
}

// into writes the statistics where they are wanted, and gives when they came.
func (c *counts) into(stats *model.Statistics) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	*stats = c.stats
	return c.came
}

// maxUnwritten is how many audit entries may wait with a row; more would not fit one transaction.
const maxUnwritten = 16

func errNoNode(id string) error {
	return &model.Error{Kind: model.ErrNotFound, Object: "node/" + id, Message: "no such node: none with this id has ever connected",
		Next: "see waft nodes list"}
}

// GetNode returns one node, or model.ErrNotFound.
func (s *Service) GetNode(ctx context.Context, id string) (NodeStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return NodeStatus{}, err
	}
	n := s.nodes[id]
	if n == nil {
		return NodeStatus{}, errNoNode(id)
	}
	return s.statusOf(n), nil
}

// selectorOf reads the selector of a request about an object; an error names the field.
func selectorOf(object, text string) (model.Selector, error) {
	selector, err := model.ParseSelector(text)
	if told, ok := errors.AsType[*model.Error](err); ok {
		return model.Selector{}, model.Invalidf(object, "selector", told.Next, "%s", told.Message)
	}
	return selector, err
}

// ListNodes returns the nodes that a label selector matches (empty: all) and that are in one of the states (none: in any), by id, and the token of the next page.
func (s *Service) ListNodes(ctx context.Context, selector string, page Page, states ...NodeStanding) ([]NodeStatus, string, error) {
	limit, after, err := page.span()
	if err != nil {
		return nil, "", err
	}
	if err := checkStandings(states); err != nil {
		return nil, "", err
	}
	match, err := selectorOf("", selector)
	if err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, "", err
	}
	var ids []string
	for id, n := range s.nodes {
		if id > after && match.Matches(n.row.Labels) && (len(states) == 0 || slices.ContainsFunc(states, n.stands)) {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	next := ""
	if len(ids) > limit {
		ids = ids[:limit]
		next = afterToken(ids[limit-1])
	}
	nodes := make([]NodeStatus, len(ids))
	for i, id := range ids {
		nodes[i] = s.statusOf(s.nodes[id])
	}
	return nodes, next, nil
}

// RetryNode has the node try the chain that it is to run once more, now. The node must have rejected it, serve it in part, or have said what it waits for; else
// model.ErrPrecondition.
func (s *Service) RetryNode(ctx context.Context, actor Actor, id string) (NodeStatus, error) {
	return s.changeNode(ctx, actor, id, "retry", func(n *node) (string, error) {
		if l := n.row.Ledger; l.State != model.ChainRejected && l.State != model.ChainDegraded && l.Reason == "" {
			return "", &model.Error{Kind: model.ErrPrecondition, Object: "node/" + id,
				Message: "it has not rejected the chain it is to run, and waits for nothing with it, so there is nothing to try again", Next: "see waft nodes show " + id}
		}
		n.row.Retry++
		n.row.Ledger.Final = false // whoever learns of it only from the row, after a restart, tries again as well
		return "chain " + n.row.Ledger.Chain, nil
	})
}

// Collections are what the node is to be sent now, always all three. A node that is not known, or waits for its first
// release, gets them empty. They are shared and must not be changed.
func (s *Service) Collections(ctx context.Context, nodeID string) ([]model.Collection, error) {
	s.enter()
	if err := s.ready(); err != nil {
		s.leave()
		return nil, err
	}
	row, chain, prefetch := model.Node{ID: nodeID}, model.Chain{}, []model.Module(nil)
	if n := s.nodes[nodeID]; n != nil {
		row, chain, prefetch = n.given, n.givenChain, n.duty.prefetch
		row.Reports, row.Dialect, row.KeptSecrets = n.row.Reports, n.row.Dialect, n.row.KeptSecrets // who asks now gets secrets, or does not
	}
	s.leave()
	return s.maker.Collections(row, chain, prefetch), nil
}

// assign gives a node a release of a layer, or takes the layer away, and says whether that changed anything; with a cohort the release is beside what
// the node has. What has moved it is kept in the row, as of now. The row is marked for writing; sinks see it when it is written. mu is held.
func (s *Service) assign(n *node, layer model.Layer, release model.ReleaseID, given bool, cohort model.Cohort, by model.Move) (bool, error) {
	split := beside(n.row.Split, layer)
	have, has := n.row.Assigned[layer]
	if cohort != (model.Cohort{}) {
		if split != (model.NodeSplit{}) {
			return false, fmt.Errorf("%s of layer %s is under test on it already", split.Release, split.Layer)
		}
		split = model.NodeSplit{Layer: layer, Release: release, Cohort: cohort}
		release, given = have, has
	}
	if has == given && have == release && split == n.row.Split {
		return false, nil
	}
	assigned := s.laid(n) // what is disabled stays so on a node that is given its first release
	if given {
		assigned[layer] = release
	} else {
		delete(assigned, layer)
	}
	chain, err := s.renderNode(assigned, splitFor(n.row, split))
	if err != nil {
		return false, err
	}
	by.At = s.stamp()
	n.row.Assigned, n.row.Split, n.row.Moved = assigned, split, &by
	s.run(n, chain)
	return true, nil
}

// run makes a chain the one that the node is to run; mu is held.
func (s *Service) run(n *node, chain model.Chain) {
	n.row.Generation++
	n.chain = chain
	if n.row.Ledger.Chain != chain.Hash {
		// The same chain under another release's name has been reported on already; the node need not say it again.
		n.row.Ledger = model.LedgerEntry{Chain: chain.Hash}
		n.floor = n.row.Generation
	}
	s.mark(n, 0)
}

// sortNodes sorts by id.
func sortNodes(nodes []*node) {
	slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(a.row.ID, b.row.ID) })
}
