package xds

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	"github.com/prometheus/client_golang/prometheus"
	prom "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/waft-project/waft/distributor/service"
)

// flushOf is what an Envoy pushes that has accepted a version, and has answered so many requests.
func flushOf(node, version string, at int64, requests float64) *metricsv3.StreamMetricsMessage {
	m := &metricsv3.StreamMetricsMessage{}
	if node != "" {
		m.Identifier = &metricsv3.StreamMetricsMessage_Identifier{Node: &corev3.Node{Id: node}}
	}
	add := func(name string, metric *prom.Metric) {
		metric.TimestampMs = &at
		m.EnvoyMetrics = append(m.EnvoyMetrics, &prom.MetricFamily{Name: &name, Metric: []*prom.Metric{metric}})
	}
	one, hash := 1.0, float64(xxhash.Sum64String(version))
	add("http.edge.downstream_rq_completed", &prom.Metric{Counter: &prom.Counter{Value: &requests}})
	add("extension_config_discovery.http_filter.waft.config_reload", &prom.Metric{Counter: &prom.Counter{Value: &one}})
	add("extension_config_discovery.http_filter.waft.version", &prom.Metric{Gauge: &prom.Gauge{Value: &hash}})
	return m
}

// counted is what a counter stands at.
func counted(c prometheus.Counter) int {
	var m prom.Metric
	if err := c.Write(&m); err != nil {
		return -1
	}
	return int(m.GetCounter().GetValue())
}

func awaitThat(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// What an Envoy pushes is read while it is asked for, of the chain that the Envoy has accepted, and else dropped.
func TestPushesAreReadWhileTheyAreAskedFor(t *testing.T) {
	b := newTable()
	b.set("one", "a=1")
	s, conn := run(t, b)
	client := metricsv3.NewMetricsServiceClient(conn)
	pushing, err := client.StreamMetrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	push := func(node, version string, requests float64) {
		t.Helper()
		at += 1000
		if err := pushing.Send(flushOf(node, version, at, requests)); err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string, holds func() bool) { t.Helper(); awaitThat(t, what, holds) }
	dropped, read := s.metrics.pushed.WithLabelValues(pushDropped), s.metrics.pushed.WithLabelValues(pushRead)

	version := hashOf("one")
	push("n", version, 10) // before anybody knows the node
	await("it is dropped", func() bool { return counted(dropped) == 1 })

	n := opened(t, s, "n", version)
	if err := n.assign(t.Context()); err != nil {
		t.Fatal(err)
	}
	push("", version, 20) // nobody asks
	await("it is dropped", func() bool { return counted(dropped) == 2 })
	if err := n.directive(service.Directive{StatisticsInterval: time.Second}); err != nil {
		t.Fatal(err)
	}
	push("", hashOf("other"), 30) // of what served before
	push("", version, 40)
	push("", version, 65)
	await("all are read", func() bool { return counted(read) == 3 })
	b.until(t, "the statistics", func() bool { return len(b.statistics) == 2 })
	if got := b.statistics; got[0].Chain != version || got[0].Requests != 0 || got[1].Requests != 25 {
		t.Errorf("the statistics are %+v", got)
	}

	// When nobody asks any more it is forgotten, and with the next rollout it begins anew.
	if err := n.directive(service.Directive{}); err != nil {
		t.Fatal(err)
	}
	push("", version, 100)
	await("it is dropped", func() bool { return counted(dropped) == 3 })
	if n.record.account != nil {
		t.Error("it is remembered what nobody asks for")
	}
	if err := n.directive(service.Directive{StatisticsInterval: time.Second}); err != nil {
		t.Fatal(err)
	}
	push("", version, 110)
	b.until(t, "the statistics of the next rollout", func() bool { return len(b.statistics) == 3 })
	if got := b.statistics[2]; got.Requests != 0 {
		t.Errorf("the next rollout begins with %+v", got)
	}

	// Its stream of discovery has gone: nobody is to be told.
	s.close(n)
	push("", version, 120)
	await("it is dropped", func() bool { return counted(dropped) == 4 })
	if _, err := pushing.CloseAndRecv(); err != nil {
		t.Errorf("closed in order: %v", err)
	}
	await("the stream is forgotten", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.pushing) == 0
	})
}

// A node has one stream of statistics, the newest; and a stream one node.
func TestStreamsOfStatistics(t *testing.T) {
	s, conn := run(t, newTable())
	client := metricsv3.NewMetricsServiceClient(conn)
	open := func(messages ...*metricsv3.StreamMetricsMessage) error {
		t.Helper()
		stream, err := client.StreamMetrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				break // why, RecvMsg says
			}
		}
		return stream.RecvMsg(&metricsv3.StreamMetricsResponse{})
	}
	for what, tc := range map[string]struct {
		messages []*metricsv3.StreamMetricsMessage
		says     string
	}{
		"of nobody":          {[]*metricsv3.StreamMetricsMessage{flushOf("", "", 1, 1)}, "names no node"},
		"of a long name":     {[]*metricsv3.StreamMetricsMessage{flushOf(strings.Repeat("n", MaxNodeIDBytes+1), "", 1, 1)}, "the limit is"},
		"of another, later":  {[]*metricsv3.StreamMetricsMessage{flushOf("a", "", 1, 1), flushOf("b", "", 2, 1)}, "a stream belongs to one node"},
		"of itself, and one": {[]*metricsv3.StreamMetricsMessage{flushOf("a", "", 1, 1), flushOf("a", "", 1, 1), flushOf("b", "", 2, 1)}, "a stream belongs to one node"},
	} {
		if err := open(tc.messages...); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	older, err := client.StreamMetrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := older.Send(flushOf("n", "", 1, 1)); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, "the stream is the node's", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pushing["n"] != nil
	})
	newer, err := client.StreamMetrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := newer.Send(flushOf("n", "", 2, 1)); err != nil {
		t.Fatal(err)
	}
	if err := older.RecvMsg(&metricsv3.StreamMetricsResponse{}); status.Code(err) != codes.Aborted {
		t.Errorf("the older stream ended with %v", err)
	}
	if _, err := newer.CloseAndRecv(); err != nil && err != io.EOF {
		t.Errorf("the newer stream ended with %v", err)
	}
}

// What an Envoy pushes faster than it may is read later: its stream goes on.
func TestPushesArePaced(t *testing.T) {
	_, conn := run(t, newTable())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := metricsv3.NewMetricsServiceClient(conn).StreamMetrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const more = 10
	began := time.Now()
	for range MaxPushesAtOnce + more {
		if err := stream.Send(flushOf("a", "", 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		t.Fatal(err)
	}
	if took, least := time.Since(began), time.Second*more/MaxPushes; took < least {
		t.Errorf("%d messages were read in %v; want %v at least", MaxPushesAtOnce+more, took, least)
	}
}

// What is no statistics is refused while it would be read.
func TestPushesThatAreNone(t *testing.T) {
	b := newTable()
	b.set("one", "a=1")
	s := newServer(t.Context(), b, nil, nil)
	n := opened(t, s, "n", hashOf("one"))
	broken := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), []byte("\x0a\x0dserver.uptime\xff"))
	if err := s.take("n", broken, time.Now()); err != nil {
		t.Errorf("nobody asks: %v", err)
	}
	if err := n.directive(service.Directive{StatisticsInterval: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := s.take("n", broken, time.Now()); status.Code(err) != codes.InvalidArgument {
		t.Errorf("asked for: %v", err)
	}
}
