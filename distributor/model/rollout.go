package model

import "time"

// RolloutPhase is where a rollout stands.
type RolloutPhase string

// The phases. What each means in full, and what leads from one to the next, is in package rollout's documentation.
const (
	// RolloutPending waits for a rollout that shares nodes to end. Next: Fetching, Paused, RolledBack (nothing moved), Aborted.
	RolloutPending RolloutPhase = "Pending"
	// RolloutFetching: the wave's nodes get the bytes; none of them runs the release yet. Next: Moving, Paused, RollingBack,
	// RolledBack (nothing moved), Aborted; and where the wave loses all its nodes, the next wave or Done.
	RolloutFetching RolloutPhase = "Fetching"
	// RolloutMoving: the wave's nodes are assigned the release and load it. Next: Soaking, Paused, RollingBack, Aborted.
	RolloutMoving RolloutPhase = "Moving"
	// RolloutSoaking: all the wave's nodes serve it; gates are read. Next: Fetching (the next wave), Done, Paused, RollingBack, Aborted.
	RolloutSoaking RolloutPhase = "Soaking"
	// RolloutPaused: a person, an inconclusive gate or an emergency stopped it; nothing moves on, and what fails goes back. Next: the phase it was in,
	// RollingBack, RolledBack, Aborted.
	RolloutPaused RolloutPhase = "Paused"
	// RolloutRollingBack: moved nodes get what each had before. Next: RolledBack. It is passed over where no moved node had
	// anything before.
	RolloutRollingBack RolloutPhase = "RollingBack"
	// RolloutRolledBack, RolloutAborted and RolloutDone are ends.
	RolloutRolledBack RolloutPhase = "RolledBack"
	RolloutAborted    RolloutPhase = "Aborted"
	RolloutDone       RolloutPhase = "Done"
)

// Ended says whether nothing can follow.
func (p RolloutPhase) Ended() bool {
	return p == RolloutRolledBack || p == RolloutAborted || p == RolloutDone
}

// Back says whether nodes go back, or have gone back, to what they had before.
func (p RolloutPhase) Back() bool { return p == RolloutRollingBack || p == RolloutRolledBack }

// Stage is the phase that the rollout is in, or, while it is paused, the one that it goes on with.
func (r Rollout) Stage() RolloutPhase {
	if r.Phase == RolloutPaused {
		return r.Resume
	}
	return r.Phase
}

// WaveSpec is one step. Exactly one of Nodes, Percent and Selector is set; shares are cumulative over the target.
type WaveSpec struct {
	Nodes    int    `json:"nodes,omitempty"`
	Percent  int    `json:"percent,omitempty"`
	Selector string `json:"selector,omitempty"`
	// Soak is how long all the wave's nodes must serve before the next wave.
	Soak time.Duration `json:"soak,omitempty"`
	// Deadline bounds fetching and moving together. Zero: DefaultWaveDeadline.
	Deadline time.Duration `json:"deadline,omitempty"`
	Gates    []GateSpec    `json:"gates,omitempty"`
	// Cohort is which requests of the wave's nodes take the release; zero: all. The wave's share is then of nodes that run the release so: nodes
	// of earlier waves with another cohort are taken before others.
	Cohort Cohort `json:"cohort,omitzero"`
}

// DefaultWaveDeadline bounds the fetching and moving of a wave that names no deadline.
const DefaultWaveDeadline = 5 * time.Minute

// RolloutSpec is what a person asked for.
type RolloutSpec struct {
	Release  ReleaseID `json:"release"`
	Selector string    `json:"selector"`
	// IncludeUnreported takes the nodes of the target whose sinks cannot report too. Without it they are left out, since
	// nothing can be proved of them.
	IncludeUnreported bool `json:"includeUnreported,omitempty"`
	// MaxNotServing is how many nodes of the fleet may be on their way or not serving at any moment, over all rollouts: a wave moves its
	// nodes a few at a time so that they stay within it. Zero: a wave moves all its nodes at once.
	MaxNotServing int `json:"maxNotServing,omitempty"`
	// Freeze is when nothing moves on, beside the distributor's own windows.
	Freeze []FreezeWindow `json:"freeze,omitempty"`
	Waves  []WaveSpec     `json:"waves"`
}

// NodeState is where a node stands within a rollout.
type NodeState string

