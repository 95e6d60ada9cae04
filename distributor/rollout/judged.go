package rollout

import (
	"iter"
	"slices"
)

// judged is how far a step has come in looking at the moved nodes. What the fleet says does not change within a step, so a step that ends a wave and
// begins the next looks at each of them once, and not again in each phase: afterwards only at those that it has moved itself. Where the state comes to
// say something else of a node that was moved before, all of them are looked at again.
type judged struct {
	// fresh are the nodes that were moved since all were looked at.
	fresh []string
	// followed, sound and counted are of whom follow, failed and traffic have taken note.
	followed, sound, counted look
	// traffic is that of those that are counted.
	traffic traffic
}

// look is how far one kind of looking has come: at all but the last of fresh. The zero value: at none.
type look struct {
	all   bool
	fresh int
}

// changed notes that the state says something else of a node, which was moved before or is now.
func (j *judged) changed(id string, was, is bool) {
	switch {
	case was:
		*j = judged{}
	case is:
		j.fresh = append(j.fresh, id)
	}
}

// unseen are the seats, in their order, of the nodes that l has not looked at.
func (m *machine) unseen(l look) iter.Seq[*seat] {
	return func(yield func(*seat) bool) {
		seats := m.seats()
		if !l.all {
			for i := range seats {
				if !yield(&seats[i]) {
					return
				}
			}
			return
		}
		var places []int
		for _, id := range m.judged.fresh[l.fresh:] {
			if i, seated := find(seats, id); seated {
				places = append(places, i)
			}
		}
		slices.Sort(places)
		for _, i := range places {
			if !yield(&seats[i]) {
				return
			}
		}
	}
}

// seen is a look at all of them.
func (m *machine) seen() look { return look{all: true, fresh: len(m.judged.fresh)} }
