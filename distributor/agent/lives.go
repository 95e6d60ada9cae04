package agent

import (
	"time"

	"github.com/waft-project/waft/envoy"
)

// lives tells, by what an Envoy run by others says of itself, whether it is the process that it was. The zero value has seen none.
type lives struct {
	// started is when the process started, and first when the first of those did that took over from each other by hot restarts.
	started, first time.Time
	restartEpoch   int
	known          bool
}

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

// see takes what Envoy says at a time. It changes nothing while a process is taking over. Envoy's uptime is by the clock that people set (it says now less the start),
// and grows or shrinks with each jump of that: so now is by the same clock, and the start, which is one from the other, does not move.
func (l *lives) see(info envoy.ServerInfo, now time.Time) life {
	now = now.Round(0) // without the reading of the clock that nobody sets
	next := lives{
		started: now.Add(-info.UptimeCurrentEpoch), first: now.Add(-info.UptimeAllEpochs), restartEpoch: info.RestartEpoch, known: true,
	}
	switch {
	case !l.known:
		*l = next
		return anew
	case info.RestartEpoch > l.restartEpoch && next.first.Sub(l.first).Abs() <= restartSlack:
		if info.State != envoy.StateLive {
			return takingOver
		}
		*l = next
		return tookOver
	case next.started.Sub(l.started) > restartSlack:
		*l = next
		return anew
	}
	return same
}
