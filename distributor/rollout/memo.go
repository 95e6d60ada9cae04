package rollout

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// Memo is what a caller keeps from step to step of one rollout, so that what has not changed since is not worked out again. It takes no part in
// what is decided: a step without it gives the same. The zero value remembers nothing. It may be used by one step at a time.
//
// The caller promises that a picture in the same memory as that of the step before, and of the same length, is of the same nodes in the same places;
// what it says of each may have changed. Where that is not so it begins with another memory, or another Memo.
type Memo struct {
	// picture is what index is about.
	picture []NodeView
	index   map[string]int
	// places are those of order, of the nodes in the picture, and sorted the nodes by them; nil until somebody asks.
	places []uint64
	sorted []int
	// seated are the seats of the nodes in that map itself, which is never changed in place, beside that picture.
	seated []seat
	in     map[string]model.NodeProgress
}

// fits says whether what is remembered is about a picture.
func (o *Memo) fits(picture []NodeView) bool {
	return len(picture) > 0 && len(picture) == len(o.picture) && &picture[0] == &o.picture[0]
}

// see begins with a picture.
func (o *Memo) see(picture []NodeView) {
	if o.fits(picture) {
		return
	}
	*o = Memo{picture: picture, index: make(map[string]int, len(picture))}
	for i := range picture {
		o.index[picture[i].ID] = i
	}
}

// inOrder are the places of the nodes in the picture of a rollout, and where they are in it, in the order of their places.
func (o *Memo) inOrder(rollout string) (places []uint64, sorted []int) {
	if o.places != nil {
		return o.places, o.sorted
	}
	o.places, o.sorted = make([]uint64, len(o.picture)), make([]int, len(o.picture))
	for i := range o.picture {
		o.places[i], o.sorted[i] = order(rollout, o.picture[i].ID), i
	}
	slices.SortFunc(o.sorted, func(a, b int) int { return cmp.Compare(o.places[a], o.places[b]) })
	return o.places, o.sorted
}

// takeSeats are the seats of nodes if they are remembered, else nil. They are the caller's until it keeps them.
func (o *Memo) takeSeats(nodes map[string]model.NodeProgress) []seat {
	seated := o.seated
	if o.seated = nil; !sameMap(o.in, nodes) {
		return nil
	}
	return seated
}

// keepSeats remembers the seats of nodes.
func (o *Memo) keepSeats(seated []seat, nodes map[string]model.NodeProgress) {
	o.seated, o.in = seated, nodes
}

// sameMap says whether two are one map in memory.
func sameMap(a, b map[string]model.NodeProgress) bool {
	return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}