// The states of a node in a rollout.
const (
	NodeWaiting     NodeState = "Waiting"     // not in a wave yet
	NodeFetching    NodeState = "Fetching"    // its wave has started; it gets the bytes
	NodeMoving      NodeState = "Moving"      // assigned the release
	NodeServing     NodeState = "Serving"     // proved to serve it
	NodeFailed      NodeState = "Failed"      // rejected it, fell silent, or was too late
	NodeRollingBack NodeState = "RollingBack" // assigned what it had before
	NodeRolledBack  NodeState = "RolledBack"  // proved to serve what it had before
	NodeAway        NodeState = "Away"        // away, or cannot report and is included all the same: assigned with its wave, not counted, converges by itself
	NodeSkipped     NodeState = "Skipped"     // its Envoy cannot load the release, its sink cannot report, or another rollout holds it: never offered
)

// NodeProgress is one node of the target.
type NodeProgress struct {
	State NodeState `json:"state"`
	// Wave it belongs to, counted from 0; -1 before it is in one.
	Wave   int    `json:"wave"`
	Reason string `json:"reason,omitempty"`
	// Since is when State last changed.
	Since time.Time `json:"since,omitzero"`
	// MovedAt is when it was first assigned the release; zero: never. Only moved nodes are rolled back.
	MovedAt time.Time `json:"movedAt,omitzero"`
	// BackAt is when it was assigned what it had before, in a rollback; zero: not yet.
	BackAt time.Time `json:"backAt,omitzero"`
	// Uncounted: nothing waits for it and it fails no wave. It was away or could not report when its wave moved, or it
	// joined while the rollout ran.
	Uncounted bool `json:"uncounted,omitempty"`
	// Restarts of its Envoy that were known when it moved; one more is a failure.
	Restarts int `json:"restarts,omitempty"`
	// From is the release of this layer that the node had when its wave started; zero for none.
	From ReleaseID `json:"from"`
	// FromGiven is false when the node had never been given a release of any layer.
	FromGiven bool `json:"fromGiven,omitempty"`
	// Chain and FromChain are the hashes of the chains rendered with the new release and with From.
	Chain     string `json:"chain,omitempty"`
	FromChain string `json:"fromChain,omitempty"`
	// Cohort is which of its requests the release was given when it was last moved; zero: all. From is what the rest of them takes.
	Cohort Cohort `json:"cohort,omitzero"`
}

// GateVerdict is the outcome of one reading.
type GateVerdict string

// The verdicts.
const (
	VerdictPass         GateVerdict = "pass"
	VerdictFail         GateVerdict = "fail"
	VerdictInconclusive GateVerdict = "inconclusive"
)

// GateReading is kept with the rollout, so that history explains every decision.
type GateReading struct {
	Gate    string      `json:"gate"`
	Verdict GateVerdict `json:"verdict"`
	Detail  string      `json:"detail"`
	At      time.Time   `json:"at"`
}

// WaveState is what became of a wave.
type WaveState struct {
	// Nodes is frozen when the wave starts, in the order in which they were chosen.
	Nodes     []string  `json:"nodes"`
	StartedAt time.Time `json:"startedAt"`
	// MovedAt is when the first of its nodes was moved; zero before.
	MovedAt time.Time `json:"movedAt,omitzero"`
	// Deadline bounds fetching and moving. SoakUntil is set when the last counted node serves. Both move with a pause and
	// with a clock that jumps.
	Deadline  time.Time `json:"deadline"`
	SoakUntil time.Time `json:"soakUntil"`
	// UndecidedSince is since when a gate could not decide at the end of the soak; zero: all could, or it is not over.
	UndecidedSince time.Time `json:"undecidedSince,omitzero"`
	// EndedAt is when the wave was complete; zero while it runs, and for ever for one that failed or was stopped.
	EndedAt time.Time `json:"endedAt"`
	// Overruled: a person promoted the wave, so an inconclusive gate does not stop it. A failed one still does, and so does an approval that
	// is missing.
	Overruled bool `json:"overruled,omitempty"`
	// WaitsSince is since when it has waited, its soak over, for a person or for the end of a freeze; zero: it has not.
	WaitsSince time.Time `json:"waitsSince,omitzero"`
	// Approval is who approved the wave; nil until somebody has.
	Approval *Approval `json:"approval,omitempty"`
	// Readings are of all the gates that were read whenever something was decided by them: when the soak begins (loaded), when the wave begins to wait
	// for a person or the end of a freeze, when a gate is inconclusive, and when it fails or the wave is complete.
	Readings []GateReading `json:"readings,omitempty"`
}

