package service

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// window counts what a node has served since a moment, out of counts that only rise while its chain stays the same. The zero value has
// counted nothing.
type window struct {
	since time.Time
	base  model.Statistics
	begun bool
}

// read is what was served from since on, given the latest statistics and when they came. The first that came afterwards is where it begins,
// since what was served just before is not known any better; so it is when the chain changes, or the counts begin anew.
func (w *window) read(since time.Time, latest model.Statistics, came time.Time) model.Statistics {
	if !w.since.Equal(since) {
		*w = window{since: since}
	}
	if came.Before(since) || latest.Chain == "" {
		return model.Statistics{}
	}
	if !w.begun || w.base.Chain != latest.Chain || latest.Requests < w.base.Requests {
		w.base, w.begun = latest, true
	}
	out := model.Statistics{
		Chain: latest.Chain, At: latest.At,
		Requests: latest.Requests - w.base.Requests, Errors: max(latest.Errors-w.base.Errors, 0),
		Denied: max(latest.Denied-w.base.Denied, 0), Seen: max(latest.Seen-w.base.Seen, 0),
		DeniedKnown: latest.DeniedKnown, Health: latest.Health.Since(w.base.Health),
	}
	// Before the first of its requests a node may not have been able to tell; then there were none.
	if now, was := latest.Cohort, w.base.Cohort; now.Known {
		out.Cohort = model.CohortStatistics{
			Known: true, Requests: max(now.Requests-was.Requests, 0), Errors: max(now.Errors-was.Errors, 0),
			Denied: max(now.Denied-was.Denied, 0), Seen: max(now.Seen-was.Seen, 0), Health: now.Health.Since(was.Health),
		}
	}
	return out
}
