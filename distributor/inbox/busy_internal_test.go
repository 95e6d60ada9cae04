package inbox

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// CrewWhere makes a crew that is told whether the processors are busy.
func CrewWhere(busy bool) *Crew { return &Crew{busy: func() bool { return busy }} }

// Processors are busy while more goroutines compute than there are of them.
func TestBusy(t *testing.T) {
	var done atomic.Bool
	computing := func() {
		for !done.Load() {
		}
	}
	for range runtime.GOMAXPROCS(0) + 1 {
		go computing()
	}
	for !busy() { // a goroutine that has just been made may not be seen yet, and this one has a processor, too
		runtime.Gosched()
	}
	done.Store(true)
	for busy() {
		runtime.Gosched()
	}
}
