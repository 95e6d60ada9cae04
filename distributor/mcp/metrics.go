package mcp

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Component is the end that a metric is about, the label "component" of each metric.
type component string

const (
	componentSource component = "source"
	componentSink   component = "sink"
)

// Metrics are the figures of sources and sinks, under the names that operators know from Istio. One Metrics may be
// shared by any number of sources and sinks.
type Metrics struct {
	clients       *prometheus.GaugeVec
	sizes         *prometheus.HistogramVec
	acks          *prometheus.CounterVec
	nacks         *prometheus.CounterVec
	stale         *prometheus.CounterVec
	throttled     *prometheus.CounterVec
	sendFailures  *prometheus.CounterVec
	recvFailures  *prometheus.CounterVec
	reconnections *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them. A nil registry is allowed: they are counted and shown nowhere.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		clients: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "istio_mcp_clients_total", Help: "Streams that are open now.",
		}, []string{"component"}),
		sizes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "istio_mcp_message_sizes_bytes", Help: "Size of the messages with resources.",
			Buckets: prometheus.ExponentialBuckets(256, 4, 9),
		}, []string{"component", "collection"}),
		acks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "istio_mcp_request_acks_total", Help: "Messages that the sink accepted.",
		}, []string{"component", "collection"}),
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "istio_mcp_request_nacks_total", Help: "Messages that the sink refused, by the gRPC code of the reason.",
		}, []string{"component", "collection", "code"}),
		stale: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waft_mcp_stale_nonces_total", Help: "Requests with a nonce that was not awaited; they are ignored.",
		}, []string{"component", "collection"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waft_mcp_throttled_requests_total", Help: "Requests after which a node was not read from for a while, since it asks too often.",
		}, []string{"component"}),
		sendFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "istio_mcp_send_failures_total", Help: "Messages that could not be sent, by gRPC code.",
		}, []string{"component", "code"}),
		recvFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "istio_mcp_recv_failures_total", Help: "Streams that ended with an error while receiving, by gRPC code.",
		}, []string{"component", "code"}),
		reconnections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "istio_mcp_reconnections", Help: "Times that a stream was opened again by the end that dials.",
		}, []string{"component"}),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.clients, m.sizes, m.acks, m.nacks, m.stale, m.throttled, m.sendFailures, m.recvFailures, m.reconnections,
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register MCP metrics: %w", err)
		}
	}
	return m, nil
}
