package envoy

import (
	"fmt"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// DefaultStatistics is how often an Envoy without an agent pushes its statistics where nobody says; Envoy's own default.
	DefaultStatistics = 5 * time.Second
	// MinStatistics is the most often that it can be asked for: each time Envoy goes through all of its workers.
	MinStatistics = 100 * time.Millisecond
	// pushBatch is how many statistics are in one message. The largest are histograms, of some 700 bytes: a message stays far below the 4 MiB that a server
	// of gRPC takes by default.
	pushBatch = 2000
)

// push has Envoy push its statistics (envoy.service.metrics.v3.MetricsService) over the connection by which it asks for its chain. Counters are totals, so
// that a message that is lost loses nothing; summaries, which no gate reads, are left out.
func (a *ADS) push(b *bootstrapv3.Bootstrap, number Number) error {
	if a.OnlyJudged {
		b.StatsConfig = &metricsv3.StatsConfig{StatsMatcher: &metricsv3.StatsMatcher{StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: judgedStats()}}}
	}
	if a.Statistics == 0 {
		return nil
	}
	batch := uint32(pushBatch)
	if !number.HasFilterChain() { // an older one does not know of batches
		batch = 0
	}
	sink, err := anypb.New(&metricsv3.MetricsServiceConfig{
		GrpcService:         &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: ADSCluster}}},
		TransportApiVersion: corev3.ApiVersion_V3,
		HistogramEmitMode:   metricsv3.HistogramEmitMode_HISTOGRAM,
		BatchSize:           batch,
	})
	if err != nil {
		return fmt.Errorf("render the sink of statistics: %w", err)
	}
	b.StatsSinks = []*metricsv3.StatsSink{{Name: "envoy.stat_sinks.metrics_service", ConfigType: &metricsv3.StatsSink_TypedConfig{TypedConfig: sink}}}
	b.StatsFlushInterval = durationpb.New(a.Statistics)
	return nil
}

// judgedStats match the statistics by which chains are judged: of the connection manager that holds the slot, of the slots, of Envoy and its workers, of the
// requests that were denied, and what filters and their VMs count.
func judgedStats() *matcherv3.ListStringMatcher {
	list := &matcherv3.ListStringMatcher{}
	for _, prefix := range []string{"http." + DefaultStatPrefix + ".", "extension_config_discovery.", "server.", "waft.", "wasm.", "wasmcustom."} {
		list.Patterns = append(list.Patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}})
	}
	return list
}
