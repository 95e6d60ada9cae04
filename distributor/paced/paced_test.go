package paced

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestPacesAreForgottenWhenTheyMakeNoDifference(t *testing.T) {
	p := New(1000, 10)
	one := p.Join("a")
	take(one, 5)
	if p.Join("a") != one {
		t.Error("a second stream begins anew")
	}
	p.Leave("a")
	p.Leave("a")
	known := func() []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		var out []string
		for name := range p.nodes {
			out = append(out, name)
		}
		return out
	}
	for late := time.Now().Add(20 * time.Second); len(known()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("kept: %v", known())
		}
	}
	// One that is used again meanwhile stays.
	one = p.Join("b")
	take(one, 10)
	p.Leave("b")
	again := p.Join("b")
	if again != one {
		t.Error("what b did was forgotten at once")
	}
	p.mu.Lock()
	p.forget("b", one) // as the timer of the first stream does
	p.mu.Unlock()
	if got := known(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("known: %v", got)
	}
}

func take(p *Pace, n int) (last Turn) {
	for range n {
		last = p.Take()
	}
	return last
}

// However many wait, none waits for longer than the burst takes, and those that go leave their places to the others.
func TestNobodyWaitsForThoseThatHaveGone(t *testing.T) {
	const burst = 10
	one := New(1.0/3600, burst).Join("a")
	if last := take(one, burst); last.Wait != 0 {
		t.Fatalf("the burst waits for %v", last.Wait)
	}
	hours := func(turn Turn) int { return int(turn.Wait.Round(time.Hour) / time.Hour) }
	first, second := one.Take(), one.Take()
	if hours(first) != 1 || hours(second) != 2 {
		t.Fatalf("the first that waits does so for %v, the second for %v", first.Wait, second.Wait)
	}
	first.giveBack() // not the last that came
	second.giveBack()
	if again := one.Take(); hours(again) != 1 {
		t.Errorf("behind two that have gone the next waits for %v", again.Wait)
	}
	most := take(one, 100)
	if hours(most) != burst {
		t.Errorf("behind a hundred one waits for %v", most.Wait)
	}
	most.giveBack() // it never had a place
	if again := one.Take(); hours(again) != burst {
		t.Errorf("a place that nobody had was given back: the next waits for %v", again.Wait)
	}
}

// A stream that waits for its turn ends where it goes, or the server stops; what it took then counts for nobody.
func TestRestEnds(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ends := range map[string][2]context.Context{"the stream": {gone, t.Context()}, "the server": {t.Context(), gone}} {
		t.Run(name, func(t *testing.T) {
			const burst = 5
			pace := New(0.001, burst).Join("n")
			for range burst {
				if err := pace.Take().Rest(t.Context(), t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			turn := pace.Take()
			if err := turn.Rest(ends[0], ends[1]); !errors.Is(err, context.Canceled) {
				t.Errorf("it has waited for %v, or ends with %v", turn.Wait, err)
			}
			if next := pace.Take(); next.Wait > turn.Wait {
				t.Errorf("the next waits for %v, where the one that went was to wait for %v", next.Wait, turn.Wait)
			}
		})
	}
}
