package rollout

import "github.com/waft-project/waft/distributor/model"

// Action is what Step asks to have done. The kinds are closed: Assign and Isolate.
type Action interface{ action() }

// Assign gives a node a release of one layer. Carrying it out twice is harmless, and one that was lost is asked for again
// by a later Observe for as long as it matters.
type Assign struct {
	Node  string
	Layer model.Layer
	// Release is what the node gets; the zero value takes the layer away from the node.
	Release model.ReleaseID
	// Given is true when Release names a release, false when the layer is taken away.
	Given bool
	// Cohort is which requests take the release, beside what the node is assigned, which stays; zero: all, in the place of it. Either way a
	// release of the layer that was under test before is so no longer.
	Cohort model.Cohort
}

// Isolate marks a node on which a rollback failed: a person has to look before any wave takes it again. It is asked for until the view says
// that the node is isolated.
type Isolate struct {
	Node string
	// Reason is what happened on the way back.
	Reason string
}

func (Assign) action()  {}
func (Isolate) action() {}