// Approval is a person's word that a rollout may go on after a wave.
type Approval struct {
	Actor  string    `json:"actor"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// RolloutWait is what keeps a rollout from going on although nothing is wrong with it.
type RolloutWait string

// What a rollout waits for.
const (
	WaitsForNothing  RolloutWait = ""
	WaitsForRollout  RolloutWait = "rollout"  // another one, which shares nodes with it, is to end
	WaitsForFreeze   RolloutWait = "freeze"   // a freeze window is to end
	WaitsForRoom     RolloutWait = "room"     // as many nodes of others as may be are on their way or not serving, and none of its own is on its way
	WaitsForApproval RolloutWait = "approval" // a person is to approve the wave
)

// Transition is one line of a rollout's history.
type Transition struct {
	At      time.Time    `json:"at"`
	Phase   RolloutPhase `json:"phase"`
	Wave    int          `json:"wave"`
	Message string       `json:"message"`
	Actor   string       `json:"actor"`
}

// Rollout is the whole state of a rollout; the state machine in package rollout is the only thing that makes a new one
// out of an old one.
type Rollout struct {
	Name string `json:"name"`
	// Sequence orders rollouts by their start; given by the store.
	Sequence int64       `json:"sequence"`
	Spec     RolloutSpec `json:"spec"`
	Layer    Layer       `json:"layer"`
	// Undoes names the rollout that this one takes back; then each node goes to Nodes[id].From of that one, held in Restore.
	Undoes string `json:"undoes,omitempty"`
	// Disables names the filter that this rollout took out of its nodes' chains at once, in an emergency; it is made as one that has ended.
	// Its layer is that filter's emergency layer, and a rollout that undoes it puts the filter back.
	Disables string               `json:"disables,omitempty"`
	Restore  map[string]ReleaseID `json:"restore,omitempty"`

	Phase RolloutPhase `json:"phase"`
	// Resume is the phase to go back to from Paused.
	Resume RolloutPhase `json:"resume,omitempty"`
	// PausedAt is when it was paused; a soak or deadline is extended by the pause.
	PausedAt time.Time `json:"pausedAt"`
	// Inconclusive: a gate that could not decide paused it, not a person; promote overrules that.
	Inconclusive bool `json:"inconclusive,omitempty"`
	// SeenAt is the time of the last step that counted time. It alone is no reason to write the rollout (rollout.Changed).
	SeenAt time.Time `json:"seenAt,omitzero"`
	// RollbackDeadline bounds RollingBack: nodes that were sent back and have not come back by then are named as failed. It begins anew with each
	// group that is sent back.
	RollbackDeadline time.Time `json:"rollbackDeadline,omitzero"`
	Message          string    `json:"message"`
	// Wave is the index of the current wave; -1 before the first.
	Wave  int         `json:"wave"`
	Waves []WaveState `json:"waves,omitempty"`
	// Latest is what the gates of the current wave said when they were looked at last: in the decision before this moment, while the wave moves or
	// soaks. It is not stored, since it changes with every decision; what a decision was taken by is in the wave's Readings.
	Latest []GateReading `json:"-"`
	// Waits is what it waits for, as of the same moment; it is not stored either. WaitsForNothing while it goes on, and in a pause.
	Waits RolloutWait `json:"-"`
	// Nodes holds every node that a wave reached, that was skipped, or that joined; nodes still waiting are not in it.
	Nodes   map[string]NodeProgress `json:"nodes,omitempty"`
	History []Transition            `json:"history,omitempty"`
	// JoinedToldAt is when the history last told of nodes that joined, JoinedUntold how many have joined since.
	JoinedToldAt time.Time `json:"joinedToldAt,omitzero"`
	JoinedUntold int       `json:"joinedUntold,omitempty"`
	StartedBy    string    `json:"startedBy"`
	Reason       string    `json:"reason,omitempty"`
	StartedAt    time.Time `json:"startedAt"`
	EndedAt      time.Time `json:"endedAt"`
}
