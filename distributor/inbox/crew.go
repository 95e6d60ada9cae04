package inbox

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Crew looks at the news of many streams, in the order in which they are woken. A few goroutines are enough for thousands of streams, whatever each costs: as many
// as there are processors. Where these are kept by clients that do not read what they are sent, there are more. The zero value is ready. It may be used concurrently.
type Crew struct {
	mu sync.Mutex
	// queue are the streams that wait, from first on.
	queue []looker
	first int
	// working are those who go from stream to stream, and taken is how many streams they have gone to.
	working int
	taken   uint64
	// timed: somebody looks from time to time whether the crew gets on; seen is how far it was the last time.
	timed bool
	seen  uint64
}

// looker is a stream with news.
type looker interface{ look() }

// maxKept is for how many streams room is kept while none waits.
const maxKept = 1 << 10

// stuck is for how long nobody may go to a stream that waits before there are twice as many who can.
const stuck = 5 * time.Millisecond

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
	} else if !c.timed {
		c.timed, c.seen = true, c.taken
		time.AfterFunc(stuck, c.review)
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
		c.taken++
		c.mu.Unlock()
		l.look()
	}
}

// review hires where nobody gets on.
func (c *Crew) review() {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := len(c.queue) - c.first
	if waiting == 0 {
		c.timed = false
		return
	}
	if c.taken == c.seen {
		c.hire(min(c.working, waiting))
	}
	c.seen = c.taken
	time.AfterFunc(stuck, c.review)
}
