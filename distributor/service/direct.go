package service

import "context"

// directBatch is how many nodes are told at a time, under the lock.
const directBatch = 100

// directLater has a node told soon what its duty has become; mu is held. A wave, or the end of a rollout, changes the duties of many nodes at once,
// and telling each wakes a stream of its own: no decision waits for that.
func (s *Service) directLater(n *node) {
	s.undirected[n] = struct{}{}
	select {
	case s.directing <- struct{}{}:
	default:
	}
}

// directLoop tells nodes what their duties have become, until ctx ends. What a node is told is its duty at that moment, so that none is told what is old.
func (s *Service) directLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.directing:
		}
		for ctx.Err() == nil && s.directSome() {
		}
	}
}

// directSome tells a batch of them, and says whether any are left.
func (s *Service) directSome() bool {
	s.enter() // as a stream would, so that no decision queues behind more than one batch
	defer s.leave()
	room := directBatch
	for n := range s.undirected {
		if room--; room < 0 {
			return true
		}
		delete(s.undirected, n)
		s.direct(n)
	}
	return false
}
