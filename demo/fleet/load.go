package fleet

import (
	"context"
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

// Visitor is one kind of client, and what it must get.
type Visitor struct {
	// Name says who it is: "an admin".
	Name string
	// Path it asks for.
	Path string
	// Token is its bearer token; empty for none.
	Token string
	// Status it must get.
	Status int
	// Check looks at the rest of an answer that has that status; nil takes any.
	Check func(Answer) error
}

// Answer is what one request got.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// check says why the answer is not what the visitor must get; nil when it is.
func (v Visitor) check(a Answer) error {
	if a.Status != v.Status {
		return fmt.Errorf("%s on %s: status %d instead of %d: %.200q", v.Name, v.Path, a.Status, v.Status, a.Body)
	}
	if v.Check == nil {
		return nil
	}
	if err := v.Check(a); err != nil {
		return fmt.Errorf("%s on %s: %w", v.Name, v.Path, err)
	}
	return nil
}

// tally counts the requests of one node within one period of the demo.
type tally struct {
	requests int64
	failed   int64
}

// Load sends requests to every node, without a pause until it is stopped, and checks every answer.
type Load struct {
	visitors []Visitor
	client   *http.Client
	cancel   context.CancelFunc
	workers  sync.WaitGroup

	mu       sync.Mutex
	period   string
	tallies  map[string]map[string]*tally // period, node
	failures []string
}

// StartLoad sends requests to the listeners (by node id) until stop.
func StartLoad(ctx context.Context, listeners map[string]string, visitors []Visitor) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{
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

func (l *Load) work(ctx context.Context, node, address string, offset int) {
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
		_, err := ask(context.WithoutCancel(ctx), l.client, address, v)
		l.count(period, node, err)
	}
}

func (l *Load) currentPeriod() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.period
}

func (l *Load) count(period, node string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	nodes := l.tallies[period]
	if nodes == nil {
		nodes = map[string]*tally{}
		l.tallies[period] = nodes
	}
	t := nodes[node]
	if t == nil {
		t = &tally{}
		nodes[node] = t
	}
	t.requests++
	if err != nil {
		t.failed++
		if len(l.failures) < keptFailures {
			l.failures = append(l.failures, fmt.Sprintf("%s, %s: %v", period, node, err))
		}
	}
}

// Enter begins a period: requests sent from now on are counted under its name.
func (l *Load) Enter(period string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.period = period
}

// Failures are the first few failures, for an error message.
func (l *Load) Failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.failures...)
}

// Stop ends the load; requests under way are waited for and counted.
func (l *Load) Stop() {
	l.cancel()
	l.workers.Wait()
	l.client.CloseIdleConnections()
}

// Ask sends one request of a visitor to the Envoy at address, over a connection of its own. The error says what it got
// instead of what it must get.
func Ask(ctx context.Context, address string, v Visitor) (Answer, error) {
	client := &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	return ask(ctx, client, address, v)
}

func ask(ctx context.Context, client *http.Client, address string, v Visitor) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+v.Path, nil)
	if err != nil {
		return Answer{}, err
	}
	if v.Token != "" {
		request.Header.Set("Authorization", "Bearer "+v.Token)
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("%s on %s: %w", v.Name, v.Path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("%s on %s: read the body: %w", v.Name, v.Path, err)
	}
	a := Answer{Status: response.StatusCode, Header: response.Header, Body: body}
	return a, v.check(a)
}

// Total adds up the requests and the failures of the nodes and periods that match.
func (l *Load) Total(match func(node, period string) bool) (requests, failed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for period, byNode := range l.tallies {
		for node, t := range byNode {
			if match(node, period) {
				requests += t.requests
				failed += t.failed
			}
		}
	}
	return requests, failed
}

// Everything matches all that was sent.
func Everything(string, string) bool { return true }
