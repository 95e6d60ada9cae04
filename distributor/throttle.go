package distributor

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/waft-project/waft/distributor/model"
)

// What one client may do, unless the configuration says otherwise. A client is whoever a certificate or a token proves; where nothing is proved, an address, which
// may be that of many. So no sane client meets these, nor do some hundred agents behind one address: they keep one that has gone mad from taking all there is.
const (
	// DefaultRequestsPerSecond is how many calls and requests a client may make in a second, once it has made those of throttleBurst.
	DefaultRequestsPerSecond = 500
	// DefaultStreamsPerClient is how many streams a client may have open: all nodes of a large fleet may share a certificate, or an address, and each has two.
	DefaultStreamsPerClient = 25_000
	// StreamsPerNode is how many streams a client may have open whose certificate makes it one node and nothing else. An agent has two and an Envoy without one has two; those that
	// it had before it connected again may take a while to end.
	StreamsPerNode = 50
)

const (
	// throttleBurst is how many seconds' worth of requests a client may make at once.
	throttleBurst = 20
	// openingsPerSecond is how many streams a client may open in a second, as a multiple of its requests, once it has opened as many as it may have.
	openingsPerSecond = 4
	// maxClients bounds the clients that are remembered, in each of two generations of a table.
	maxClients = 1 << 15
)

// throttle bounds what one client may ask of a port. It may be used concurrently; nil bounds nothing.
type throttle struct {
	// requests and openings are what clients may still do; failures how often they may still be refused for other reasons; streams how many they have open.
	// Failures are apart from requests, so that a fleet with one certificate that fetches as fast as it may can open streams still.
	requests, openings, failures budgets
	most                         int
	refusals                     *prometheus.CounterVec

	mu      sync.Mutex
	streams map[string]int
}

// newThrottle makes one for all ports of a process. A negative number bounds nothing.
func newThrottle(perSecond, streams int, metrics prometheus.Registerer) (*throttle, error) {
	if perSecond < 0 {
		perSecond = math.MaxInt32
	}
	if streams < 0 {
		streams = math.MaxInt32
	}
	t := &throttle{
		requests: budgets{rate: rate.Limit(perSecond), burst: throttleBurst * perSecond},
		failures: budgets{rate: rate.Limit(perSecond), burst: throttleBurst * perSecond},
		openings: budgets{rate: rate.Limit(openingsPerSecond * perSecond), burst: streams},
		most:     streams, streams: map[string]int{},
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waft_throttled_requests_total",
			Help: "Calls and requests that were refused since their client had made too many (limit requests or openings), or has too many streams (streams), by port.",
		}, []string{"port", "limit"}),
	}
	for _, port := range [...]string{portGRPC, portHTTP} {
		for _, limit := range [...]string{limitRequests, limitOpenings, limitStreams} {
			t.refusals.WithLabelValues(port, limit) // so that a rule can tell "none" from "not known"
		}
	}
	return t, metrics.Register(t.refusals)
}

// Labels of the metric.
const (
	portGRPC, portHTTP                         = "grpc", "http"
	limitRequests, limitOpenings, limitStreams = "requests", "openings", "streams"
)

// throttled is the error of who has to wait.
type throttled struct {
	said *model.Error
	// after is how long; what said says of it is rounded up to seconds.
	after time.Duration
}

// Error is what is said.
func (t *throttled) Error() string { return t.said.Error() }

// Unwrap keeps its parts in reach.
func (t *throttled) Unwrap() error { return t.said }

// request takes a request, or says that the client has to wait.
func (t *throttle) request(port, client string) error {
	if t == nil {
		return nil
	}
	return t.judge(port, limitRequests, client, t.requests.take(client))
}

// spent says that whoever comes has to wait: it was refused too often, or has no certificate, and its address has used up what it may. It takes nothing.
func (t *throttle) spent(port string, v *visit) error {
	if t == nil {
		return nil
	}
	wait := t.failures.wait(v.at)
	if !v.certified {
		wait = max(wait, t.requests.wait(v.at))
	}
	return t.judge(port, limitRequests, v.at, wait)
}

