package rollout

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Event is what Step is told. The kinds are closed: Observe, Join and the commands, and each of them Watched.
type Event interface{ event() }

// Observe is the fleet as it is now. It is level-triggered: the same view may be given any number of times, and one that
// was missed is made good by the next. Give it on every change and at least once every MaxGap.
type Observe struct {
	// Nodes must hold every node that the target's selector matches and every node in the rollout's Nodes, in any order.
	// A moved node that is missing is taken for one that is silent.
	Nodes []NodeView
	// Blocked names an earlier rollout, not ended, that shares nodes with this one. While it is set a pending rollout
	// stays pending; a running one takes no notice.
	Blocked string
	// Frozen says why nothing may move on now, such as a freeze window; empty when nothing forbids it. While it is set no wave begins
	// and no node is moved; what has moved is watched, and goes back where it must.
	Frozen string
	// Emergency says which filter was disabled, by whom and why; empty when none is. It is told where nodes' chains were changed by it.
	Emergency string
	// Unsettled is how many nodes that are not in Nodes are on their way to another chain, or are there and serve nothing: a cap
	// is over all rollouts. It is read where there is one.
	Unsettled int
	// Cap is that of the fleet. It holds beside the rollout's own, MaxNotServing; the smaller of both counts.
	Cap FleetCap
	// Elsewhere are the latest readings of the current wave's gates that are read elsewhere, by their place in the wave's gates. A gate
	// that is not in it has not been read. Gate is left empty.
	Elsewhere map[int]model.GateReading
	// Memo is what the caller keeps of its last step of this rollout; nil: nothing. It is no part of the event: see Memo for what it promises.
	Memo *Memo
}

// Watched is another event, with how long ago the last step that counted time was by a clock that does not jump, such as a process's own. Without it,
// or where For is zero, as for the first step after a start, the clock is believed.
type Watched struct {
	Event Event
	For   time.Duration
}

// Join records a node that came into the target while the rollout runs and that Joining gives the rollout's release. It
// answers with the Assign. Without it the node could not be rolled back. The node is not counted in any wave.
type Join struct {
	Node NodeView
	// From and FromGiven are what the node would have without this rollout: Joining over the others.
	From      model.ReleaseID
	FromGiven bool
	// FromChain is the hash of the chain rendered with From.
	FromChain string
}

// By says who gave a command, and why. Reason may be empty.
type By struct {
	Actor  string
	Reason string
}

// Pause stops the rollout where it is until Resume. Nothing moves on meanwhile, and nothing is late. What has moved is watched, and where a node or a
// gate fails everything goes back; Abort is for who wants to keep what was moved.
type Pause struct{ By }

// Resume goes on with the phase that was paused. Soak and deadline are extended by the pause.
type Resume struct{ By }

// Promote ends the running soak, or overrules an inconclusive gate. A failed gate still fails.
type Promote struct{ By }

// Approve is a person's word that the rollout may go on after the wave that soaks.
type Approve struct{ By }

// Abort stops for ever and keeps: moved nodes stay on the release, the others on theirs.
type Abort struct{ By }

// RollBack takes moved nodes back to what each had before.
type RollBack struct {
	By
	// Cap is that of the fleet, as an Observe has it. Where there is any cap, the next Observe sends nodes back: nobody has looked at the fleet.
	Cap FleetCap
}

func (Observe) event()  {}
func (Watched) event()  {}
func (Join) event()     {}
func (Pause) event()    {}
func (Resume) event()   {}
func (Promote) event()  {}
func (Approve) event()  {}
func (Abort) event()    {}
func (RollBack) event() {}
