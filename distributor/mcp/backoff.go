package mcp

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives the pauses between attempts of the end that dials.
type backoff struct {
	min, max time.Duration
	// pause is the next one, before jitter; zero: min.
	pause time.Duration
}

// next is how long to wait now. The pause after it is twice as long, up to max.
func (b *backoff) next() time.Duration {
	pause := max(b.pause, b.min)
	b.pause = min(2*pause, b.max)
	// Half to whole of the pause: those that lost their peer together do not come back together.
	return pause/2 + rand.N(pause/2+1)
}

// reset begins with min again, after an attempt that was well.
func (b *backoff) reset() { b.pause = b.min }

// sleep waits, or gives ctx's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
