package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waft-project/waft/distributor/inbox"
)

// requests gives what is sent on it, and io.EOF when it is closed.
type requests chan int

func (r requests) receive() (int, error) {
	if one, ok := <-r; ok {
		return one, nil
	}
	return 0, io.EOF
}

// run runs an inbox, and gives what has it end.
func run(i *inbox.Inbox[int]) <-chan error {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- fmt.Errorf("panicked: %v", p)
			}
		}()
		ended <- i.Run()
	}()
	return ended
}

// Requests and news are taken one at a time, and none is lost.
func TestOneAtATime(t *testing.T) {
	var crew inbox.Crew
	from := make(requests)
	var inside, sum, news int // without a lock: the race detector sees who is not alone
	var due atomic.Int64
	alone := func() {
		if inside++; inside != 1 {
			t.Error("two at a time")
		}
		inside--
	}
	seen := make(chan struct{}, 1)
	i := inbox.New(t.Context(), &crew, from.receive, inbox.Handler[int]{
		Request: func(n int) error { alone(); sum += n; return nil },
		News: func() error {
			alone()
			news += int(due.Swap(0))
			select {
			case seen <- struct{}{}:
			default:
			}
			return nil
		},
	})
	ended := run(i)
	const many = 5000
	var waking sync.WaitGroup
	for range 4 {
		waking.Go(func() {
			for range many {
				due.Add(1)
				i.Wake()
			}
		})
	}
	for range many {
		from <- 1
	}
	waking.Wait()
	for due.Load() > 0 {
		<-seen // the last wake is looked at, whoever had the turn when it came
	}
	close(from)
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if sum != many || news != 4*many {
		t.Errorf("%d of %d requests, %d of %d news", sum, many, news, 4*many)
	}
}

// News that come while a request is reacted to are looked at after it.
func TestNewsDuringARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var crew inbox.Crew
		from, reacted, looked := make(requests), make(chan struct{}), make(chan struct{})
		i := inbox.New(t.Context(), &crew, from.receive, inbox.Handler[int]{
			Request: func(int) error { <-reacted; return nil },
			News:    func() error { close(looked); return nil },
		})
		ended := run(i)
		from <- 1
		i.Wake()
		synctest.Wait() // whoever was to look has found the handler busy
		close(reacted)
		<-looked
		close(from)
		<-ended
	})
}

func TestEnds(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		h    inbox.Handler[int]
		wake bool
		want string
	}{
		"by a request":          {h: inbox.Handler[int]{Request: func(int) error { return broken }}, want: "broken"},
		"by news":               {h: inbox.Handler[int]{News: func() error { return broken }}, wake: true, want: "broken"},
		"by a request's panic":  {h: inbox.Handler[int]{Request: func(int) error { panic("oh") }}, want: "panicked: oh"},
		"by a panic about news": {h: inbox.Handler[int]{News: func() error { panic("oh") }}, wake: true, want: "panicked: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var crew inbox.Crew
				from := make(requests)
				calls, h := 0, test.h
				i := inbox.New(t.Context(), &crew, from.receive, inbox.Handler[int]{
					Request: func(n int) error { calls++; return h.Request(n) },
					News:    func() error { calls++; return h.News() },
				})
				ended := run(i)
				if test.wake {
					i.Wake()
				} else {
					from <- 1
				}
				if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), test.want) {
					t.Errorf("%v", err)
				}
				i.Wake() // changes nothing any more, nor does a request
				from <- 2
				synctest.Wait()
				close(from) // else what receives would be left, which synctest finds
				if calls != 1 {
					t.Errorf("the handler was called %d times", calls)
				}
			})
		})
	}
}

// Streams whose clients do not read, or read slowly, keep no other waiting for long, however many they are.
func TestACrewThatIsStuck(t *testing.T) {
	const bad = 1000
	for name, test := range map[string]struct {
		kept func(release <-chan struct{})
		// within is of synctest's clock.
		within time.Duration
	}{
		"not read":    {func(release <-chan struct{}) { <-release }, time.Second},
		"read slowly": {func(<-chan struct{}) { time.Sleep(10 * time.Second) }, time.Second},
		"read":        {func(<-chan struct{}) { time.Sleep(time.Millisecond) }, bad * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crew := inbox.CrewWhere(false)
				var all sync.WaitGroup
				all.Add(bad)
				release, looked := make(chan struct{}), make(chan time.Time, 1)
				for range bad {
					inbox.New(t.Context(), crew, nil, inbox.Handler[int]{News: func() error { defer all.Done(); test.kept(release); return nil }}).Wake()
				}
				begun := time.Now()
				inbox.New(t.Context(), crew, nil, inbox.Handler[int]{News: func() error { looked <- time.Now(); return nil }}).Wake()
				if took := (<-looked).Sub(begun); took > test.within {
					t.Errorf("it took %v", took)
				}
				close(release)
				all.Wait()
			})
		})
	}
}

// A fleet whose clients each take a while to read what they are sent (a slow line, a window smaller than the response): with a goroutine for each stream the last
// is told after that while, and with a crew not much later.
func TestACrewOfSlowClients(t *testing.T) {
	for _, each := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second} {
		t.Run(each.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const fleet = 5000
				crew := inbox.CrewWhere(false)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var all sync.WaitGroup
				all.Add(fleet)
				begun := time.Now()
				for range fleet {
					inbox.New(ctx, crew, func() (int, error) { <-ctx.Done(); return 0, ctx.Err() }, inbox.Handler[int]{News: func() error {
						time.Sleep(each/2 + rand.N(each)) // no two lines are alike
						all.Done()
						return nil
					}}).Wake()
				}
				all.Wait()
				took := time.Since(begun)
				t.Logf("each %v: the last of %d after %v", each, fleet, took)
				if took > 2*each+time.Second {
					t.Errorf("each takes %v, and the last of %d was through after %v", each, fleet, took)
				}
			})
		})
	}
}

// Streams that take the processor for long, as where a response is large, are looked at by as many as there are processors, and no more; but where all of those are
// stuck, others get on, however busy the processors are.
func TestACrewThatComputes(t *testing.T) {
	for name, test := range map[string]struct {
		each time.Duration // of synctest's clock
		most func(processors int) int
	}{
		"computes": {5 * time.Millisecond, func(processors int) int { return processors }},
		"stuck":    {time.Minute, func(int) int { return 1000 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const fleet = 1000
				crew := inbox.CrewWhere(true)
				var at, most atomic.Int64
				var all sync.WaitGroup
				all.Add(fleet)
				begun := time.Now()
				for range fleet {
					inbox.New(t.Context(), crew, nil, inbox.Handler[int]{News: func() error {
						for n := at.Add(1); ; {
							if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
								break
							}
						}
						time.Sleep(test.each)
						at.Add(-1)
						all.Done()
						return nil
					}}).Wake()
				}
				all.Wait()
				if n, limit := int(most.Load()), test.most(runtime.GOMAXPROCS(0)); n > limit {
					t.Errorf("%d were at streams at once, of %d", n, limit)
				}
				if took, limit := time.Since(begun), 2*time.Minute; took > limit {
					t.Errorf("it took %v, more than %v", took, limit)
				}
			})
		})
	}
}
