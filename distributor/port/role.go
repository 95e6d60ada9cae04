package port

import "time"

// One goroutine at a time reads a connection: a receiver that waits for a message of its stream, or else one that does nothing beside. reading says that there
// is one. A receiver that has its message gives the role to another that waits; where none does it is mostly back in a moment, and if it is not, a timer
// has somebody else read.

// read reads until the connection ends, or a receiver would.
func (c *conn) read() {
	for {
		if err := c.frame(); err != nil {
			c.end(err)
			return
		}
		c.mu.Lock()
		if c.waiting > 0 {
			c.give()
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

// give gives the role up; mu is held, and the caller has it.
func (c *conn) give() {
	c.reading = false
	if c.ended {
		return
	}
	if c.waiting > 0 {
		for _, s := range c.streams {
			if s.waits && !s.ready() {
				s.cond.Broadcast()
				break
			}
		}
	}
	// Whoever is woken may have another reason to go, so the timer runs all the same.
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

// wanted has somebody read at once, where nobody does: a sender waits for what only a reader can see; mu is held.
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
