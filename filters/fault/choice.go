package main

import (
	"strconv"
	"time"
)

// choice is what becomes of a request.
type choice struct {
	delay time.Duration // 0: none
	abort int           // the status; 0: none
}

// wishes are what the headers of a request ask for, empty where they ask for nothing or may not.
type wishes struct{ delay, abort string }

// choose decides by two numbers from 0 to 100, one for the delay and one for the abort, so that each has its own share.
func (f *Fault) choose(w wishes, delayRoll, abortRoll float64) choice {
	var c choice
	if d := f.Delay; d != nil {
		ms, asked := parse(w.delay, 1)
		switch {
		case asked:
			c.delay = time.Duration(min(ms, d.MaxMilliseconds)) * time.Millisecond
		case delayRoll < d.Percent:
			c.delay = time.Duration(d.Milliseconds) * time.Millisecond
		}
	}
	if a := f.Abort; a != nil {
		status, asked := parse(w.abort, minStatus)
		switch {
		case asked && status <= maxStatus:
			c.abort = status
		case abortRoll < a.Percent:
			c.abort = a.Status
		}
	}
	return c
}

// The statuses that a header may ask for.
const (
	minStatus = 400
	maxStatus = 599
)

// parse reads a number of at least some size. What is none asks for nothing.
func parse(text string, least int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= least
}
