package main

import (
	"context"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk"
)

// ask gives the answer to a question: one that is remembered, the one that another request is waiting for already, or a new one.
func (f *filter) ask(ctx context.Context, q question) *answer {
	key := q.key()
	if a := f.cache.get(key, f.plugin.Now()); a != nil {
		f.hits.Inc()
		return a
	}
	a, err := f.flights.Do(ctx, key, func(ctx context.Context) (*answer, error) {
		f.asked.Inc()
		sent := f.plugin.Now()
		a := fetch(ctx, q)
		if age := a.lifetime(q.authorizer.remember); age > 0 {
			f.cache.put(key, a, sent.Add(age))
		}
		return a, nil
	})
	if err != nil {
		return &answer{err: err}
	}
	return a
}

// fetch asks the service.
func fetch(ctx context.Context, q question) *answer {
	r, err := sdk.Fetch(ctx, q.fetch)
	if err != nil {
		return &answer{err: err}
	}
	a := &answer{status: r.Status, body: r.Body}
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Name, ":") {
			a.headers = append(a.headers, h)
		}
	}
	return a
}

// milliseconds and seconds are numbers of a configuration as times.
func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
func seconds(n int) time.Duration      { return time.Duration(n) * time.Second }
