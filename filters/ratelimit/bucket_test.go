package main

import (
	"testing"
	"time"
)

// TestBucket compares the one number of a bucket with a bucket that holds tokens.
func TestBucket(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		requests, burst int64
		per             time.Duration
	}{{10, 10, time.Second}, {1, 5, time.Minute}, {1000, 1, time.Second}, {7, 3, time.Hour}, {1_000_000, 1_000_000, time.Second}} {
		b := newBucket(test.requests, test.burst, test.per)
		tokens, last, fullAt := float64(test.burst), int64(0), int64(0)
		now := int64(1_000_000_000)
		last = now
		random := uint64(1)
		for i := range 10_000 {
			random = random*6364136223846793005 + 1442695040888963407
			now += int64(random>>33) % (2 * int64(b.interval))
			if i%100 < 30 {
				now = last // a burst
			}
			tokens = min(float64(test.burst), tokens+float64(now-last)/float64(b.interval))
			last = now
			const slack = 1e-6
			var v verdict
			fullAt, v = b.take(fullAt, now)
			if v.ok && tokens < 1-slack || !v.ok && tokens > 1+slack {
				t.Fatalf("%v: request %d: ok %v with %f tokens", test, i, v.ok, tokens)
			}
			if v.ok {
				tokens--
			}
			if left := float64(v.remaining); left > tokens+slack || left < tokens-1-slack {
				t.Fatalf("%v: request %d: %v remaining of %f", test, i, v.remaining, tokens)
			}
			if v.wait > 0 {
				if _, early := b.take(fullAt, now+int64(v.wait)-1); early.ok {
					t.Fatalf("%v: request %d: passes before the wait is over", test, i)
				}
				if _, after := b.take(fullAt, now+int64(v.wait)); !after.ok {
					t.Fatalf("%v: request %d: is denied after the wait", test, i)
				}
			}
		}
	}
}
