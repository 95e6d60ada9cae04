package port

import (
	"net"
	"testing"
	"time"
)

// Connections that begin at once grow old at different times: each quarter of the time over which they do has its part of them.
func TestAgesDiffer(t *testing.T) {
	const age, many, quarters = 30 * time.Minute, 400, 4
	s := NewServer(Config{Age: age})
	least := time.Duration(float64(age) * (1 - ageJitter))
	over := time.Duration(float64(age) * 2 * ageJitter)
	if over == 0 {
		t.Fatal("all ages are the same")
	}
	var of [quarters]int
	for range many {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		at := newConn(s, near).age - least
		if at < 0 || at > over {
			t.Fatalf("an age of %v, of those from %v over %v", least+at, least, over)
		}
		of[min(int(at*quarters/over), quarters-1)]++
	}
	for i, n := range of {
		if n < many/quarters/2 { // by chance it is less once in far more than a million runs
			t.Errorf("quarter %d of the ages has %d of %d connections: %v", i+1, n, many, of)
		}
	}
}
