package service

import (
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// NodeStanding is a word for how a node stands, by which nodes are looked for.
type NodeStanding string

// The words, beside the states of the ledger (model.ChainState) and the presences.
const (
	// NodeIsWaiting: it was never given a release.
	NodeIsWaiting NodeStanding = "waiting"
	// NodeIsIsolated: a rollback failed on it.
	NodeIsIsolated NodeStanding = "isolated"
	// NodeIsNotServing: it reports, and does not serve the whole of the chain that it is to run, one that has none to run among them.
	NodeIsNotServing NodeStanding = "not-serving"
)

// nodeStandings are all words, in the order in which they are told of.
var nodeStandings = [...]NodeStanding{
	NodeIsWaiting, NodeStanding(model.ChainOffered), NodeStanding(model.ChainFetched), NodeStanding(model.ChainLoaded), NodeStanding(model.ChainServing), NodeStanding(model.ChainDegraded),
	NodeStanding(model.ChainRejected), NodeIsIsolated, NodeIsNotServing, NodeStanding(PresenceUnknown), NodeStanding(PresenceConnected),
}

// NodeStandings are the words that ListNodes takes.
func NodeStandings() []string {
	words := make([]string, len(nodeStandings))
	for i, w := range nodeStandings {
		words[i] = string(w)
	}
	return words
}

func checkStandings(states []NodeStanding) error {
	for _, state := range states {
		if !slices.Contains(nodeStandings[:], state) {
			return model.Invalidf("nodes", "states", "give some of "+strings.Join(NodeStandings(), ", "), "%q is no state of a node", state)
		}
	}
	return nil
}

// stands says whether a word is right for a node; mu is held.
func (n *node) stands(as NodeStanding) bool {
	l := n.row.Ledger
	switch as {
	case NodeIsWaiting:
		return l.State == ""
	case NodeIsIsolated:
		return n.row.Isolated != nil
	case NodeIsNotServing:
		// Without an agent it is not proved that it serves what it has accepted.
		proved := l.State == model.ChainServing || l.State == model.ChainLoaded && n.row.Dialect == model.DialectADS
		return n.row.Reports && (n.row.Serving == "" || n.row.Serving != n.chain.Hash || !proved)
	case NodeStanding(PresenceUnknown), NodeStanding(PresenceConnected):
		return n.presence() == Presence(as)
	}
	return l.State == model.ChainState(as)
}
