package certfile

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Mortal is what ends.
type Mortal interface {
	// Life is when it begins and ends to be good.
	Life() (from, until time.Time)
}

const (
	// warnWithin is how long before its end a certificate is warned of, but no more than a quarter of its life: those that are renewed every hour are no
	// matter for a warning all the time.
	warnWithin = 14 * 24 * time.Hour
	// warnEvery is how often.
	warnEvery = time.Hour
)

// warning says whether something should be said of a certificate at a moment.
func warning(from, until, now time.Time) bool {
	return until.Sub(now) < min(warnWithin, until.Sub(from)/4)
}

// Warn has the log say, at once and then every hour until ctx ends, which of the certificates will end soon, or have.
func Warn(ctx context.Context, log *slog.Logger, certificates map[string]Mortal) {
	ticker := time.NewTicker(warnEvery)
	defer ticker.Stop()
	for {
		for _, name := range slices.Sorted(maps.Keys(certificates)) {
			from, until := certificates[name].Life()
			switch now := time.Now(); {
			case !now.Before(until):
				log.Error("a certificate has ended; put a new one in its place, it is read without a restart", "certificate", name, "not_after", until.UTC())
			case warning(from, until, now):
				log.Warn("a certificate ends soon; put a new one in its place, it is read without a restart", "certificate", name, "not_after", until.UTC(),
					"in", until.Sub(now).Round(time.Minute))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
