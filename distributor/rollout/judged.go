package rollout

import "iter"

// judged is how far a step has come in looking at the moved nodes. What the fleet says does not change within a step, so a step that ends a wave and
// begins the next looks at each of them once, and not again in each phase: afterwards only at those that it has moved itself. Where the state comes to
// say something else of a node that was moved before, all of them are looked at again.
type judged struct {
	// fresh are the nodes that were moved since all were looked at.
	fresh []*seat
	// followed, sound and counted are of whom follow, failed and traffic have taken note.
	followed, sound, counted look
	// traffic is that of those in counted.
	traffic traffic
}

// look is how far one kind of looking has come: at all but the last of fresh. The zero value: at none.
type look struct {
	all   bool
	fresh int
}

// changed notes that the state says something else of a node, which was moved before or is now; it has no seat yet where s is nil.
func (j *judged) changed(s *seat, was, is bool) {
	switch {
	case was || is && s == nil:
		*j = judged{}
	case is:
		j.fresh = append(j.fresh, s)
	}
}

// unseen are the seats of the nodes that l, one of judged, has not looked at, in any order. Where nodes came, that is all: they are seated first.
func (m *machine) unseen(l *look) iter.Seq[*seat] {
	return func(yield func(*seat) bool) {
		seats := m.seats()
		if l.all {
			for _, s := range m.judged.fresh[l.fresh:] {
				if !yield(s) {
					return
				}
			}
			return
		}
		for i := range seats {
			if !yield(&seats[i]) {
				return
			}
		}
	}
}

// seen is a look at all of them.
func (m *machine) seen() look { return look{all: true, fresh: len(m.judged.fresh)} }
