package registry

import (
	"context"
	"time"
)

// Clock is what the time is and how to wait for it, so that tests need not wait. It must be safe for concurrent use.
type Clock interface {
	Now() time.Time
	// Sleep waits, and gives the context's cause if that ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// machineClock is the machine's own clock.
type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
