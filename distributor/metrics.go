package distributor

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// newMetrics is a registry of this distributor's own, with the figures of the process and which version it is.
func newMetrics(version string) (*prometheus.Registry, error) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "waft_build_info", Help: "Always 1; its labels say which build runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// stateWaiting is the label of nodes that have said nothing of a chain, as `waft nodes list` shows them.
const stateWaiting = "waiting"

var (
	nodesMetric = prometheus.NewDesc("waft_nodes",
		"Nodes that have ever connected, by the ledger's word on the chain each is to run, and by whether it is connected.",
		[]string{"state", "presence"}, nil)
	rolloutsMetric = prometheus.NewDesc("waft_rollouts", "Rollouts by phase, those that have ended too.", []string{"phase"}, nil)
)

// fleet counts nodes and rollouts when it is asked. While the service is not ready there is nothing to count.
type fleet struct {
	counts func() (service.Counts, error)
}

// Describe implements prometheus.Collector.
func (fleet) Describe(out chan<- *prometheus.Desc) {
	out <- nodesMetric
	out <- rolloutsMetric
}

// Collect implements prometheus.Collector. What is not there is 0, so that a rule can tell "none" from "not known".
func (f fleet) Collect(out chan<- prometheus.Metric) {
	counts, err := f.counts()
	if err != nil {
		return
	}
	for _, state := range [...]model.ChainState{
		"", model.ChainOffered, model.ChainFetched, model.ChainLoaded, model.ChainServing, model.ChainDegraded, model.ChainRejected,
	} {
		label := string(state)
		if label == "" {
			label = stateWaiting
		}
		for _, presence := range [...]service.Presence{service.PresenceConnected, service.PresenceUnknown} {
			n := counts.Nodes[service.NodeCount{State: state, Presence: presence}]
			out <- prometheus.MustNewConstMetric(nodesMetric, prometheus.GaugeValue, float64(n), label, string(presence))
		}
	}
	for _, phase := range [...]model.RolloutPhase{
		model.RolloutPending, model.RolloutFetching, model.RolloutMoving, model.RolloutSoaking, model.RolloutPaused,
		model.RolloutRollingBack, model.RolloutRolledBack, model.RolloutAborted, model.RolloutDone,
	} {
		out <- prometheus.MustNewConstMetric(rolloutsMetric, prometheus.GaugeValue, float64(counts.Rollouts[phase]), string(phase))
	}
}
