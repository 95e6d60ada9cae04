package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// extremes are what is asked of waft beside the comparison.
type extremes struct {
	// Large is what a large resource costs, Storm what a fleet that connects at once, and Idle what one that is connected and silent.
	Large large `json:"large"`
	Storm storm `json:"storm"`
	Idle  idle  `json:"idle"`
}

// large is one change that is a large resource.
type large struct {
	Nodes int `json:"nodes"`
	Bytes int `json:"bytes"`
	// Before is the server's memory before the change, and Peak the most until the last node had accepted it, in MB.
	Before float64 `json:"before_mb"`
	Peak   float64 `json:"peak_mb"`
	// Took is until the last node had accepted it.
	Took float64 `json:"took_ms"`
}

// storm is a fleet whose nodes all lost their connections, and connect at once, holding nothing.
type storm struct {
	Nodes int `json:"nodes"`
	// Took is until the last node had accepted what it was sent; Again counts attempts to connect that failed.
	Took   float64 `json:"took_s"`
	Again  int64   `json:"attempts_failed"`
	Before float64 `json:"before_mb"`
	Peak   float64 `json:"peak_mb"`
}

// idle is a fleet to which nothing happens.
type idle struct {
	Nodes int `json:"nodes"`
	// Share is of one core, and Seconds for how long it was looked at.
	Share   float64 `json:"share_of_a_core"`
	Seconds float64 `json:"seconds"`
}

// What they are.
const (
	largeNodes = 1000
	largeBytes = 1 << 20
	stormNodes = 10_000
	stormLimit = 2 * time.Minute
	// idleFor is more than twice the silence after which TCP asks whether a node is there.
	idleFor = 45 * time.Second
)

// beyond measures them, of waft with delta.
func (b *bench) beyond(ctx context.Context) (*extremes, error) {
	var e extremes
	var err error
	if e.Large, err = b.large(ctx, largeNodes, largeBytes); err != nil {
		return nil, fmt.Errorf("a large resource: %w", err)
	}
	if e.Idle, e.Storm, err = b.stormy(ctx, stormNodes, idleFor); err != nil {
		return nil, fmt.Errorf("a fleet that connects at once: %w", err)
	}
	return &e, nil
}

func (b *bench) large(ctx context.Context, nodes, bytes int) (_ large, err error) {
	l, err := b.open(ctx, waft, "delta", nodes)
	if err != nil {
		return large{}, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := pause(ctx, settleFor); err != nil {
		return large{}, err
	}
	var before, after usage
	if err := l.ask(&before, "collect"); err != nil {
		return large{}, err
	}
	took, err := l.change(ctx, 1, bytes)
	if err != nil {
		return large{}, err
	}
	if err := l.ask(&after, "usage"); err != nil {
		return large{}, err
	}
	var longest time.Duration
	for _, t := range took {
		longest = max(longest, t)
	}
	return large{Nodes: nodes, Bytes: bytes, Before: before.RSS, Peak: after.Peak, Took: ms(longest)}, nil
}

// stormy leaves a fleet alone for a while, then ends all its connections, and opens them again at once.
func (b *bench) stormy(ctx context.Context, nodes int, alone time.Duration) (_ idle, _ storm, err error) {
	l, err := b.open(ctx, waft, "delta", nodes)
	if err != nil {
		return idle{}, storm{}, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := pause(ctx, 2*settleFor); err != nil {
		return idle{}, storm{}, err
	}
	var before, after usage
	if err := l.ask(&before, "collect"); err != nil {
		return idle{}, storm{}, err
	}
	if err := pause(ctx, alone); err != nil {
		return idle{}, storm{}, err
	}
	if err := l.ask(&after, "usage"); err != nil {
		return idle{}, storm{}, err
	}
	still := idle{Nodes: nodes, Share: (after.CPU - before.CPU) / alone.Seconds(), Seconds: alone.Seconds()}

	l.fleet.close()
	l.fleet = b.newFleet("delta", l.address, nodes)
	l.fleet.stubborn = true
	limited, cancel := context.WithTimeout(ctx, stormLimit)
	defer cancel()
	r := l.fleet.expect(0)
	begun := time.Now()
	if err := l.fleet.connect(limited, nodes); err != nil {
		return still, storm{}, err
	}
	if err := l.fleet.wait(limited, r); err != nil {
		return still, storm{}, err
	}
	s := storm{Nodes: nodes, Took: time.Since(begun).Seconds(), Again: l.fleet.again.Load(), Before: after.RSS}
	if err := l.ask(&after, "usage"); err != nil {
		return still, storm{}, err
	}
	s.Peak = after.Peak
	return still, s, nil
}

// The targets.
const (
	// maxLargeMB is one encoded copy, and for each of a thousand nodes what its connection holds while it writes: a buffer of gRPC's, and a record of TLS's.
	maxLargeMB   = 1 + largeNodes*(17+17)/1024.0
	maxStormS    = 10
	maxIdleShare = 0.02
)

func (e *extremes) judge(to io.Writer) {
	tell(to, fmt.Sprintf("%d bytes to %d nodes: memory of the server over what it had, MB", e.Large.Bytes, e.Large.Nodes), e.Large.Peak-e.Large.Before, maxLargeMB)
	tell(to, fmt.Sprintf("%d nodes that connect at once: until the last was served, s", e.Storm.Nodes), e.Storm.Took, maxStormS)
	fmt.Fprintf(to, "%d nodes that connect at once: memory of the server %.0f MB before, %.0f at its peak\n", e.Storm.Nodes, e.Storm.Before, e.Storm.Peak)
	tell(to, fmt.Sprintf("%d idle nodes: share of a core", e.Idle.Nodes), e.Idle.Share, maxIdleShare)
}
