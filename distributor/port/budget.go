package port

import (
	"slices"
	"time"
)

// What a client may send of frames that cost work and carry nothing of a call: resets, settings, pings, empty data, priorities, frames of kinds that nobody
// knows. Clients that give up many calls send many resets, so there is room.
const (
	budgetFrames    = 1000
	budgetPerSecond = 200
)

// budget counts them. The zero value is full.
type budget struct {
	spent int
	since time.Time
}

// spend takes one; false: there are none left.
func (b *budget) spend(now func() time.Time) bool {
	if b.spent < budgetFrames {
		if b.spent++; b.spent == 1 {
			b.since = now()
		}
		return true
	}
	at := now()
	back := int(at.Sub(b.since).Seconds() * budgetPerSecond)
	if back <= 0 {
		return false
	}
	b.spent, b.since = max(b.spent-back, 0)+1, at
	return b.spent <= budgetFrames
}

// lately are the newest few of some streams: what is said of them for ever would be memory that a client has for nothing.
type lately struct {
	ids [8]uint32
	at  int
}

func (l *lately) add(id uint32) {
	l.ids[l.at%len(l.ids)] = id
	l.at++
}

func (l *lately) has(id uint32) bool { return slices.Contains(l.ids[:], id) }
