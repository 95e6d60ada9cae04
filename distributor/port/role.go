package port

import "time"

// One goroutine at a time reads a connection: a receiver that waits for a message of its stream, or else one that does nothing beside. reading says that there
// is one. A receiver that has its message gives the role to another that waits; where none does it is mostly back in a moment, and if it is not, a timer
// has somebody else read. Where it will not come back, and where a sender waits for what only a reader can see, somebody else reads at once.

// read reads until the connection ends, or a receiver would.
func (c *conn) read() {
	for {
		if err := c.frame(); err != nil {
			c.end(err)
			return
		}
		c.mu.Lock()
		if c.ended { // what else comes is nobody's
			c.mu.Unlock()
			return
		}
		if next, soon := c.receiver(); c.blocked == 0 && (next != nil || soon) {
			c.reading = false
			c.wake(next)
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}

// take takes the role, if nobody has it; mu is held.
func (c *conn) take() bool {
	if c.reading || c.ended {
		return false
	}
	c.reading = true
	if c.vacant != nil {
		c.vacant.Stop() // where it fires all the same it finds the role taken
	}
	return true
}

// receiver is one that waits for a message, and would read; nil: there is none. soon: one has its message, and is about to be back for another. mu is held.
func (c *conn) receiver() (next *stream, soon bool) {
	if c.waiting == 0 {
		return nil, false
	}
	for _, s := range c.streams {
		switch {
		case !s.waits:
		case !s.ready():
			return s, false
		default:
			soon = soon || s.err == nil && !s.allCame
		}
	}
	return nil, soon
}

// give has a stream's receiver give the role up; mu is held.
func (c *conn) give(s *stream) {
	c.reading, c.reader = false, nil
	c.resume() // whoever reads next was not woken
	if c.ended {
		return
	}
	next, _ := c.receiver()
	switch {
	case c.blocked > 0:
		c.wanted()
	case next == nil && (s.over() != nil || s.allCame && len(s.in) == 0):
		c.wanted()
	default:
		c.wake(next)
	}
}

// wake has a receiver take the role, where there is one, and else somebody who reads in a while; mu is held. Whoever is woken may have another reason to go, so
// the timer runs all the same.
func (c *conn) wake(next *stream) {
	if next != nil {
		next.cond.Broadcast()
	}
	wait := vacancy
	if len(c.streams) <= 1 {
		wait = lonely
	}
	if c.vacant == nil {
		c.vacant = time.AfterFunc(wait, c.fill)
	} else {
		c.vacant.Reset(wait)
	}
}

// wanted has somebody read at once, where nobody does; mu is held.
func (c *conn) wanted() {
	if c.take() {
		go c.read()
	}
}

// fill reads where nobody does.
func (c *conn) fill() {
	c.mu.Lock()
	taken := c.take()
	c.mu.Unlock()
	if taken {
		c.read()
	}
}
