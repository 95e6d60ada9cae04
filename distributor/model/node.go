package model

import (
	"slices"
	"time"
)

// ChainState is the ledger's word for how far a rendered chain has come on a node, in this order.
type ChainState string

// The states. Offered → Fetched → Loaded → Serving or Degraded; Rejected may follow any of the first three.
const (
	ChainOffered  ChainState = "offered"
	ChainFetched  ChainState = "fetched"
	ChainLoaded   ChainState = "loaded"
	ChainServing  ChainState = "serving"
	ChainDegraded ChainState = "degraded"
	ChainRejected ChainState = "rejected"
)

// DialectADS is the aggregated discovery service of xDS, by which an Envoy without an agent gets its chain. What it accepted it has loaded; that it serves
// with it is proved by nobody, so its ledger ends at ChainLoaded, and Node.Serving is what it accepted.
const DialectADS = "ads"

// DialectApplication is that of an application which takes collections itself, by package client: it has no Envoy, runs no filters, and says itself
// what it serves.
const DialectApplication = "application"

// LedgerEntry is what a node said of one rendered chain, with the times at which it first said so.
type LedgerEntry struct {
	Chain  string     `json:"chain"`
	State  ChainState `json:"state"`
	Step   string     `json:"step,omitempty"`
	Reason string     `json:"reason,omitempty"`
	// Final: the rejection holds for this Envoy build and chain, and the chain is not offered again.
	Final bool                     `json:"final,omitempty"`
	Times map[ChainState]time.Time `json:"times,omitempty"`
	// Secrets are the versions of the secrets that the node has put into the chain, by what names them (SecretRef.String). They reveal nothing of the values. It is
	// not changed once it is there.
	Secrets map[string]string `json:"secrets,omitempty"`
}

// AfterNone is Node.After of a node that came before all rollouts.
const AfterNone = -1

// Node is the durable row of one node: what it is, what it is to run, and the ledger's latest word. Presence and
// statistics are not in it; they live in the memory of whichever replica holds the node's stream.
type Node struct {
	ID           string            `json:"id"`
	Labels       map[string]string `json:"labels,omitempty"`
	EnvoyVersion string            `json:"envoyVersion,omitempty"`
	EnvoyBuild   string            `json:"envoyBuild,omitempty"`
	AgentVersion string            `json:"agentVersion,omitempty"`
	// Reports is true for a sink that sends reports (an agent), or of which the distributor itself can tell as much. Others never get past ChainOffered.
	Reports bool `json:"reports,omitempty"`
	// Dialect is what a sink that reports speaks: empty for an agent, DialectADS for an Envoy that has none, DialectApplication.
	Dialect string `json:"dialect,omitempty"`
	// Assigned is what rollouts gave it, by layer; only a rollout changes it. Nil: never given anything, so it waits.
	Assigned map[Layer]ReleaseID `json:"assigned,omitempty"`
	// Split is the release under test; zero for none. Only a rollout changes it.
	Split NodeSplit `json:"split,omitzero"`
	// Splits: its sink can run two chains side by side, as it says itself.
	Splits bool `json:"splits,omitempty"`
	// Resources: its sink keeps the resources of a chain and runs the chain only with all of them, as it says itself.
	Resources bool `json:"resources,omitempty"`
	// Takes is what it asks for, as it says itself; zero for an agent, which takes all there is.
	Takes Takes `json:"takes,omitzero"`
	// Secrets: its sink puts secrets in the place of what names them in a filter's configuration, as it says itself.
	Secrets bool `json:"secrets,omitempty"`
	// KeptSecrets: it asks for those that the distributor keeps, too (CollectionSecrets), as it says itself in its reports.
	KeptSecrets bool `json:"keptSecrets,omitempty"`
	// Generation rises by one whenever Assigned or Split changes.
	Generation int64 `json:"generation"`
	// Ledger is about the chain that Assigned and Split render to.
	Ledger LedgerEntry `json:"ledger"`
	// Serving is the hash of the chain the node serves, Previous of the one before; empty when there is none.
	Serving  string `json:"serving,omitempty"`
	Previous string `json:"previous,omitempty"`
	// Moved is by what Assigned or Split changed last; nil: by nothing, or by a waft that did not note it. It is never changed, only replaced.
	Moved *Move `json:"moved,omitempty"`
	// LastError is the last time that a chain was rejected or served in part, whatever came of it; nil: never. It is never changed, only replaced.
	LastError *NodeError `json:"lastError,omitempty"`
	// Isolated is set when a rollback failed on it: no wave takes it until a person releases it. Nil: it is like any other.
	Isolated *Isolation `json:"isolated,omitempty"`
	// Retry counts the requests to try a rejected chain again.
	Retry     int64     `json:"retry,omitempty"`
	FirstSeen time.Time `json:"firstSeen"`
	// After is the Sequence of the newest rollout that there was when the node was first seen; AfterNone: there was none; 0: the row is of a waft
	// that did not note it. It orders what FirstSeen orders, whatever the clock does.
	After int64 `json:"after,omitempty"`
	// AwayFor is for how long a distributor has watched it be away, written now and then; zero for one that is there.
	AwayFor time.Duration `json:"awayFor,omitempty"`
	// Replica is the distributor that vouches for it.
	Replica string `json:"replica,omitempty"`
}

