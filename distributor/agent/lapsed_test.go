package agent

import (
	"log/slog"
	"testing"
	"time"
)

func TestLapsedAgainAndAgain(t *testing.T) {
	var l *lapsed
	for i, most := range []time.Duration{0, lapsedRetryMin, 2 * lapsedRetryMin, 4 * lapsedRetryMin, 8 * lapsedRetryMin, 16 * lapsedRetryMin, 32 * lapsedRetryMin, lapsedRetryMax, lapsedRetryMax} {
		l = lapsedOnceMore(l, newHash, stepServe, "why", noon)
		if least := most / 2; l.Times != i+1 || most == 0 && !l.Until.IsZero() || most > 0 && (l.Until.Before(noon.Add(least)) || l.Until.After(noon.Add(most))) {
			t.Errorf("time %d: %+v, and it should wait for %s at the most", i+1, l, most)
		}
		if l.holds(newChain(), noon) != (most > 0) || l.holds(newChain(), noon.Add(most)) || l.holds(goodChain(), noon) || l.holds(nil, noon) {
			t.Errorf("time %d: it holds up another chain, for too long, or not at all", i+1)
		}
	}
	// The clock was set back while no agent ran.
	if got := l.bounded(noon.Add(-24 * time.Hour)); got.holds(newChain(), noon.Add(-24*time.Hour).Add(lapsedRetryMax)) || !got.holds(newChain(), noon.Add(-24*time.Hour)) {
		t.Errorf("after the clock was set back: %+v", got)
	}
	if other := lapsedOnceMore(l, goodHash, stepServe, "why", noon); other.Times != 1 || !other.Until.IsZero() {
		t.Errorf("another chain: %+v", other)
	}
	if pause := lapsedPause(1 << 30); pause != lapsedRetryMax {
		t.Errorf("it waits for %s", pause)
	}
}

// What has lapsed is on disk: whatever ends Envoy ends the agent with it.
func TestLapsedIsKept(t *testing.T) {
	dir := t.TempDir()
	life := func(trial *chain, do func(*driver)) {
		t.Helper()
		state, damaged, err := openState(dir)
		if err != nil || damaged != nil {
			t.Fatal(err, damaged)
		}
		defer func() { _ = state.close() }()
		if err := state.change(func(r *record) { r.Good, r.Trial = goodChain(), trial }); err != nil {
			t.Fatal(err)
		}
		d := &driver{state: state, log: slog.New(slog.DiscardHandler), host: newHost(Config{}), reporter: newReporter(nil, nil, nil, nil)}
		d.inherit()
		if r := state.read(); r.Trial != nil {
			t.Error("it is still on trial")
		}
		do(d)
	}
	want := func(times int, held bool) func(*driver) {
		return func(d *driver) {
			t.Helper()
			if d.lapsed == nil || d.lapsed.Times != times || d.lapsed.holds(newChain(), time.Now()) != held {
				t.Errorf("it is %+v, and should be %d times, held up: %v", d.lapsed, times, held)
			}
		}
	}
	life(newChain(), want(1, false))
	life(newChain(), want(2, true))
	life(nil, want(2, true))
	life(nil, func(d *driver) {
		want(2, true)(d)
		d.reporter.heard, d.reporter.retry = true, 1
		if d.heed(); d.lapsed != nil || d.state.read().Lapsed != nil {
			t.Error("a person has asked to try it again, and it waits")
		}
	})
	life(newChain(), want(1, false))
	life(newChain(), func(d *driver) {
		want(2, true)(d)
		if err := d.keepGood(newChain()); err != nil || d.lapsed != nil || d.state.read().Lapsed != nil {
			t.Errorf("it is good, and waits, or %v", err)
		}
	})
}
