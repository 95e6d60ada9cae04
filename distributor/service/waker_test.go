package service

import (
	"testing"
	"time"
)

func TestWaker(t *testing.T) {
	w := newWaker()
	if due, left := w.take(); due || left != -1 {
		t.Errorf("nothing was asked for: %t, %s", due, left)
	}
	w.wake(0)
	w.restFor(time.Hour)
	if due, left := w.take(); due || left < time.Minute {
		t.Errorf("a wake came while the loop rests: %t, %s", due, left)
	}
	w.restFor(0)
	if due, _ := w.take(); !due {
		t.Error("what was asked for while the loop rested was lost")
	}
	w.wake(time.Hour)
	w.wake(2 * time.Hour)
	if due, left := w.take(); due || left > time.Hour {
		t.Errorf("the earlier of two wakes is not the one that counts: %t, %s", due, left)
	}
	w.wake(0)
	if due, _ := w.take(); !due {
		t.Error("a rest that is over puts off another wake")
	}
	if due, left := w.take(); due || left != -1 {
		t.Errorf("a wake came twice: %t, %s", due, left)
	}
}
