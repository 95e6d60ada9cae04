package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// row is what one server did for one fleet in one dialect.
type row struct {
	Server  string `json:"server"`
	Dialect string `json:"dialect"`
	Nodes   int    `json:"nodes"`
	// P50 and P99 are of the time from a change to a node's ACK, over all nodes and changes.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	// RSS is the server's memory after the last change, Empty what it had before the first node came, and Peak the most in between.
	RSS   float64 `json:"server_rss_mb"`
	Empty float64 `json:"server_empty_mb"`
	Peak  float64 `json:"server_peak_mb"`
	// CPU is the server's for Updates, each of which is a change that a node has accepted.
	CPU     float64 `json:"server_cpu_s"`
	Updates int     `json:"updates"`
	// Goroutines of the server for each node.
	Goroutines float64 `json:"server_goroutines_per_node"`
	// Rounds is how many the figures are the medians of (CPU and Updates are of all of them); P99Rounds and CPURounds (microseconds an update) are what each had.
	Rounds    int       `json:"rounds"`
	P99Rounds []float64 `json:"p99_ms_of_rounds"`
	CPURounds []float64 `json:"us_per_update_of_rounds"`
}

// memory is KB a node.
func (r row) memory() float64 { return (r.RSS - r.Empty) * 1024 / float64(r.Nodes) }

// cpu is microseconds of the server an update.
func (r row) cpu() float64 { return r.CPU * 1e6 / float64(r.Updates) }

const (
	// roundLimit bounds one change, and the connecting of a fleet.
	roundLimit = time.Minute
	// connecting is how many nodes connect at a time where that is not what is measured.
	connecting = 64
	// settleFor lets the server come to rest before it is measured.
	settleFor = time.Second
	// between is the pause between two changes.
	between = 100 * time.Millisecond
	// warming is how many changes are not counted.
	warming = 3
	// nodesMemory is what the nodes' process may grow to before it collects its garbage in spite of that, while it measures.
	nodesMemory = 8 << 30
)

// changesFor is how many changes are measured: enough of both changes and ACKs, for a fleet of any size.
func (b *bench) changesFor(nodes int) int {
	if b.changes > 0 {
		return b.changes
	}
	return min(max(10, 50_000/nodes), 50)
}

// live is a server with a fleet that has accepted change 0.
type live struct {
	*server
	fleet *fleet
	empty usage
}

// open starts a server and connects a fleet.
func (b *bench) open(ctx context.Context, name, dialect string, nodes int) (_ *live, err error) {
	s, err := b.start(ctx, name, dialect)
	if err != nil {
		return nil, err
	}
	l := &live{server: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if err := s.ask(&l.empty, "collect"); err != nil {
		return nil, err
	}
	l.fleet = b.newFleet(dialect, s.address, nodes)
	first := l.fleet.expect(0)
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	if err := l.fleet.connect(ctx, connecting); err != nil {
		return nil, err
	}
	return l, l.fleet.wait(ctx, first)
}

func (b *bench) newFleet(dialect, address string, nodes int) *fleet {
	b.fleets++
	f := newFleet(dialects[dialect], address, b.tls, nodes, b.fleets)
	f.sessions = b.sessions
	return f
}

func (l *live) close() error {
	if l.fleet != nil {
		l.fleet.close()
	}
	return l.stop()
}

// change makes one change, and gives how long each node took to accept it.
func (l *live) change(ctx context.Context, number int, arguments ...any) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	r := l.fleet.expect(number)
	line := "change %d"
	for range arguments {
		line += " %d"
	}
	var made struct{ At int64 }
	if err := l.ask(&made, line, append([]any{number}, arguments...)...); err != nil {
		return nil, err
	}
	if err := l.fleet.wait(ctx, r); err != nil {
		return nil, err
	}
	took := make([]time.Duration, len(r.at))
	for i := range r.at {
		took[i] = time.Duration(r.at[i].Load() - made.At)
	}
	return took, nil
}

// measure measures one fleet.
func (b *bench) measure(ctx context.Context, name, dialect string, nodes int) (_ row, err error) {
	l, err := b.open(ctx, name, dialect, nodes)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	number := 0
	for range warming {
		number++
		if _, err := l.change(ctx, number); err != nil {
			return row{}, err
		}
	}
	if err := pause(ctx, settleFor); err != nil {
		return row{}, err
	}
	defer noGarbageCollection()()
	var before, after usage
	if err := l.ask(&before, "usage"); err != nil {
		return row{}, err
	}
	if b.profile != "" {
		if err := l.ask(&struct{}{}, "profile"); err != nil {
			return row{}, err
		}
	}
	var took []time.Duration
	for range b.changesFor(nodes) {
		number++
		one, err := l.change(ctx, number)
		if err != nil {
			return row{}, err
		}
		took = append(took, one...)
		if err := pause(ctx, between); err != nil {
			return row{}, err
		}
	}
	if err := l.ask(&after, "usage"); err != nil {
		return row{}, err
	}
	slices.Sort(took)
	return row{
		Server: name, Dialect: dialect, Nodes: nodes, P50: ms(quantile(took, 0.5)), P99: ms(quantile(took, 0.99)),
		RSS: after.RSS, Empty: l.empty.RSS, Peak: max(before.Peak, after.Peak), CPU: after.CPU - before.CPU, Updates: len(took),
		Goroutines: float64(after.Goroutines-l.empty.Goroutines) / float64(nodes),
	}, nil
}

// noGarbageCollection has this process, which is the nodes, collect its garbage now and then not until it is told or has much: what it does in the middle of a
// change takes processors from the server and time from the nodes, and would be measured as the server's.
func noGarbageCollection() (again func()) {
	runtime.GC()
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(nodesMemory)
	return func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}
}

// quantile is the smallest of sorted times that as many are at most as the share says.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
}
