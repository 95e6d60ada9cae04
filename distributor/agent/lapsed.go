package agent

import (
	"cmp"
	"fmt"
	"time"
)

// A chain has lapsed when Envoy ended while it loaded it, or while nobody saw it on trial. It is tried again at once, since it need not be why: an upgrade of the machine ends
// Envoy, too. One that lapses again and again may be what ends it, with the agent and all: it is tried again after lapsedRetryMin, doubling to lapsedRetryMax.
const (
	lapsedRetryMin = time.Minute
	lapsedRetryMax = time.Hour
)

// lapsed is how often in a row a chain has lapsed.
type lapsed struct {
	// Chain is its version.
	Chain string `json:"chain"`
	Times int    `json:"times"`
	// Step it last did at; empty: see at.
	Step step `json:"step,omitempty"`
	// Reason is why the last did.
	Reason string `json:"reason"`
	// Until is when it is tried again; zero: at once.
	Until time.Time `json:"until,omitzero"`
}

// at is the step that it last lapsed at. Agents before this one kept trials only.
func (l *lapsed) at() step { return cmp.Or(l.Step, stepServe) }

// lapsedPause is how long a chain waits that has lapsed that often.
func lapsedPause(times int) time.Duration {
	if times < 2 {
		return 0
	}
	pause := lapsedRetryMin
	for range times - 2 {
		if pause = min(2*pause, lapsedRetryMax); pause == lapsedRetryMax {
			break
		}
	}
	return pause
}

// lapsedOnceMore is l after the chain has lapsed at a step; l may be nil, or about another chain, of which nothing is remembered then.
func lapsedOnceMore(l *lapsed, chain string, at step, reason string, now time.Time) *lapsed {
	next := lapsed{Chain: chain, Times: 1, Step: at, Reason: reason}
	if l != nil && l.Chain == chain {
		next.Times = l.Times + 1
	}
	if pause := lapsedPause(next.Times); pause > 0 {
		next.Until = now.Add(jitter(pause))
	}
	return &next
}

// bounded is l, as an earlier life of the agent kept it, without a wait that is longer than it can have been: the clock was set back since.
func (l *lapsed) bounded(now time.Time) *lapsed {
	if l == nil {
		return nil
	}
	next := *l
	if latest := now.Add(lapsedPause(l.Times)); next.Until.After(latest) {
		next.Until = latest
	}
	return &next
}

// holds says whether a chain is not to be tried yet.
func (l *lapsed) holds(c *chain, now time.Time) bool {
	return l != nil && c != nil && l.Chain == c.version() && now.Before(l.Until)
}

// because says why.
func (l *lapsed) because() string {
	return fmt.Sprintf("its loading or its trial has lapsed %d times in a row, the last time because %s; it is tried again at %s",
		l.Times, l.Reason, l.Until.UTC().Format(time.RFC3339))
}
