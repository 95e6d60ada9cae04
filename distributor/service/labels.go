package service

import "maps"

// Labels says which labels nodes may say they have. The ports judge each node that connects; the service asks about nodes that are away, whose rows have what they said
// before. An implementation may be used concurrently, and does not block.
type Labels interface {
	// Edition is another value, by ==, whenever MayHave may say something else.
	Edition() any
	// MayHave says whether somebody who is that node may say that it has those labels.
	MayHave(node string, labels map[string]string) bool
}

// doubt judges the labels of all nodes when what may be said has changed; mu is held.
func (s *Service) doubt() {
	if s.labels == nil {
		return
	}
	edition := s.labels.Edition()
	if s.edition == edition {
		return
	}
	s.edition = edition
	for _, n := range s.nodes {
		s.judge(n)
	}
}

// judge doubts a node that is away with labels which nobody may say by now that it has: it is refused when it comes with them, and with others it is in other
// targets. What it was given meanwhile it would be sent then. One is away in this sense while no stream that is there says the labels in its row, since the ports have
// judged those of each stream and no others. mu is held.
func (s *Service) judge(n *node) {
	doubted := s.labels != nil && !n.says() && !s.labels.MayHave(n.row.ID, n.row.Labels)
	if doubted != n.doubted {
		n.doubted = doubted
		s.fleet++
	}
}

// says says whether a stream that is there says the labels that stand in the node's row; mu is held.
func (n *node) says() bool {
	for x := range n.sessions {
		if maps.Equal(x.labels, n.row.Labels) {
			return true
		}
	}
	return false
}
