package main

import (
	"container/list"
	"time"
)

// cache remembers answers, the most recently used of them, within one VM. Answers hold what lets a client in, so they never go into
// the shared data, which other plugins can read.
type cache struct {
	capacity int
	entries  map[string]*list.Element
	recent   *list.List // of *cached, the most recently used first
}

type cached struct {
	key    string
	answer *answer
	until  time.Time
}

func newCache(capacity int) *cache {
	return &cache{capacity: capacity, entries: map[string]*list.Element{}, recent: list.New()}
}

// get gives the answer under a key, nil if there is none that is still good.
func (c *cache) get(key string, now time.Time) *answer {
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	entry := e.Value.(*cached)
	if !now.Before(entry.until) {
		c.drop(e)
		return nil
	}
	c.recent.MoveToFront(e)
	return entry.answer
}

// put remembers an answer until a time.
func (c *cache) put(key string, a *answer, until time.Time) {
	if e, ok := c.entries[key]; ok {
		c.drop(e)
	}
	c.entries[key] = c.recent.PushFront(&cached{key, a, until})
	for c.recent.Len() > c.capacity {
		c.drop(c.recent.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	delete(c.entries, e.Value.(*cached).key)
	c.recent.Remove(e)
}
