package inbox

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Crew looks at the news of many streams, in the order in which they are woken. A few goroutines are enough for thousands of streams, whatever each costs: as many
// as there are processors. Where they mostly wait, for clients that are far or do not read what they are sent, there are twice as many after each round; not where it is
// a processor that they lack, as for responses that are large: each that is at a stream has its buffers, and no more of them would be done sooner. The zero value is ready. It may be used concurrently.
type Crew struct {
	mu sync.Mutex
	// queue are the streams that wait, from first on.
	queue []looker
	first int
	// working are those who go from stream to stream.
	working int
	// reviewed: somebody looks once a round how they get on, and taken is how many streams they have gone to in this one.
	reviewed bool
	taken    int
	// busy says whether one more would wait for a processor; nil: as the runtime knows. Tests, whose time stands still, say so themselves.
	busy func() bool
}

// looker is a stream with news.
type looker interface{ look() }

const (
	// maxKept is for how many streams room is kept while none waits.
	maxKept = 1 << 10
	// aRound is the time between two reviews.
	aRound = 20 * time.Millisecond
	// brisk is to how many streams somebody goes in a round, at the least, who does not mostly wait: what a stream costs the processor is some 20 µs, and a busy machine
	// gives a tenth of its time.
	brisk = 16
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
		c.reviewed, c.taken = true, 0
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

// review hires as many more where those who are there mostly wait.
func (c *Crew) review() {
	busy := c.isBusy() // the runtime may take its time for that, and whoever wakes a stream waits for mu
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := len(c.queue) - c.first
	if waiting == 0 {
		c.reviewed = false
		return
	}
	if c.taken == 0 || c.taken < brisk*c.working && !busy {
		c.hire(min(c.working, waiting))
	}
	c.taken = 0
	time.AfterFunc(aRound, c.review)
}

func (c *Crew) isBusy() bool {
	if c.busy != nil {
		return c.busy()
	}
	return busy()
}
