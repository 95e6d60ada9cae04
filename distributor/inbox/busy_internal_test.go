package inbox

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// CrewWhere makes a crew that is told whether the processors are busy.
func CrewWhere(busy bool) *Crew { return &Crew{busy: func() bool { return busy }} }

// Processors are busy while more goroutines compute than there are of them.
func TestBusy(t *testing.T) {
	var done atomic.Bool
	t.Cleanup(func() { done.Store(true) })
	await := func(want bool) {
		t.Helper()
		for until := time.Now().Add(time.Minute); busy() != want; runtime.Gosched() {
			if time.Now().After(until) {
				t.Fatalf("the processors are said to be busy: %v", !want)
			}
		}
	}
	computing := func() {
		for !done.Load() {
		}
	}
	for range runtime.GOMAXPROCS(0) + 1 {
		go computing()
	}
	await(true) // a goroutine that has just been made may not be seen yet, and this one has a processor, too
	done.Store(true)
	await(false)
}

// Streams are woken while somebody asks whether the processors are busy.
func TestWakeDoesNotWaitForTheRuntime(t *testing.T) {
	c := &Crew{reviewed: true, queue: []looker{idle{}}}
	asked := false
	c.busy = func() bool {
		if asked = c.mu.TryLock(); asked {
			c.queue, c.first = nil, 0 // so that there is no other review
			c.mu.Unlock()
		}
		return true
	}
	c.working, c.taken = 1, 1
	c.review()
	if !asked {
		t.Error("the crew is locked meanwhile")
	}
}

// idle is a stream at which there is nothing to do.
type idle struct{}

func (idle) look() {}
