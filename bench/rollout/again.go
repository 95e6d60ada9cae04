package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"google.golang.org/grpc"
)

// What the rest of a fleet's life costs, beside rollouts: mostly nothing happens, and now and then all come back at once.

const (
	// againLimit bounds the coming back of a fleet.
	againLimit = 3 * time.Minute
	// againPause is about how long a node waits that was refused.
	againPause = time.Second
	// lookEvery is how often a fleet that comes back is looked at.
	lookEvery = 50 * time.Millisecond
)

// idle is the distributor's share of a core while its fleet is connected and no rollout runs, for so long.
func (d *distributor) idle(ctx context.Context, alone time.Duration) (float64, error) {
	before, err := d.quiet(ctx)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := pause(ctx, alone); err != nil {
		return 0, err
	}
	after, err := d.scrape(ctx)
	if err != nil {
		return 0, err
	}
	return (after.value(cpuMetric) - before.value(cpuMetric)) / time.Since(begun).Seconds(), nil
}

// again is what a fleet cost that came back.
type again struct {
	// Seconds is until every node has been given its chain and serves it, without the time that nodes take for that themselves.
	Seconds float64 `json:"seconds"`
	// Refused is how often a node did not get in, and came again.
	Refused int64 `json:"refused"`
	// Before is the distributor's memory when the fleet had gone, and Peak the most it had until all were served, in MB.
	Before float64 `json:"before_mb"`
	Peak   float64 `json:"peak_mb"`
}

// comeBack has as many nodes connect at once as a fleet had that has gone. They are new processes that hold nothing, so that each is given all that it runs.
func (b *bench) comeBack(ctx context.Context, d *distributor, nodes int) (again, error) {
	if _, err := d.quiet(ctx); err != nil {
		return again{}, err
	}
	a := again{Before: resident(d.pid)}
	ctx, cancel := context.WithTimeout(ctx, againLimit)
	defer cancel()
	begun := time.Now()
	f := newFleet(ctx)
	f.stubborn = true
	defer f.close()
	connected := make(chan error, 1)
	go func() { connected <- f.open(d.GRPC, nodes, b.step, nodes) }()
	for f.serving.Load() < int64(nodes) {
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("%d of %d nodes serve again: %w", f.serving.Load(), nodes, ctx.Err())
		case err := <-connected:
			if err != nil {
				return a, err
			}
		case <-time.After(lookEvery):
		}
		a.Peak = max(a.Peak, resident(d.pid))
	}
	a.Seconds, a.Refused = (time.Since(begun) - 2*b.step).Seconds(), f.refused.Load()
	return a, f.err()
}

// insist connects a node, as often as it takes.
func (f *fleet) insist(address, id string, step time.Duration) (*grpc.ClientConn, error) {
	for {
		conn, err := f.connect(f.running, address, id, step)
		if err == nil || f.running.Err() != nil {
			return conn, err
		}
		if conn != nil {
			_ = conn.Close() // it is of no use
		}
		f.refused.Add(1)
		_ = pause(f.running, againPause/2+rand.N(againPause)) // connect says that it has ended
	}
}

// resident is the memory of a process, in MB; 0 where it is not known.
func resident(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var size, pages float64
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize()) / 1e6
}
