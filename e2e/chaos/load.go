package chaos

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// cohortHeader is what every cohortEvery-th request to a node has, with cohortValue; cohortPercent is the share of a cohort by percent.
	cohortHeader  = "x-chaos-cohort"
	cohortValue   = "yes"
	cohortEvery   = 3
	cohortPercent = 40
	// requestEvery is the time between two requests to one node, whatever became of those before: the load is open, so that an Envoy that
	// is slow meets as many requests as one that is not.
	requestEvery = 40 * time.Millisecond
	// requestTimeout is when a request counts as failed.
	requestTimeout = 5 * time.Second
	// maxBody bounds what is read of an answer, in bytes.
	maxBody = 1 << 16
)

// load sends requests to every node and logs each with what came of it.
type load struct {
	client  *http.Client
	stop    context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	requests []Request
	latest   map[string]Request
}

func startLoad(ctx context.Context, nodes []*node) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{
		client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}},
		stop:   cancel, latest: map[string]Request{},
	}
	for _, n := range nodes {
		l.workers.Go(func() {
			ticker := time.NewTicker(requestEvery)
			defer ticker.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
					l.workers.Go(func() { l.one(n.id, n.listen, i%cohortEvery == 0) })
				}
			}
		})
	}
	return l
}

func (l *load) one(node, address string, cohort bool) {
	r := Request{Node: node, Cohort: cohort}
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		panic(err) // an address that the kernel gave
	}
	if cohort {
		request.Header.Set(cohortHeader, cohortValue)
	}
	r.Sent = time.Now()
	answer, err := l.client.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxBody))
		_ = answer.Body.Close()
		r.Status, r.Stamp, r.Marked = answer.StatusCode, answer.Header.Get("X-Stamp"), answer.Header.Get(markHeader) != ""
	}
	if err != nil {
		r.Error, r.Status = err.Error(), 0
	}
	r.Ended = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
	if r.Status != 0 && r.Ended.After(l.latest[node].Ended) {
		l.latest[node] = r
	}
}

// answered is the latest answer of a node, whatever its status.
func (l *load) answered(node string) Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest[node]
}

// end stops the load, waits for what is under way, and gives the log.
func (l *load) end() []Request {
	l.stop()
	l.workers.Wait()
	l.client.CloseIdleConnections()
	return l.requests
}
