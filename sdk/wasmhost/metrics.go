package wasmhost

// instanceMetrics maps the metric ids of one VM to metrics. An id has the metric's type in its low two bits.
type instanceMetrics struct {
	byID map[uint32]*metric
	next [3]uint32
}

func newInstanceMetrics() instanceMetrics {
	return instanceMetrics{byID: map[uint32]*metric{}, next: [3]uint32{0, 1, 2}}
}

const (
	metricTypeMask    = 3
	metricIDIncrement = 4
)

// define gives a new id for a metric. Defining a name twice gives two ids of one metric.
func (im *instanceMetrics) define(p *Proxy, t MetricType, name string) (uint32, Status) {
	if t > MetricHistogram {
		return 0, StatusBadArgument
	}
	if len(im.byID) >= MaxMetrics {
		return 0, StatusInternalFailure
	}
	m := p.defineMetric(t, name)
	if m == nil {
		return 0, StatusInternalFailure
	}
	im.next[t] += metricIDIncrement
	id := im.next[t]
	im.byID[id] = m
	return id, StatusOK
}

// increment adds to a counter, or moves a gauge. A counter takes no offset below 1.
func (im *instanceMetrics) increment(id uint32, offset int64) Status {
	t := MetricType(id & metricTypeMask)
	if t > MetricGauge {
		return StatusBadArgument
	}
	m, ok := im.byID[id]
	if !ok {
		return StatusNotFound
	}
	if t == MetricCounter && offset <= 0 {
		return StatusBadArgument
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Value += uint64(offset)
	return StatusOK
}

// record adds to a counter, sets a gauge, or takes a histogram's sample.
func (im *instanceMetrics) record(id uint32, value uint64) Status {
	m, ok := im.byID[id]
	if !ok {
		return StatusNotFound
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.Type {
	case MetricCounter:
		m.Value += value
	case MetricGauge:
		m.Value = value
	case MetricHistogram:
		m.Count++
		m.Sum += value
	}
	return StatusOK
}

// get reads a counter or a gauge. Histograms have no value.
func (im *instanceMetrics) get(id uint32) (uint64, Status) {
	if MetricType(id&metricTypeMask) > MetricGauge {
		return 0, StatusBadArgument
	}
	m, ok := im.byID[id]
	if !ok {
		return 0, StatusNotFound
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Value, StatusOK
}
