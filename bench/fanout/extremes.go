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
	// Large is what a large resource costs, Idle what a fleet that is connected and silent, Storm what one that connects again at once, and Anew the same where no session
	// of TLS can be resumed.
	Large large `json:"large"`
	Idle  idle  `json:"idle"`
	Storm storm `json:"storm"`
	Anew  storm `json:"storm_anew"`
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
	// Took is until the last node had accepted what it was sent; Again counts attempts to connect that failed, and Resumed sessions of TLS that were.
	Took    float64 `json:"took_s"`
	Again   int64   `json:"attempts_failed"`
	Resumed int64   `json:"sessions_resumed"`
	Before  float64 `json:"before_mb"`
	Peak    float64 `json:"peak_mb"`
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
	if e.Idle, e.Storm, e.Anew, err = b.stormy(ctx, stormNodes, idleFor); err != nil {
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

// stormy leaves a fleet alone for a while, then ends all its connections, and opens them again at once: first as nodes that resume their sessions of TLS, then as
// nodes that cannot.
func (b *bench) stormy(ctx context.Context, nodes int, alone time.Duration) (still idle, again, anew storm, err error) {
	b.sessions = newSessions(nodes)
	defer func() { b.sessions = nil }()
	l, err := b.open(ctx, waft, "delta", nodes)
	if err != nil {
		return still, again, anew, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := pause(ctx, 2*settleFor); err != nil {
		return still, again, anew, err
	}
	var before, after usage
	if err := l.ask(&before, "collect"); err != nil {
		return still, again, anew, err
	}
	if err := pause(ctx, alone); err != nil {
		return still, again, anew, err
	}
	if err := l.ask(&after, "usage"); err != nil {
		return still, again, anew, err
	}
	still = idle{Nodes: nodes, Share: (after.CPU - before.CPU) / alone.Seconds(), Seconds: alone.Seconds()}
	if again, err = b.reconnect(ctx, l, nodes); err != nil {
		return still, again, anew, err
	}
	b.sessions = nil
	if err := pause(ctx, 2*settleFor); err != nil {
		return still, again, anew, err
	}
	anew, err = b.reconnect(ctx, l, nodes)
	return still, again, anew, err
}

// reconnect ends all connections of a fleet, and opens them again at once.
func (b *bench) reconnect(ctx context.Context, l *live, nodes int) (storm, error) {
	var before, after usage
	if err := l.ask(&before, "usage"); err != nil {
		return storm{}, err
	}
	l.fleet.close()
	l.fleet = b.newFleet("delta", l.address, nodes)
	l.fleet.stubborn = true
	limited, cancel := context.WithTimeout(ctx, stormLimit)
	defer cancel()
	r := l.fleet.expect(0)
	begun := time.Now()
	if err := l.fleet.connect(limited, nodes); err != nil {
		return storm{}, err
	}
	if err := l.fleet.wait(limited, r); err != nil {
		return storm{}, err
	}
	took := time.Since(begun).Seconds()
	if err := l.ask(&after, "usage"); err != nil {
		return storm{}, err
	}
	return storm{Nodes: nodes, Took: took, Again: l.fleet.again.Load(), Resumed: l.fleet.resumed.Load(), Before: before.RSS, Peak: after.Peak}, nil
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
	e.Storm.judge(to, "again")
	e.Anew.judge(to, "anew")
	tell(to, fmt.Sprintf("%d idle nodes: share of a core", e.Idle.Nodes), e.Idle.Share, maxIdleShare)
}

func (s storm) judge(to io.Writer, how string) {
	what := fmt.Sprintf("%d nodes that connect %s at once, %d of them by a session of before", s.Nodes, how, s.Resumed)
	tell(to, what+": until the last was served, s", s.Took, maxStormS)
	fmt.Fprintf(to, "%s: memory of the server %.0f MB before, %.0f at its peak\n", what, s.Before, s.Peak)
}
