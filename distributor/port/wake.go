package port

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/waft-project/waft/distributor/inbox"
)

// A receiver can be woken for another reason than a message: its handler then needs no goroutine beside it that waits for whatever else there is. One that reads
// the connection is woken by a deadline that is over, which ends its reading between two frames only. A client that is in the midst of one has a while for the rest.

// Wake is inbox.Waker's.
func (t *transport) Wake() { (*stream)(t).wake() }

var _ inbox.Waker = (*transport)(nil)

func (s *stream) wake() {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.woken || s.err != nil {
		return
	}
	s.woken = true
	if c.reader == s && !c.ended {
		c.interrupted = true
		_ = c.raw.SetReadDeadline(past) // a connection that has gone has its reader say so
		return
	}
	s.cond.Broadcast()
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// rouse says whether a receiver was woken, once; mu is held.
func (s *stream) rouse() bool {
	if !s.woken {
		return false
	}
	s.woken = false
	if s.conn.reader == s { // else it is another's reading that has ended
		s.conn.resume()
	}
	return true
}

// resume has the connection read again that wake has ended the reading of; mu is held.
func (c *conn) resume() {
	if !c.interrupted {
		return
	}
	c.interrupted, c.hastened = false, false
	if !c.ended { // else its reading has a deadline of another kind
		_ = c.raw.SetReadDeadline(time.Time{})
	}
}

// restOfFrame is how long a client may take for the rest of a frame in which the receiver was woken that reads it: the connection ends where it takes longer, since
// a stream that is to end could not otherwise.
const restOfFrame = 5 * time.Second

// errInterrupted: there is no frame yet, and whoever waits for one is to look what else there is.
var errInterrupted = errors.New("somebody who reads was woken")

// source is what frames are read from.
type source struct {
	conn *conn
	from io.Reader
	// within: a part of a frame has come.
	within bool
}

// Read is io.Reader's.
func (r *source) Read(b []byte) (int, error) {
	for {
		n, err := r.from.Read(b)
		if n > 0 {
			r.within = true
			return n, nil // an error comes again
		}
		late, ok := errors.AsType[net.Error](err)
		if !ok || !late.Timeout() {
			return n, err
		}
		if err, ok := r.conn.late(r.within, err); !ok {
			return n, err
		}
	}
}

// late says what becomes of a reading whose deadline is over: whether it goes on, or else with what it ends.
func (c *conn) late(within bool, err error) (_ error, goesOn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.interrupted || c.ended || c.hastened:
		return err, false
	case !within:
		c.resume()
		return errInterrupted, false
	}
	c.hastened = true
	_ = c.raw.SetReadDeadline(time.Now().Add(restOfFrame))
	return nil, true
}