// fail takes in that a client was refused for other reasons: who is refused again and again is not heard for ever.
func (t *throttle) fail(client string) {
	if t != nil {
		t.failures.take(client)
	}
}

// open takes a stream, or says why the client may open no other one now; node says that it is one node and nothing else. Whoever has opened one closes it.
func (t *throttle) open(port, client string, node bool) error {
	if t == nil {
		return nil
	}
	if err := t.judge(port, limitOpenings, client, t.openings.take(client)); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	most, whom, next := t.most, "client", "close some; whoever runs the distributor may allow more (waft serve --streams-per-client)"
	if node && most > StreamsPerNode {
		most, whom, next = StreamsPerNode, "node", "close some, and look for what opens them: a node needs no more than four"
	}
	if t.streams[client] >= most {
		t.refusals.WithLabelValues(port, limitStreams).Inc()
		return &throttled{after: time.Second, said: &model.Error{Kind: model.ErrExhausted, Object: client, Next: next,
			Message: fmt.Sprintf("has %d streams open, which is the most that one %s may have", most, whom)}}
	}
	t.streams[client]++
	return nil
}

// close gives back a stream that was opened.
func (t *throttle) close(client string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams[client]--; t.streams[client] <= 0 {
		delete(t.streams, client)
	}
}

// judge makes a wait an error; 0 is none.
func (t *throttle) judge(port, limit, client string, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	t.refusals.WithLabelValues(port, limit).Inc()
	return &throttled{after: wait, said: &model.Error{Kind: model.ErrExhausted, Object: client, Message: "has made more calls than one client may: " + limitWords[limit],
		Next: fmt.Sprintf("wait %ds and go on slower; whoever runs the distributor may allow more (waft serve --requests-per-second)", seconds(wait))}}
}

var limitWords = map[string]string{limitRequests: "requests come too fast", limitOpenings: "streams are opened too fast"}

// seconds are those of a wait, rounded up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// budgets are what clients may still do. The zero value allows nothing.
type budgets struct {
	rate  rate.Limit
	burst int

	mu sync.Mutex
	// young and old are two generations: who asks moves to young; when young is full it becomes old, and old goes. Who has gone begins anew, so that somebody
	// with very many addresses gains no more than by having them.
	young, old map[string]*rate.Limiter
}

// of is what a client may still do.
func (b *budgets) of(client string) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one := b.young[client]; one != nil {
		return one
	}
	one := b.old[client]
	if one == nil {
		one = rate.NewLimiter(b.rate, b.burst)
	}
	if b.young == nil || len(b.young) >= maxClients {
		b.old, b.young = b.young, map[string]*rate.Limiter{}
	}
	b.young[client] = one
	return one
}

// take takes one, or says how long it is until there is one.
func (b *budgets) take(client string) time.Duration {
	one := b.of(client)
	if one.Allow() {
		return 0
	}
	return b.until(one)
}

// wait is how long it is until there is one.
func (b *budgets) wait(client string) time.Duration {
	b.mu.Lock()
	one := b.young[client]
	if one == nil {
		one = b.old[client]
	}
	b.mu.Unlock()
	if one == nil || one.Tokens() >= 1 {
		return 0
	}
	return b.until(one)
}

// until is at least a moment: who is told so has to wait.
func (b *budgets) until(one *rate.Limiter) time.Duration {
	return max(time.Duration((1-one.Tokens())/float64(b.rate)*float64(time.Second)), time.Millisecond)
}

// addressed is the client at an address, HOST:PORT. An IPv6 one counts by its /64, which is what one machine is given at least.
func addressed(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return "address " + address
	}
	ip := at.Addr().Unmap()
	if ip.Is6() && !ip.IsLoopback() {
		if net, err := ip.WithZone("").Prefix(64); err == nil {
			return "address " + net.String()
		}
	}
	return "address " + ip.String()
}
