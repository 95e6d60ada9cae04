package main

import "time"

// bucket is a limit as the generic cell rate algorithm has it (ITU-T I.371, annex A): requests that are interval apart, of which those
// worth tolerance may come early. It is a token bucket whose whole state is one time: when it is full again.
type bucket struct {
	interval, tolerance time.Duration
	burst               int64
}

// units are the times that a limit may be about.
var units = map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

func newBucket(requests, burst int64, per time.Duration) bucket {
	interval := max(per/time.Duration(requests), 1)
	return bucket{interval: interval, tolerance: interval * time.Duration(burst), burst: burst}
}

// verdict is what a bucket says of a request.
type verdict struct {
	ok bool
	// remaining is how many more may come at once now.
	remaining int64
	// wait is how long until the next one may come, zero when it may at once; full is how long until the bucket is full.
	wait, full time.Duration
}

// take takes a request from a bucket that is full at a time, and gives the time when it is full again, which is the same when the
// request is denied. Times are nanoseconds since the epoch.
func (b bucket) take(fullAt, now int64) (int64, verdict) {
	fullAt = max(fullAt, now)
	next := fullAt + int64(b.interval)
	if over := next - now - int64(b.tolerance); over > 0 {
		return fullAt, verdict{wait: time.Duration(over), full: time.Duration(fullAt - now)}
	}
	left := int64(b.tolerance) - (next - now)
	v := verdict{ok: true, remaining: left / int64(b.interval), full: time.Duration(next - now)}
	if v.remaining == 0 {
		v.wait = time.Duration(int64(b.interval) - left)
	}
	return next, v
}
