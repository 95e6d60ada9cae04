package mcp

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
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

// pushbackKey is the trailer by which gRPC's servers say when to come again, in milliseconds:
// https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
const pushbackKey = "grpc-retry-pushback-ms"

// maxRest bounds what a source may ask for by that.
const maxRest = time.Minute

// restAsked is for how long whoever has ended a stream asks to be left alone; 0 where nothing is said.
func restAsked(trailer metadata.MD) time.Duration {
	for _, text := range trailer.Get(pushbackKey) {
		if ms, err := strconv.ParseInt(text, 10, 32); err == nil && ms > 0 {
			return min(time.Duration(ms)*time.Millisecond, maxRest)
		}
	}
	return 0
}
