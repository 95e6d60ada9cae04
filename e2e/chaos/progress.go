package chaos

import "sync"

// place is how far a run has come: which rollout (-1 before the first), and where in it.
type place struct {
	rollout int
	phase   string
	wave    int
}

// moving says whether a wave is under way.
func (p place) moving() bool {
	switch p.phase {
	case "Fetching", "Moving", "Soaking", "RollingBack":
		return true
	}
	return false
}

// due says whether a fault's moment has come: it is there, or it never will be.
func (p place) due(f Fault) bool {
	if p.rollout != f.Rollout {
		return p.rollout > f.Rollout
	}
	return ended(p.phase) || p.phase == f.Phase && p.wave == f.Wave
}

// progress tells those who wait how far the run has come.
type progress struct {
	mu      sync.Mutex
	at      place
	changed chan struct{}
}

func newProgress() *progress {
	return &progress{at: place{rollout: -1}, changed: make(chan struct{})}
}

func (p *progress) set(at place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at != at {
		p.at = at
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// now is the place, and a channel that closes with the next one.
func (p *progress) now() (place, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.changed
}
