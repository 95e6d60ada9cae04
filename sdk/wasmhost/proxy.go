package wasmhost

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Proxy is what the VMs of one Envoy process share: statistics, shared data, shared queues, clusters, the clock. The zero Proxy is
// ready to use: no cluster, the real clock, no foreign function. Set its fields before the first VM is made; after that the Proxy may
// be used concurrently.
type Proxy struct {
	// Clock tells the time. nil: the real time.
	Clock Clock

	// Clusters answer HTTP callouts, by cluster name. A callout to a cluster that is neither here nor in GRPC nor in Unhealthy gets
	// BAD_ARGUMENT, as in Envoy.
	Clusters map[string]Upstream

	// GRPC answers gRPC calls and streams, by cluster name. A cluster that is here or in Clusters, but not in the one that is asked,
	// cannot be reached.
	GRPC map[string]GRPCServer

	// Unhealthy names clusters that have no healthy host: callouts to them get INTERNAL_FAILURE.
	Unhealthy map[string]bool

	// Foreign are the functions behind proxy_call_foreign_function, before those of Envoy that this host has: clear_route_cache, compress,
	// uncompress, verify_signature and sign. An unknown name gets NOT_FOUND.
	Foreign map[string]ForeignFunction

	// LogLevel is what proxy_get_log_level tells, and messages below it are dropped. The zero value is LogTrace: everything is kept.
	LogLevel LogLevel

	// Node is the node's identity, for the properties node.id and node.cluster.
	Node Node

	seq       atomic.Uint64 // of appointments
	lastDate  atomic.Pointer[dateText]
	mu        sync.Mutex
	vms       []*VM // that were not closed, in the order in which they were made
	data      map[dataKey]dataValue
	dataCAS   uint32
	bytes     int
	queues    map[uint32]*queue
	tokens    map[dataKey]uint32
	lastToken uint32
	metrics   map[string]*metric
}

// Node is the identity of the simulated Envoy.
type Node struct{ ID, Cluster string }

// enter and leave keep the list of the Proxy's VMs. What VMs of one id share is gone with the last of them, as in Envoy.
func (p *Proxy) enter(v *VM) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.vms = append(p.vms, v)
}

func (p *Proxy) leave(v *VM) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.vms = slices.DeleteFunc(p.vms, func(o *VM) bool { return o == v })
	id := v.cfg.ID
	if slices.ContainsFunc(p.vms, func(o *VM) bool { return o.cfg.ID == id }) {
		return
	}
	for k, d := range p.data {
		if k.vmID == id {
			p.bytes -= len(k.name) + len(d.value)
			delete(p.data, k)
		}
	}
	for k, token := range p.tokens {
		if k.vmID == id {
			for _, item := range p.queues[token].items {
				p.bytes -= len(item)
			}
			delete(p.queues, token)
			delete(p.tokens, k)
		}
	}
}

// dataKey names a shared datum or a queue: they belong to a VM id.
type dataKey struct{ vmID, name string }

type dataValue struct {
	value string
	cas   uint32
}

// getData reads a shared datum.
func (p *Proxy) getData(vmID, key string) (dataValue, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.data[dataKey{vmID, key}]
	return v, ok
}

// setData writes a shared datum. cas 0 is unconditional; a key that is new takes any cas.
func (p *Proxy) setData(vmID, key, value string, cas uint32) Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := dataKey{vmID, key}
	old, ok := p.data[k]
	if ok && cas != 0 && cas != old.cas {
		return StatusCASMismatch
	}
	size := p.bytes + len(value) - len(old.value)
	if !ok {
		size += len(key)
	}
	if size > MaxSharedBytes {
		return StatusInternalFailure
	}
	p.bytes = size
	if p.data == nil {
		p.data = map[dataKey]dataValue{}
	}
	if p.dataCAS++; p.dataCAS == 0 {
		p.dataCAS = 1
	}
	p.data[k] = dataValue{value, p.dataCAS}
	return StatusOK
}

