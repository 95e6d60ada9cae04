package main

import (
	"time"

	"github.com/waft-project/waft/filters/authz/internal/rules"
)

// verdict is what a verified token is worth under one configuration. It is not changed once it is made.
type verdict struct {
	// from and until bound its use: from <= now < until.
	from, until time.Time
	// grants are the rules that the claims satisfy.
	grants rules.Grants
	// values are those of the forwarded claims, in the order of the configuration; nil for an absent claim.
	values []*string
}

func (v *verdict) valid(now time.Time) bool { return now.Before(v.until) && !now.Before(v.from) }

// size is about how many bytes the verdict's values take.
func (v *verdict) size() int {
	n := 0
	for _, value := range v.values {
		if value != nil {
			n += len(*value)
		}
	}
	return n
}

// maxRememberedBytes bounds the remembered tokens and their forwarded values together, whatever their number: 16 MiB of the
// 64 MiB that a module has by default.
const maxRememberedBytes = 16 << 20

// remembered holds the verdicts of verified tokens, the most recently used first. Refused tokens are not kept: whoever
// sends them can send a new one each time, and would only push the good ones out. It belongs to one configuration; a new
// configuration, with other keys or rules, begins with an empty one. It is not safe for concurrent use.
//
// A token is found by its whole text: a digest of it would cost as much as all the rest of a request whose token is known.
type remembered struct {
	most    int
	bytes   int
	entries map[string]*entry
	// ring is the list's anchor: ring.next is the most recently used entry, ring.previous the least.
	ring entry
}

type entry struct {
	key            string
	verdict        *verdict
	next, previous *entry
}

// newRemembered makes one for at most that many tokens. With 0 it keeps nothing.
func newRemembered(most int) *remembered {
	m := &remembered{most: most, entries: map[string]*entry{}}
	m.ring.next, m.ring.previous = &m.ring, &m.ring
	return m
}

// find is the verdict of a token that may be used now, or nil. An entry that may not is dropped.
func (m *remembered) find(key string, now time.Time) *verdict {
	e := m.entries[key]
	if e == nil {
		return nil
	}
	if !e.verdict.valid(now) {
		m.drop(e)
		return nil
	}
	if m.ring.next != e {
		e.unlink()
		m.push(e)
	}
	return e.verdict
}

// keep remembers a verdict; the least recently used ones make room. The token must not share memory with what is not kept.
func (m *remembered) keep(key string, v *verdict) {
	if old := m.entries[key]; old != nil {
		m.drop(old)
	}
	size := len(key) + v.size()
	if m.most == 0 || size > maxRememberedBytes {
		return
	}
	for len(m.entries) >= m.most || m.bytes+size > maxRememberedBytes {
		m.drop(m.ring.previous)
	}
	e := &entry{key: key, verdict: v}
	m.entries[key] = e
	m.bytes += size
	m.push(e)
}

func (m *remembered) drop(e *entry) {
	e.unlink()
	delete(m.entries, e.key)
	m.bytes -= len(e.key) + e.verdict.size()
}

func (m *remembered) push(e *entry) {
	e.previous, e.next = &m.ring, m.ring.next
	e.next.previous, m.ring.next = e, e
}

func (e *entry) unlink() {
	e.previous.next, e.next.previous = e.next, e.previous
	e.next, e.previous = nil, nil
}
