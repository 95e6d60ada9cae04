package xds

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of servers, by kind of stream: ads (state of the world) or delta; those of pushed statistics by what became of them.
type Metrics struct {
	streams                             *prometheus.GaugeVec
	offers, acks, nacks, stale, unknown *prometheus.CounterVec
	pushed, throttled                   *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them. A nil registry is allowed: they are counted and shown nowhere.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"kind"})
	}
	m := &Metrics{
		streams:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waft_xds_streams", Help: "Streams of Envoys that are open now."}, []string{"kind"}),
		offers:    counter("waft_xds_offers_total", "Responses that were sent to Envoys."),
		acks:      counter("waft_xds_acks_total", "Responses that Envoy accepted."),
		nacks:     counter("waft_xds_nacks_total", "Responses that Envoy rejected; that it lacks a module is one of the reasons."),
		stale:     counter("waft_xds_stale_nonces_total", "Requests with a nonce that was not awaited; they answer nothing."),
		unknown:   counter("waft_xds_unanswered_total", "Requests for types of resources that are not served."),
		throttled: counter("waft_xds_throttled_requests_total", "Requests after which an Envoy was not read from for a while, since it asks too often."),
	}
	m.pushed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "waft_xds_statistics_total", Help: "Messages of statistics that Envoys pushed, by what became of them: read, or dropped, since nobody asks about the node.",
	}, []string{"fate"})
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.streams, m.offers, m.acks, m.nacks, m.stale, m.unknown, m.throttled, m.pushed} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register xDS metrics: %w", err)
		}
	}
	return m, nil
}
