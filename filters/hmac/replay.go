package main

import (
	"math"
	"time"

	"github.com/waft-project/waft/filters/internal/keytable"
	"github.com/waft-project/waft/sdk"
)

// spare is how many slots of the table there are for each signature that is to be remembered. With four, one signature in a thousand
// finds no room once there are as many as the configuration says.
const spare = 4

// replays remembers the signatures that were used, for all workers of the Envoy together, until they are too old to be used again. It
// forgets none early: a signature that could be forgotten could be used again. The nil replays remembers nothing.
type replays struct{ table *keytable.Table }

// openReplays opens the memory with room for so many signatures; 0 for none.
func openReplays(data sdk.SharedData, most int) (*replays, error) {
	if most == 0 {
		return nil, nil
	}
	table, err := keytable.Open(data, "hmac", spare*most)
	return &replays{table}, err
}

// use says whether a signature is used for the first time, and remembers it. Signatures are unique to key and request, and
// nobody can make one without the key, so only clients that are known fill the memory.
func (r *replays) use(s *signed, now time.Time) (reason, error) {
	if r == nil {
		return "", nil
	}
	kept, err := r.table.Remember(s.mac[:], now.UnixNano(), nanoseconds(s.until))
	switch kept {
	case keytable.Known:
		return reasonReplay, err
	case keytable.Full:
		return reasonFull, err
	}
	return "", err
}

// latest is the last time that nanoseconds since the epoch can say, in 2262.
var latest = time.Unix(0, math.MaxInt64)

// nanoseconds is a time since the epoch. A client may sign for a time that has no such number, which must not become one in the past.
func nanoseconds(t time.Time) int64 {
	if t.After(latest) {
		return math.MaxInt64
	}
	return t.UnixNano()
}
