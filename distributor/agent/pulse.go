package agent

import "time"

// uptimeStat moves with each round in which Envoy collects its statistics (every 5 s, unless its bootstrap says otherwise). A round goes through
// every worker, so that it stands still while one hangs, on any version; the admin interface answers all the while.
const uptimeStat = "server.uptime"

// pulse finds out since when a worker hangs: from a mega miss on, until a round has gone through all workers again. A worker that was only late
// is well again by the next round. The zero value has seen nothing.
type pulse struct {
	epoch  int
	hangs  int64
	uptime int64
	since  time.Time
}

// hungSince takes the next observation and gives since when a worker hangs; zero: none does, as far as is known.
func (p *pulse) hungSince(o observation) time.Time {
	if p.epoch != o.epoch {
		*p = pulse{epoch: o.epoch, uptime: o.uptime}
	}
	switch {
	case o.hangs > p.hangs:
		if p.since.IsZero() {
			p.since = o.at
		}
	case o.uptime != p.uptime:
		p.since = time.Time{}
	}
	p.hangs, p.uptime = o.hangs, o.uptime
	return p.since
}

// hung says whether a worker hangs.
func (o observation) hung() bool { return !o.hungSince.IsZero() }

// blindLimit is for how long what Envoy said last may stand for what it does now, while nothing is being loaded: readings that get no answer
// are no health. While something is, it is the load's limit: that blocks the admin interface.
const blindLimit = 5 * time.Second

// blindAt is when the newest observation, if there is no newer one until then, says nothing any more.
func (s situation) blindAt() time.Time {
	limit := blindLimit
	if d := s.desired; d != nil && !d.is(s.running()) || s.trial != nil && s.trial.proved.IsZero() {
		limit = max(d.loadLimit(answerLimit), s.running().loadLimit(answerLimit))
	}
	return s.seen.at.Add(limit)
}

// blind says whether Envoy has left the agent without an answer for so long that nothing is known of it.
func (s situation) blind() bool { return s.host == up && !s.now.Before(s.blindAt()) }
