package distributor

import (
	"errors"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
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

// decisions measures what deciding about rollouts takes.
type decisions struct{ took, wrote prometheus.Histogram }

func newDecisions(r prometheus.Registerer) (decisions, error) {
	d := decisions{
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "waft_rollout_decision_seconds", Buckets: decisionBuckets,
			Help: "What one decision about a rollout took, from the picture of the fleet to the last duty set, without the store.",
		}),
		wrote: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "waft_rollout_write_seconds", Buckets: decisionBuckets,
			Help: "What the store took to keep a rollout that a decision had changed.",
		}),
	}
	return d, errors.Join(r.Register(d.took), r.Register(d.wrote))
}

// decisionBuckets are narrow around what a decision about 10,000 nodes may take, 50 ms.
var decisionBuckets = []float64{.0005, .001, .002, .005, .01, .015, .02, .025, .03, .035, .04, .045, .05, .06, .07, .08, .1, .15, .2, .3, .5, 1, 5}

func (d decisions) observe(one service.Decision) {
	d.took.Observe(one.Took.Seconds())
	if one.Wrote > 0 {
		d.wrote.Observe(one.Wrote.Seconds())
	}
}

// registerRoom shows how much room the store has; now gives nil where this process does not look after it.
func registerRoom(r prometheus.Registerer, now func() *store.Room) error {
	gauge := func(name, help string, of func(store.Room) float64) error {
		return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if room := now(); room != nil {
				return of(*room)
			}
			return 0
		}))
	}
	return errors.Join(
		gauge("waft_store_bytes", "Size of etcd's file, of the member whose is largest; 0 on a replica that does not lead.", func(r store.Room) float64 { return float64(r.Bytes) }),
		gauge("waft_store_in_use_bytes", "What of that file is in use.", func(r store.Room) float64 { return float64(r.InUse) }),
		gauge("waft_store_quota_bytes", "How large that file may become before etcd refuses writes; 0 where etcd does not say (before 3.6).", func(r store.Room) float64 { return float64(r.Quota) }),
		gauge("waft_store_full", "1 while etcd refuses all writes for lack of room.", func(r store.Room) float64 {
			if r.Full {
				return 1
			}
			return 0
		}),
	)
}

// withStore adds the figures of the embedded etcd, which registers them for the whole process, and none of the others there: those of the
// process are in ours.
func withStore(own prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.Gatherers{own, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		all, err := prometheus.DefaultGatherer.Gather()
		return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), "etcd_") }), err
	})}
}

// stateWaiting is the label of nodes that have said nothing of a chain, as `waft nodes list` shows them.
const stateWaiting = "waiting"

var (
	nodesMetric = prometheus.NewDesc("waft_nodes",
		"Nodes that have ever connected, by the ledger's word on the chain each is to run, and by whether it is connected.",
		[]string{"state", "presence"}, nil)
	rolloutsMetric = prometheus.NewDesc("waft_rollouts", "Rollouts by phase, those that have ended too.", []string{"phase"}, nil)
	waitingMetric  = prometheus.NewDesc("waft_rollouts_waiting", "Rollouts with which nothing is wrong and that wait, by what for: the end of another rollout, that of a freeze, room under a cap, or an approval.",
		[]string{"for"}, nil)
	isolatedMetric  = prometheus.NewDesc("waft_nodes_isolated", "Nodes on which a rollback failed, and that no wave takes until a person has released them.", nil, nil)
	rollbacksMetric = prometheus.NewDesc("waft_rollout_rollbacks_total", "Rollouts that began to go back since this process leads: by themselves, since a node or a gate has failed, or since a person asked.",
		[]string{"by"}, nil)
	verdictsMetric = prometheus.NewDesc("waft_rollout_gate_verdicts_total", "Readings of gates that were kept since this process leads, since something was decided by them, by the kind of gate and its verdict.",
		[]string{"gate", "verdict"}, nil)
)

// fleet counts nodes and rollouts when it is asked. While the service is not ready there is nothing to count.
type fleet struct {
	counts func() (service.Counts, error)
}

// Describe implements prometheus.Collector.
func (fleet) Describe(out chan<- *prometheus.Desc) {
	out <- nodesMetric
	out <- rolloutsMetric
	out <- waitingMetric
	out <- isolatedMetric
	out <- rollbacksMetric
	out <- verdictsMetric
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
	for _, wait := range [...]model.RolloutWait{model.WaitsForRollout, model.WaitsForFreeze, model.WaitsForRoom, model.WaitsForApproval} {
		out <- prometheus.MustNewConstMetric(waitingMetric, prometheus.GaugeValue, float64(counts.Waiting[wait]), string(wait))
	}
	out <- prometheus.MustNewConstMetric(isolatedMetric, prometheus.GaugeValue, float64(counts.Isolated))
	for _, by := range [...]service.RollbackBy{service.RollbackByGate, service.RollbackByPerson} {
		out <- prometheus.MustNewConstMetric(rollbacksMetric, prometheus.CounterValue, float64(counts.Rollbacks[by]), string(by))
	}
	for of, n := range counts.Verdicts {
		out <- prometheus.MustNewConstMetric(verdictsMetric, prometheus.CounterValue, float64(n), of.Kind, string(of.Verdict))
	}
}
