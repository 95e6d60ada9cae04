package pushed

import (
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// Limits of what is read out of a flush.
const (
	// maxRead is how many statistics are read of a flush: those of gates, some of each worker, and some of each filter.
	maxRead = 512
	// maxLabels bounds the labels of one statistic that are looked at; those that take a name apart are few.
	maxLabels = 16
	// maxBuckets bounds the buckets of one histogram.
	maxBuckets = 256
	// maxValue is the largest count that is taken: beyond it a double leaves out ones.
	maxValue = 1 << 53
)

// Numbers of fields of io.prometheus.client's messages on the wire.
const (
	familyName      = 1 // of MetricFamily
	familyMetric    = 4
	metricLabel     = 1 // of Metric
	metricGauge     = 2
	metricCounter   = 3
	metricTime      = 6
	metricHistogram = 7
	labelName       = 1 // of LabelPair
	labelValue      = 2
	value           = 1 // of Gauge and of Counter
	histogramBucket = 3 // of Histogram
	bucketCount     = 1 // of Bucket
	bucketBound     = 2
)

// Reading is what a message says, as far as it is read. The zero value says nothing.
type Reading struct {
	// at is when Envoy took it, in milliseconds of its clock; all metrics of one flush have the same.
	at     int64
	values map[string]sample
	// latency is of the requests that completed since the flush before: Envoy pushes histograms of the interval, whatever it does with counters.
	latency model.Latency
	// cohort is that of the cohort's requests, and timed: Envoy keeps it apart.
	cohort model.Latency
	timed  bool
}

// sample is a counter, or a gauge.
type sample struct {
	value   float64
	counter bool
}

// Read reads the bytes of a Message; asked are the names that gates ask for beside those that are always read. An error is of bytes that are no message of
// metrics.
func Read(message []byte, asked []string) (Reading, error) {
	r := Reading{values: map[string]sample{}}
	err := fieldsOf(message, func(field protowire.Number, family []byte, _ uint64) error {
		if field != fieldFamily || family == nil {
			return nil
		}
		return r.family(family, asked)
	})
	return r, err
}

// family reads one family. Its name stands first, as Envoy writes it; one of which it does not is not read.
func (r *Reading) family(family []byte, asked []string) error {
	field, kind, n := protowire.ConsumeTag(family)
	if n < 0 || field != familyName || kind != protowire.BytesType {
		return nil
	}
	raw, m := protowire.ConsumeBytes(family[n:])
	if m < 0 {
		return fmt.Errorf("%w: the name of a family: %w", errWire, protowire.ParseError(m))
	}
	name := string(raw)
	if !readable(name, asked) {
		return nil
	}
	return fieldsOf(family[n+m:], func(field protowire.Number, metric []byte, _ uint64) error {
		if field != familyMetric || metric == nil {
			return nil
		}
		return r.metric(name, metric, asked)
	})
}

// metric reads one metric of a family of that name.
func (r *Reading) metric(name string, metric []byte, asked []string) error {
	labels := map[string]string(nil)
	var one *sample
	var histogram []byte
	var at int64
	err := fieldsOf(metric, func(field protowire.Number, v []byte, number uint64) error {
		switch {
		case field == metricTime:
			at = int64(number)
		case v == nil:
		case field == metricLabel && len(labels) < maxLabels:
			key, text, err := label(v)
			if err != nil {
				return err
			}
			if labels == nil {
				labels = map[string]string{}
			}
			labels[key] = text
		case field == metricGauge, field == metricCounter:
			read, err := number64(v)
			if err != nil {
				return err
			}
			one = &sample{value: read, counter: field == metricCounter}
		case field == metricHistogram:
			histogram = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	full := fullName(name, labels)
	if !wanted(full, asked) {
		return nil
	}
	if r.at == 0 {
		r.at = at
	}
	switch {
	case histogram != nil && full == timeStat:
		latency, err := latencyOf(histogram)
		if err != nil {
			return err
		}
		r.latency = r.latency.Plus(latency)
	case histogram != nil && strings.HasPrefix(full, envoy.CohortTimeStat+envoy.CohortTag):
		latency, err := latencyOf(histogram)
		if err != nil {
			return err
		}
		if r.timed = true; full == envoy.CohortTimeStat+envoy.CohortTag+envoy.CohortIn {
			r.cohort = r.cohort.Plus(latency)
		}
	case one != nil && countable(one.value, full):
		if _, has := r.values[full]; has || len(r.values) < maxRead {
			r.values[full] = *one
		}
	}
	return nil
}

// countable says whether a value is one: versions are hashes, and may be beyond what is counted.
func countable(v float64, name string) bool {
	return v >= 0 && (v <= maxValue || name == versionStat) && !math.IsInf(v, 0)
}

func label(b []byte) (key, text string, err error) {
	err = fieldsOf(b, func(field protowire.Number, v []byte, _ uint64) error {
		switch {
		case len(v) > maxNameBytes:
		case field == labelName:
			key = string(v)
		case field == labelValue:
			text = string(v)
		}
		return nil
	})
	return key, text, err
}

// number64 reads a Gauge or a Counter.
func number64(b []byte) (float64, error) {
	var read float64
	err := fieldsOf(b, func(field protowire.Number, v []byte, number uint64) error {
		if field == value && v == nil {
			read = math.Float64frombits(number)
		}
		return nil
	})
	return read, err
}

// latencyOf puts Envoy's buckets, whose bounds its operator may have chosen, into those of a report, each into the first that reaches as far. Where they end
// before those of a report do, the slowest requests may be in none of them, and nothing is known of any.
func latencyOf(histogram []byte) (model.Latency, error) {
	var l, none model.Latency
	var below, buckets int64
	var highest float64
	err := fieldsOf(histogram, func(field protowire.Number, bucket []byte, _ uint64) error {
		if field != histogramBucket || bucket == nil || buckets == maxBuckets {
			return nil
		}
		buckets++
		var count uint64
		var bound float64
		if err := fieldsOf(bucket, func(field protowire.Number, v []byte, number uint64) error {
			switch {
			case v != nil:
			case field == bucketCount:
				count = number
			case field == bucketBound:
				bound = math.Float64frombits(number)
			}
			return nil
		}); err != nil {
			return err
		}
		if !(bound > highest) || count > maxValue { // NaN is above nothing
			return nil
		}
		highest = bound
		l[bucketOf(bound)] += max(int64(count)-below, 0)
		below = max(int64(count), below)
		return nil
	})
	if err != nil || highest < float64(latencyReach/time.Millisecond) {
		return none, err
	}
	return l, nil
}

// latencyReach is how far Envoy's buckets must reach for its times to be taken: as far as those of a report. Envoy's own reach an hour.
const latencyReach = time.Minute

// bucketOf is the bucket of a Latency for times up to a bound, in milliseconds.
func bucketOf(milliseconds float64) int {
	for i := 0; ; i++ {
		if bound, bounded := model.LatencyBound(i); !bounded || milliseconds <= float64(bound)/float64(time.Millisecond) {
			return i
		}
	}
}

// join adds what another message of the same flush says.
func (r *Reading) join(other Reading) {
	for name, v := range other.values {
		if _, has := r.values[name]; has || len(r.values) < maxRead {
			r.values[name] = v
		}
	}
	r.latency, r.cohort, r.timed = r.latency.Plus(other.latency), r.cohort.Plus(other.cohort), r.timed || other.timed
}