// TakesKept says whether the node is given kept secrets: it has an agent, which says so itself. Nobody else is given any.
func (n Node) TakesKept() bool { return n.KeptSecrets && n.Reports && n.Dialect == "" }

// Takes is what a node without an agent asks for: an application, or an Envoy over ADS. The zero value of the latter is one that asks for the slots of its filters, and for
// nothing else. It is never changed, only replaced.
type Takes struct {
	// Collections are sorted, each once. Of an Envoy they are those that its bootstrap asks for, envoy/listeners and envoy/clusters; what these then refer to is asked for, too.
	Collections []string `json:"collections,omitempty"`
	// Clusters are the names of those that an Envoy has of its own, sorted. No resource may be called so, and any may refer to one.
	Clusters []string `json:"clusters,omitempty"`
	// Slot: a listener that an Envoy has of its own holds the slot of its filters, though it asks for others.
	Slot bool `json:"slot,omitempty"`
}

// IsZero says whether it asks for nothing.
func (t Takes) IsZero() bool { return len(t.Collections) == 0 && len(t.Clusters) == 0 && !t.Slot }

// Equal says whether both are the same.
func (t Takes) Equal(other Takes) bool {
	return slices.Equal(t.Collections, other.Collections) && slices.Equal(t.Clusters, other.Clusters) && t.Slot == other.Slot
}

// Move is by what a node was given what it is to run.
type Move struct {
	Rollout string `json:"rollout"`
	// Wave is counted from 0; -1: none, since the node joined, or an emergency passed the waves.
	Wave int       `json:"wave"`
	At   time.Time `json:"at"`
	// Back: the rollout took the node back to what it had before. Joined: the node was given what the rollout gave to its like.
	Back   bool `json:"back,omitempty"`
	Joined bool `json:"joined,omitempty"`
	// First: the node had nothing before, so that nothing takes it back.
	First bool `json:"first,omitempty"`
}

// NodeError is what a node said when it did not run a chain as it should be.
type NodeError struct {
	Chain string `json:"chain"`
	// State is ChainRejected or ChainDegraded.
	State  ChainState `json:"state"`
	Step   string     `json:"step,omitempty"`
	Reason string     `json:"reason,omitempty"`
	At     time.Time  `json:"at"`
}

// Isolation is why a node is left alone.
type Isolation struct {
	// Rollout is the one whose way back failed.
	Rollout string    `json:"rollout"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
}

// Statistics are counts since the node began to serve the chain; they only rise, but for what Health says of itself.
type Statistics struct {
	Chain    string `json:"chain"`
	Requests int64  `json:"requests"`
	Errors   int64  `json:"errors"`
	Denied   int64  `json:"denied"`
	Seen     int64  `json:"seen"`
	// DeniedKnown says that the node counts what is answered 401 or 403. Where it does not, or has not said so, Denied may be too low.
	DeniedKnown bool   `json:"deniedKnown,omitempty"`
	Health      Health `json:"health,omitzero"`
	// Values are statistics of Envoy that gates ask for, by name, as far as it has them. They are not changed once they are reported.
	Values map[string]StatisticValue `json:"values,omitempty"`
	At     time.Time                 `json:"at"`
	// Cohort is the part of it that took the chain under test, where the chain is split and the node can tell.
	Cohort CohortStatistics `json:"cohort,omitzero"`
}

// CohortStatistics are those of the requests of a cohort alone.
type CohortStatistics struct {
	// Known is false where the node cannot tell which requests these are; the counts are then zero.
	Known    bool  `json:"known,omitempty"`
	Requests int64 `json:"requests,omitempty"`
	Errors   int64 `json:"errors,omitempty"`
	Denied   int64 `json:"denied,omitempty"`
	// Seen is what that filter counted of them which counted the fewest, among those that only the cohort meets.
	Seen int64 `json:"seen,omitempty"`
	// Health is what can be said of them apart: Stuck, Latency, and Reloads, ReloadFailures and Panics of the filters that only the cohort meets; the rest of
	// it is zero. Stuck counts those that have waited for the patience at any time: it does not fall. Not Known: Envoy was started by what did not count it.
	Health Health `json:"health,omitzero"`
}
