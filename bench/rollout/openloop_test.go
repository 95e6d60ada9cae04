package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A server that answers nothing for a while makes all requests late that are due meanwhile, on however few connections: none is left out.
func TestOpenLoopOmitsNothing(t *testing.T) {
	const hold = 400 * time.Millisecond
	var held atomic.Bool
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if held.Load() {
			<-release
		}
		w.Header().Set("content-length", "0") // Go writes Content-Length: the client asks for Envoy's own form
		w.Header()["content-length"] = w.Header()["Content-Length"]
		delete(w.Header(), "Content-Length")
	}))
	defer server.Close()
	l := &openLoop{address: strings.TrimPrefix(server.URL, "http://"), rate: 500, connections: 2}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx) }()
	time.Sleep(200 * time.Millisecond) // the load's own time, as is what follows
	began := time.Now()
	held.Store(true)
	time.Sleep(hold)
	held.Store(false)
	close(release)
	ended := time.Now()
	time.Sleep(200 * time.Millisecond)
	cancel()
	<-done
	if l.failed > 0 {
		t.Fatalf("%d failed, the first with %v", l.failed, l.first)
	}
	late := l.between(began, ended)
	want := int(l.rate * ended.Sub(began).Seconds())
	if late.requests < want-5 || late.requests > want+5 {
		t.Errorf("%d requests were due while nothing was answered, want %d", late.requests, want)
	}
	if late.longest < hold-50*time.Millisecond || late.p50 < hold/4 {
		t.Errorf("latencies %+v, of a server that held all for %s", late, hold)
	}
}
