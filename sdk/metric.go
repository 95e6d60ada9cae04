package sdk

import (
	"errors"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Tag is a dimension of a metric. Proxy-wasm metrics have names only, so a tag becomes part of the name; see [MetricName].
type Tag struct{ Name, Value string }

// MaxTagValue is the most bytes of a tag's value that go into a metric's name.
const MaxTagValue = 128

// emptyTagValue stands for a tag value that is empty.
const emptyTagValue = "_"

// MetricName is the name under which the host knows a metric with tags: NAME.TAG1.VALUE1.TAG2.VALUE2, in the order given.
// Envoy shows it as wasmcustom.NAME…. Name stays as it is. In tag names and values each byte that is not a letter, a
// digit, - or _ becomes _ (so a dot never looks like the next tag), a value is cut at [MaxTagValue] bytes, and an empty one
// becomes _. Envoy makes real tags of it with stats_tags in its bootstrap:
//
//	stats_config:
//	  stats_tags:
//	  - {tag_name: code, regex: '^wasmcustom\.http\.requests.*?(\.code\.([^.]+))'}
func MetricName(name string, tags ...Tag) string {
	if len(tags) == 0 {
		return name
	}
	return string(AppendMetricName(nil, name, tags...))
}

// AppendMetricName appends what [MetricName] makes to dst, for filters that look metrics up without an allocation.
func AppendMetricName(dst []byte, name string, tags ...Tag) []byte {
	dst = append(dst, name...)
	for _, t := range tags {
		value := t.Value
		if value == "" {
			value = emptyTagValue
		}
		dst = appendClean(append(dst, '.'), t.Name)
		dst = appendClean(append(dst, '.'), value[:min(len(value), MaxTagValue)])
	}
	return dst
}

func appendClean(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

// metric is one that is defined.
type metric struct {
	id   uint32
	kind abi.MetricType
	// count is that of a counter.
	count *count
}

// Counter counts up. The zero Counter counts nothing.
//
// What it counts reaches the host within [DefaultMetricDelay], many counts by one host call, and before the plugin ends. A VM that traps
// takes what it had not told with it. WAFT_METRIC_DELAY_MS in the VM's environment sets another delay; with 0 the host has each count at once.
type Counter struct{ count *count }

// Inc adds one.
func (c Counter) Inc() { c.Add(1) }

// Add adds n. Counts above 2^63-1 are cut to it.
func (c Counter) Add(n uint64) {
	if c.count != nil {
		c.count.add(n)
	}
}

// Value is what the counter stands at, over all workers: of the other workers, what they have told the host.
func (c Counter) Value() (uint64, error) {
	if c.count == nil {
		return 0, nil
	}
	c.count.flush()
	return metricValue(&c.count.pulse.plugin.host, c.count.id)
}

// Gauge goes up and down. The zero Gauge keeps nothing.
type Gauge struct {
	host *abi.Host
	id   uint32
}

// Set gives the gauge a value.
func (g Gauge) Set(v uint64) {
	if g.host != nil {
		g.host.RecordMetric(g.id, v)
	}
}

// Add adds n, which may be negative.
func (g Gauge) Add(n int64) {
	if g.host != nil {
		g.host.IncrementMetric(g.id, n)
	}
}

// Value is what the gauge stands at.
func (g Gauge) Value() (uint64, error) { return metricValue(g.host, g.id) }

// Histogram keeps the distribution of samples. The zero Histogram keeps none.
type Histogram struct {
	host *abi.Host
	id   uint32
}

// Record adds a sample. Envoy's histograms have no unit: put it into the name, as in duration_ms.
func (h Histogram) Record(v uint64) {
	if h.host != nil {
		h.host.RecordMetric(h.id, v)
	}
}

// Counter defines a counter; see [MetricName] for what tags do. Defining one again gives the same one. The error is a
// [*HostError], or says that the name stands for another kind of metric already.
//
// Defining costs a host call and memory in Envoy for good, so what a request brings must not name metrics without a bound.
func (p *Plugin) Counter(name string, tags ...Tag) (Counter, error) {
	m, err := p.define(abi.Counter, name, tags)
	return Counter{m.count}, err
}

// CountersBy defines a counter for each value of a tag: what a filter decides, say, by its reason. See [Plugin.Counter].
func CountersBy[K ~string](p *Plugin, name, tag string, values ...K) (map[K]Counter, error) {
	counters := make(map[K]Counter, len(values))
	for _, value := range values {
		c, err := p.Counter(name, Tag{Name: tag, Value: string(value)})
		if err != nil {
			return nil, err
		}
		counters[value] = c
	}
	return counters, nil
}

// Gauge defines a gauge; see [Plugin.Counter].
func (p *Plugin) Gauge(name string, tags ...Tag) (Gauge, error) {
	m, err := p.define(abi.Gauge, name, tags)
	if err != nil {
		return Gauge{}, err
	}
	return Gauge{&p.host, m.id}, nil
}

// Histogram defines a histogram; see [Plugin.Counter].
func (p *Plugin) Histogram(name string, tags ...Tag) (Histogram, error) {
	m, err := p.define(abi.Histogram, name, tags)
	if err != nil {
		return Histogram{}, err
	}
	return Histogram{&p.host, m.id}, nil
}

// define asks the host once for each name: a host gives a new id for each definition and keeps them all.
func (p *Plugin) define(kind abi.MetricType, name string, tags []Tag) (metric, error) {
	if name == "" {
		return metric{}, errors.New("define metric: its name is empty")
	}
	full := MetricName(name, tags...)
	if m, ok := p.metrics[full]; ok {
		if m.kind != kind {
			return metric{}, errors.New("define metric " + full + " as a " + kindName(kind) + ": it is a " + kindName(m.kind) + " already")
		}
		return m, nil
	}
	id, status := p.host.DefineMetric(kind, full)
	if status != abi.OK {
		return metric{}, hostError(status, "define metric", full)
	}
	m := metric{id: id, kind: kind}
	if kind == abi.Counter {
		m.count = &count{pulse: p.pulse, id: id}
	}
	p.metrics[full] = m
	return m, nil
}

func kindName(kind abi.MetricType) string {
	switch kind {
	case abi.Counter:
		return "counter"
	case abi.Gauge:
		return "gauge"
	}
	return "histogram"
}

func metricValue(h *abi.Host, id uint32) (uint64, error) {
	if h == nil {
		return 0, nil
	}
	v, status := h.GetMetric(id)
	return v, hostError(status, "get metric", "")
}
