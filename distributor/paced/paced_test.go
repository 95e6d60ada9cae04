package paced

import (
	"slices"
	"testing"
	"time"
)

func TestPacesAreForgottenWhenTheyMakeNoDifference(t *testing.T) {
	p := New(1000, 10)
	one := p.Join("a")
	one.limiter.ReserveN(time.Now(), 5)
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
	one.limiter.ReserveN(time.Now(), 10)
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
