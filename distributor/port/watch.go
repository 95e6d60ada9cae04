package port

import (
	"errors"
	"time"
)

// watch looks at all connections again and again, until the server stops: so that time costs a connection no goroutine, and no timer.
func (s *Server) watch() {
	every := time.NewTicker(s.cfg.look())
	defer every.Stop()
	var conns []*conn
	for {
		select {
		case <-s.ended:
			return
		case now := <-every.C:
			conns = s.all(conns[:0])
			for i, c := range conns {
				c.look(now)
				conns[i] = nil
			}
		}
	}
}

// Why connections are ended by time.
var (
	errSlow   = errors.New("its client does not read")
	errSilent = errors.New("its client does not answer")
	errOld    = errors.New("its client has not left although it was told to")
)

// look does what is due at a connection.
func (c *conn) look(now time.Time) {
	why := c.due(now)
	if why == nil {
		return
	}
	c.server.cfg.Log.Debug("a connection is ended", "from", c.raw.RemoteAddr().String(), "error", why)
	c.end(why)
}

// due says why a connection is to be ended; nil: it is not.
func (c *conn) due(now time.Time) error {
	cfg := &c.server.cfg
	if since := c.writing.Load(); since != 0 && cfg.Patience > 0 && now.UnixNano()-since > int64(cfg.Patience) {
		return errSlow
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.serves || c.ended {
		return nil // its handshake has a deadline
	}
	if c.blocked > 0 && cfg.Patience > 0 {
		for _, s := range c.streams {
			if s.blocked > 0 && now.Sub(s.since) > cfg.Patience {
				return errSlow
			}
		}
	}
	if c.heard.Swap(false) {
		c.listened, c.asked = now, time.Time{}
	}
	switch {
	case !c.asked.IsZero():
		if now.Sub(c.asked) > cfg.Answer {
			return errSilent
		}
	case now.Sub(c.listened) >= cfg.Silence:
		c.asked = now
		c.put(appendPing(nil, false, [8]byte{}))
	}
	if c.age > 0 && !c.leaves && now.Sub(c.begun) >= c.age {
		c.drainLocked(now.Add(cfg.Grace))
	}
	if c.leaves && now.Sub(c.told) >= leaving {
		c.lastCall()
	}
	if c.drained() {
		return errDrained
	}
	if !c.closes.IsZero() && now.After(c.closes) {
		return errOld
	}
	return nil
}
