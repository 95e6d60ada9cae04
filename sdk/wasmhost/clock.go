package wasmhost

import (
	"net/http"
	"sync"
	"time"
)

// Clock tells the time to guests. Implementations must be safe for concurrent use.
type Clock interface {
	Now() time.Time
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

// VirtualClock is a Clock that only moves when it is told to. The zero value stands at the Unix epoch. It may be used concurrently.
type VirtualClock struct {
	mu  sync.Mutex
	now time.Time
}

// NewVirtualClock makes a clock that stands at t.
func NewVirtualClock(t time.Time) *VirtualClock { return &VirtualClock{now: t} }

// Now is the time that the clock stands at.
func (c *VirtualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return c.now
}

// Set moves the clock to t, which may be in its past.
func (c *VirtualClock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Advance moves the clock forward by d. It runs nothing that falls due meanwhile: Proxy.Advance does.
func (c *VirtualClock) Advance(d time.Duration) { c.Set(c.Now().Add(d)) }

func (p *Proxy) now() time.Time {
	if p.Clock == nil {
		return realClock{}.Now()
	}
	return p.Clock.Now()
}

// dateText is a second, written as the header date.
type dateText struct {
	unix int64
	text string
}

// date is the present time as the header date, which is made once a second, as in Envoy.
func (p *Proxy) date() string {
	now := p.now()
	if d := p.lastDate.Load(); d != nil && d.unix == now.Unix() {
		return d.text
	}
	d := &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
	p.lastDate.Store(d)
	return d.text
}