// queue is a shared queue. The VM that registered it last hears of what is put into it.
type queue struct {
	items []string
	ready func() // posts on_queue_ready to the VM that registered the queue
}

// registerQueue makes a queue, or takes over the notifications of one that is there. Its items stay.
func (p *Proxy) registerQueue(vmID, name string, ready func(token uint32)) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queues == nil {
		p.queues, p.tokens = map[uint32]*queue{}, map[dataKey]uint32{}
	}
	k := dataKey{vmID, name}
	token, ok := p.tokens[k]
	if !ok {
		p.lastToken++
		token = p.lastToken
		p.tokens[k] = token
		p.queues[token] = &queue{}
	}
	p.queues[token].ready = func() { ready(token) }
	return token
}

func (p *Proxy) resolveQueue(vmID, name string) (uint32, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	token, ok := p.tokens[dataKey{vmID, name}]
	return token, ok
}

func (p *Proxy) enqueue(token uint32, item string) Status {
	p.mu.Lock()
	q, ok := p.queues[token]
	if !ok {
		p.mu.Unlock()
		return StatusNotFound
	}
	if len(q.items) >= MaxQueueItems || p.bytes+len(item) > MaxSharedBytes {
		p.mu.Unlock()
		return StatusInternalFailure
	}
	p.bytes += len(item)
	q.items = append(q.items, item)
	ready := q.ready
	p.mu.Unlock()
	ready()
	return StatusOK
}

func (p *Proxy) dequeue(token uint32) (string, Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q, ok := p.queues[token]
	if !ok {
		return "", StatusNotFound
	}
	if len(q.items) == 0 {
		return "", StatusEmpty
	}
	item := q.items[0]
	q.items = q.items[1:]
	p.bytes -= len(item)
	return item, StatusOK
}

// MetricType is the type of a metric (proxy_metric_type_t).
type MetricType uint32

// The metric types of the ABI.
const (
	MetricCounter MetricType = iota
	MetricGauge
	MetricHistogram
)

// String gives the type's name.
func (t MetricType) String() string {
	if int(t) < 3 {
		return [...]string{"counter", "gauge", "histogram"}[t]
	}
	return fmt.Sprintf("metric type %d", uint32(t))
}

// Metric is the state of one metric. Name is the guest's: Envoy shows it as "wasmcustom." and the name.
type Metric struct {
	Name string
	Type MetricType
	// Value is a counter's sum or a gauge's value. 0 for a histogram.
	Value uint64
	// Count and Sum are a histogram's: how many samples, and their sum.
	Count, Sum uint64
}

type metric struct {
	mu sync.Mutex
	Metric
}

// metricKey keeps metrics of one name and different types apart, as Envoy does.
func metricKey(t MetricType, name string) string { return string(rune('0'+t)) + name }

// defineMetric finds or makes a metric; nil if there are too many.
func (p *Proxy) defineMetric(t MetricType, name string) *metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.metrics[metricKey(t, name)]; ok {
		return m
	}
	if len(p.metrics) >= MaxMetrics {
		return nil
	}
	if p.metrics == nil {
		p.metrics = map[string]*metric{}
	}
	m := &metric{Metric: Metric{Name: name, Type: t}}
	p.metrics[metricKey(t, name)] = m
	return m
}

// Metrics lists all metrics that guests defined, sorted by name and type. The slice is the caller's.
func (p *Proxy) Metrics() []Metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Metric, 0, len(p.metrics))
	for _, k := range slices.Sorted(maps.Keys(p.metrics)) {
		m := p.metrics[k]
		m.mu.Lock()
		out = append(out, m.Metric)
		m.mu.Unlock()
	}
	slices.SortStableFunc(out, func(a, b Metric) int {
		if a.Name != b.Name {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}
		return int(a.Type) - int(b.Type)
	})
	return out
}
