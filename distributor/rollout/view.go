package rollout

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// NodeView is one node as the caller knows it now, from its row and from presence.
type NodeView struct {
	ID     string
	Labels map[string]string
	// Connected: its report stream is open. A node without one is present until it has been Silent for SilenceGrace.
	Connected bool
	// Silent is how long it has not been connected; zero when Connected. After a start of the distributor it counts from
	// that start at the earliest.
	Silent time.Duration
	// Reports is false for a sink that cannot report: nothing about it can be proved, so it is left out, and where the
	// rollout includes it, never counted.
	Reports bool
	// Unproved: it has no agent. What it serves it has accepted and loaded, and nobody proves more; statistics of it are those that its Envoy pushes, if it
	// does.
	Unproved bool
	// Application: it is an application, and has no Envoy.
	Application bool
	// Partly says what of the release is not for it, since it does not ask for it; empty where all of it is.
	Partly string
	// Assigned is the release of the rollout's layer in the node's row; zero for none.
	Assigned model.ReleaseID
	// Split is the release under test in the node's row, of whatever layer; zero for none.
	Split model.NodeSplit
	// RowChain is the hash of the chain that the row renders to, with what is under test. Empty: CurrentChain is that.
	RowChain string
	// CannotSplit says why the node cannot run two chains side by side; empty when it can. Such a node waits for a wave without a cohort.
	CannotSplit string
	// CannotTell says why the node's Envoy does not count the requests of a cohort apart; empty when it does, or that is not known.
	CannotTell string
	// Given: the node was given a release of some layer at least once.
	Given bool
	// TargetChain is the hash of the chain rendered with the release that ReleaseFor names for the node, for all requests, CurrentChain that
	// of the chain rendered with Assigned, without a release of the layer under test. CurrentChain is empty when the node was never given anything.
	TargetChain  string
	CurrentChain string
	// FromChain is that of the chain rendered with the release that the rollout would take the node back to; empty where the node is not in
	// the rollout, or had nothing before. With TargetChain it shows a node's chain that was changed past the rollout, in an emergency.
	FromChain string
	// Ledger is the latest word of the node; only what it says of the chain in question is read.
	Ledger model.LedgerEntry
	// Serving is the hash of the chain that the node proved to serve; empty for none.
	Serving string
	// Fetched: all modules of TargetChain are on the node, verified.
	Fetched bool
	// FetchTrouble is why they are not, in the words of whom the node asked; empty when they are, or it has not said.
	FetchTrouble string
	// Restarts counts the restarts of its Envoy, or of an application, that the caller knows of. It only rises, but may begin again from zero when
	// the distributor restarts.
	Restarts int
	// Stats are the latest statistics; read only when they are about the chain in question.
	Stats model.Statistics
	// Lately is what it has served, with whatever chain, since the nodes of the current wave were moved, as far as that is known: less
	// where its reports were interrupted. It is read of nodes that have not moved, or in an earlier wave.
	Lately model.Statistics
	// Unloadable says why its Envoy cannot load TargetChain, by the modules' manifests; empty when it can.
	Unloadable string
	// Isolated says why the node is isolated, as its row has it; empty when it is not. Such a node is not taken.
	Isolated string
	// HeldBy names another running rollout that Holds the node; such a node is not taken. Empty for none.
	HeldBy string
}
