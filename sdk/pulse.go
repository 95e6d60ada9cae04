package sdk

import (
	"strconv"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// envMetricDelay is the environment variable of the VM that says how long counts may stay in it, in milliseconds: 0 to 10000.
// Where it is not set, or is none of these, it is [DefaultMetricDelay].
const envMetricDelay = "WAFT_METRIC_DELAY_MS"

// DefaultMetricDelay is how long what counters count may stay in the VM before the host has it.
const DefaultMetricDelay = 100 * time.Millisecond

const maxMetricDelay = 10 * time.Second

// metricDelay is the delay that the VM was told.
func metricDelay(h abi.Host) time.Duration {
	ms, err := strconv.Atoi(h.Getenv(envMetricDelay))
	if d := time.Duration(ms) * time.Millisecond; err == nil && 0 <= d && d <= maxMetricDelay {
		return d
	}
	return DefaultMetricDelay
}

// pulse spares host calls that nearly every request would make. While requests come it beats: what counters counted since the last beat goes
// to the host with the next one, and the clock is looked at once for each. Without requests it stands still.
type pulse struct {
	plugin *Plugin
	// delay is the time from one beat to the next. 0: there are none, and nothing waits.
	delay time.Duration
	// beating: the time wall was read when the beat began, and a timer ends it.
	beating bool
	wall    time.Time
	// counts are the counters that have counted something that the host does not know.
	counts []*count
}

// begin starts a beat, if none is under way, and reports whether one is.
func (b *pulse) begin() bool {
	if b.beating || b.delay == 0 {
		return b.beating
	}
	v, callback := b.plugin.vm, b.plugin.vm.context
	if len(v.plugins) > 1 {
		v.enter(b.plugin.id) // the tick is to be this plugin's, whoever's stream it is that counts
		defer v.enter(callback)
	}
	timers := b.plugin.timers()
	timers.beat(v.now(), b.delay, b.end)
	b.beating, b.wall = timers.status == abi.OK, v.wall
	if !b.beating {
		b.delay = 0 // a host that gives this VM no ticks
	}
	return b.beating
}

// end is the end of a beat.
func (b *pulse) end() {
	b.beating = false
	b.flush()
}

// stop tells the host of all counts, and from now on at once: the plugin ends, and there are no more beats.
func (b *pulse) stop() {
	b.delay, b.beating = 0, false
	b.flush()
}

// flush tells the host of all counts.
func (b *pulse) flush() {
	for i, c := range b.counts {
		c.listed = false
		c.flush()
		b.counts[i] = nil
	}
	b.counts = b.counts[:0]
}

// count is a counter, and what the host does not know of it yet.
type count struct {
	pulse   *pulse
	id      uint32
	pending uint64
	// listed: it is among the pulse's counts.
	listed bool
}

// Bounds of what a count holds back.
const (
	// maxCount is the most that a host call can add.
	maxCount = 1<<63 - 1
	// manyCounts are not held back any longer, whatever keeps the beat from coming.
	manyCounts = 1 << 12
)

func (c *count) add(n uint64) {
	if n == 0 {
		return
	}
	before := c.pending
	c.pending += min(n, maxCount-before)
	if before == 0 || c.pending >= manyCounts {
		c.wait()
	}
}

// wait has the count go to the host with the next beat, or at once where there is none.
func (c *count) wait() {
	if c.pending < manyCounts && c.pulse.begin() {
		if !c.listed {
			c.listed = true
			c.pulse.counts = append(c.pulse.counts, c)
		}
		return
	}
	c.flush()
}

func (c *count) flush() {
	if n := c.pending; n > 0 {
		c.pending = 0
		c.pulse.plugin.host.IncrementMetric(c.id, int64(n))
	}
}

// CoarseNow is the host's clock as it was at most [DefaultMetricDelay] ago, and as long as the worker was busy with something else since.
// It costs a host call once in that time, and not one each time as [Plugin.Now] does.
func (p *Plugin) CoarseNow() time.Time {
	if p.pulse.delay <= DefaultMetricDelay && p.pulse.begin() {
		return p.pulse.wall
	}
	return now(p.host)
}

// CoarseNow is [Plugin.CoarseNow].
func (s *Stream) CoarseNow() time.Time {
	if s.plugin == nil {
		return s.Now()
	}
	return s.plugin.CoarseNow()
}
