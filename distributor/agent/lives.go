package agent

import (
	"time"

	"github.com/waft-project/waft/envoy"
)

// lives tells, by what an Envoy run by others says of itself, whether it is the process that it was. The zero value has seen none.
type lives struct {
	// started is when the process did, and first when the first of those did that took over from each other by hot restarts.
	started, first startSecond
	restartEpoch   int
	known          bool
}

// startSecond is the second, counted from 1970, in which a process started: not before low and not after high. Envoy takes its uptime from two clocks of whole
// seconds (AdminImpl's ServerInfoHandler: the second of now less that of its start), so that the second of its start is exact, and known as soon as an answer came
// within one second. It does not move when somebody sets the clock: now and the uptime jump together.
type startSecond struct{ low, high int64 }

// startOf is what an uptime says that was asked for at one time and known at another, which is the earlier one where the clock was set back in between.
func startOf(uptime time.Duration, asked, answered time.Time) startSecond {
	whole := int64(uptime / time.Second)
	return startSecond{min(asked.Unix(), answered.Unix()) - whole, max(asked.Unix(), answered.Unix()) - whole}
}

func (s startSecond) touches(o startSecond) bool { return s.low <= o.high && o.low <= s.high }

// narrowed is what two readings of one process say together.
func (s startSecond) narrowed(o startSecond) startSecond {
	if !s.touches(o) {
		return s
	}
	return startSecond{max(s.low, o.low), min(s.high, o.high)}
}

// time is the end of what is known.
func (s startSecond) time() time.Time { return time.Unix(s.high, 0) }

// life is what lives finds.
type life int

const (
	// same process as before.
	same life = iota
	// anew: the first one, or another one, which has nothing of the one before.
	anew
	// takingOver: a hot restart is under way. The process before serves, and does not answer any more.
	takingOver
	// tookOver: a hot restart is done. Whatever connection came was served.
	tookOver
)

// clockSlack is how much the clock that people set may run off within one reading, which then says nothing about a start.
const clockSlack = 100 * time.Millisecond

// see takes what Envoy said, when it was asked and when it had answered by the clock that people set, and how long that took by the one that nobody sets. It
// changes nothing while a process is taking over.
func (l *lives) see(info envoy.ServerInfo, asked, answered time.Time, took time.Duration) life {
	next := lives{
		started: startOf(info.UptimeCurrentEpoch, asked, answered), first: startOf(info.UptimeAllEpochs, asked, answered),
		restartEpoch: info.RestartEpoch, known: true,
	}
	set := answered.Round(0).Sub(asked.Round(0)) - took
	switch {
	case !l.known:
		*l = next
		return anew
	case set.Abs() > clockSlack:
		return same // the next reading tells
	case info.RestartEpoch > l.restartEpoch && next.first.touches(l.first):
		if info.State != envoy.StateLive {
			return takingOver
		}
		*l = next
		return tookOver
	case next.started.low > l.started.high:
		*l = next
		return anew
	}
	l.started, l.first = l.started.narrowed(next.started), l.first.narrowed(next.first)
	return same
}
