package inbox

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Crew looks at the news of many streams, in the order in which they are woken. A few goroutines are enough for thousands of streams, whatever each costs: as many
// as there are processors. For each that is kept for long by a client which does not read what it is sent, there is one more. The zero value is ready. It may be used
// concurrently.
type Crew struct {
	mu sync.Mutex
	// queue are the streams that wait, from first on.
	queue []looker
	first int
	// working are those who go from stream to stream.
	working int
	// reviewed: somebody looks once a round who of them gets on. round counts that, and moved are those who have gone to a stream in this one.
	reviewed     bool
	round, moved int
}

// looker is a stream with news.
type looker interface{ look() }

const (
	// maxKept is for how many streams room is kept while none waits.
	maxKept = 1 << 10
	// aRound is the time between two reviews: who has not left a stream from one to the next has somebody else do the work.
	aRound = 20 * time.Millisecond
)

// add has somebody look at a stream.
func (c *Crew) add(l looker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first > len(c.queue)/2 {
		c.queue, c.first = slices.Delete(c.queue, 0, c.first), 0
	}
	c.queue = append(c.queue, l)
	if c.working < runtime.GOMAXPROCS(0) {
		c.hire(1)
	} else if !c.reviewed {
		c.reviewed = true
		time.AfterFunc(aRound, c.review)
	}
}

// hire has more go from stream to stream; mu is held.
func (c *Crew) hire(more int) {
	c.working += more
	for range more {
		go c.work()
	}
}

// work goes from stream to stream until none waits.
func (c *Crew) work() {
	last := -1
	for {
		c.mu.Lock()
		if c.first == len(c.queue) {
			if cap(c.queue) > maxKept {
				c.queue = nil
			}
			c.queue, c.first = c.queue[:0], 0
			c.working--
			c.mu.Unlock()
			return
		}
		l := c.queue[c.first]
		c.queue[c.first] = nil
		c.first++
		if last != c.round {
			last = c.round
			c.moved++
		}
		c.mu.Unlock()
		l.look()
	}
}

// review hires one for each who was at the same stream for a whole round.
func (c *Crew) review() {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := len(c.queue) - c.first
	if waiting == 0 {
		c.reviewed = false
		return
	}
	stuck := max(c.working-c.moved, 0)
	c.round++
	c.moved = 0
	c.hire(min(stuck, waiting))
	time.AfterFunc(aRound, c.review)
}
