package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// loadInterval is the time between two requests of one client: with clientsPerNode clients on each of four nodes,
	// some 160 requests a second in all, well below what two cores saturate at.
	loadInterval = 50 * time.Millisecond
	// clientsPerNode is how many connections each Envoy is kept busy with.
	clientsPerNode = 2
	// requestTimeout is when a request counts as failed: a hung stream is a failure too.
	requestTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 1 << 20
	// keptFailures is how many failures are kept word for word; all are counted.
	keptFailures = 20
)

// visitor is one kind of client, and what it must get.
type visitor struct {
	name   string
	path   string
	token  string
	status int
}

// answer is what one request got.
type answer struct {
	status int
	header http.Header
	echoed echoed
}

// check says why the answer is not what the visitor must get; nil when it is.
func (v visitor) check(a answer) error {
	if a.status != v.status {
		return fmt.Errorf("%s on %s: status %d instead of %d", v.name, v.path, a.status, v.status)
	}
	if a.status != http.StatusOK {
		return nil
	}
	if got := a.header.Get("X-Powered-By"); got != "" {
		return fmt.Errorf("%s on %s: the response still carries x-powered-by: %s", v.name, v.path, got)
	}
	if a.header.Get(releaseHeader) == "" {
		return fmt.Errorf("%s on %s: the response lacks %s", v.name, v.path, releaseHeader)
	}
	if got := a.echoed.Headers["X-Demo-Path"]; len(got) != 1 || got[0] != v.path {
		return fmt.Errorf("%s on %s: the upstream saw x-demo-path %q", v.name, v.path, got)
	}
	return nil
}

// tally counts the requests of one node within one period of the demo.
type tally struct {
	requests int64
	failed   int64
	// byRelease counts the good answers by the release that they say they passed through.
	byRelease map[string]int64
}

// load sends requests to every node, without a pause until it is stopped, and checks every answer.
type load struct {
	visitors []visitor
	client   *http.Client
	cancel   context.CancelFunc
	workers  sync.WaitGroup

	mu       sync.Mutex
	period   string
	tallies  map[string]map[string]*tally // period, node
	failures []string
}

// startLoad sends requests to the listeners (by node id) until stop.
func startLoad(ctx context.Context, listeners map[string]string, visitors []visitor) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{
		visitors: visitors,
		client: &http.Client{
			Timeout:   requestTimeout,
			Transport: &http.Transport{MaxIdleConnsPerHost: clientsPerNode, DisableCompression: true},
		},
		cancel:  cancel,
		tallies: map[string]map[string]*tally{},
	}
	for node, address := range listeners {
		for i := range clientsPerNode {
			l.workers.Go(func() { l.work(ctx, node, address, i) })
		}
	}
	return l
}

func (l *load) work(ctx context.Context, node, address string, offset int) {
	ticker := time.NewTicker(loadInterval)
	defer ticker.Stop()
	for i := offset; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		v := l.visitors[i%len(l.visitors)]
		period := l.currentPeriod()
		a, err := send(context.WithoutCancel(ctx), l.client, address, v)
		if err == nil {
			err = v.check(a)
		}
		l.count(period, node, a, err)
	}
}

func (l *load) currentPeriod() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.period
}

func (l *load) count(period, node string, a answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	nodes := l.tallies[period]
	if nodes == nil {
		nodes = map[string]*tally{}
		l.tallies[period] = nodes
	}
	t := nodes[node]
	if t == nil {
		t = &tally{byRelease: map[string]int64{}}
		nodes[node] = t
	}
	t.requests++
	if err != nil {
		t.failed++
		if len(l.failures) < keptFailures {
			l.failures = append(l.failures, fmt.Sprintf("%s, %s: %v", period, node, err))
		}
		return
	}
	if release := a.header.Get(releaseHeader); release != "" {
		t.byRelease[release]++
	}
}

// enter begins a period: requests sent from now on are counted under its name.
func (l *load) enter(period string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.period = period
}

// counted is a copy of one period's counts by node.
func (l *load) counted(period string) map[string]tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]tally{}
	for node, t := range l.tallies[period] {
		copied := tally{requests: t.requests, failed: t.failed, byRelease: map[string]int64{}}
		for release, n := range t.byRelease {
			copied.byRelease[release] = n
		}
		out[node] = copied
	}
	return out
}

// periods are the names of all periods with at least one request.
func (l *load) periods() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for name := range l.tallies {
		names = append(names, name)
	}
	return names
}

// firstFailures are the first few failures, for an error message.
func (l *load) firstFailures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.failures...)
}

// stop ends the load; requests under way are waited for and counted.
func (l *load) stop() {
	l.cancel()
	l.workers.Wait()
	l.client.CloseIdleConnections()
}

// send is one request of a visitor to the Envoy at address.
func send(ctx context.Context, client *http.Client, address string, v visitor) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+v.path, nil)
	if err != nil {
		return answer{}, err
	}
	if v.token != "" {
		request.Header.Set("Authorization", "Bearer "+v.token)
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("%s on %s: %w", v.name, v.path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("%s on %s: read the body: %w", v.name, v.path, err)
	}
	a := answer{status: response.StatusCode, header: response.Header}
	if response.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, &a.echoed); err != nil {
			return answer{}, fmt.Errorf("%s on %s: the upstream's answer was changed: %w", v.name, v.path, err)
		}
	}
	return a, nil
}
