package model

import (
	"maps"
	"time"
)

// GateSpec is a check on a wave; exactly one field is set. The gate "loaded" needs no spec: every wave has it.
//
// A gate fails as soon as it can tell, and the rollout goes back; it passes at the end of the soak. One that cannot tell by then, for want of
// samples or of an answer, is inconclusive, and pauses the rollout.
type GateSpec struct {
	ErrorRatio  *ErrorRatioGate  `json:"errorRatio,omitempty"`
	DeniedRatio *DeniedRatioGate `json:"deniedRatio,omitempty"`
	Coverage    *CoverageGate    `json:"coverage,omitempty"`
	Comparison  *ComparisonGate  `json:"comparison,omitempty"`
	Stuck       *StuckGate       `json:"stuck,omitempty"`
	Watchdog    *WatchdogGate    `json:"watchdog,omitempty"`
	Reloads     *ReloadsGate     `json:"reloads,omitempty"`
	Growth      *GrowthGate      `json:"growth,omitempty"`
	Statistic   *StatisticGate   `json:"statistic,omitempty"`
	Approval    *ApprovalGate    `json:"approval,omitempty"`
	Prometheus  *PrometheusGate  `json:"prometheus,omitempty"`
	Webhook     *WebhookGate     `json:"webhook,omitempty"`
}

// DefaultMinSamples is how many requests a gate on a ratio needs where it does not say.
const DefaultMinSamples = 20

// ErrorRatioGate fails the wave when the 5xx share of the moved nodes' requests exceeds Max.
type ErrorRatioGate struct {
	Max float64 `json:"max"`
	// MinSamples is how many requests a verdict needs. Zero: DefaultMinSamples.
	MinSamples int64 `json:"minSamples,omitempty"`
}

// DeniedRatioGate fails the wave when the share of 401 and 403 among the moved nodes' requests exceeds Max: a filter that denies everybody
// answers no 5xx.
type DeniedRatioGate struct {
	Max float64 `json:"max"`
	// MinSamples is how many requests a verdict needs. Zero: DefaultMinSamples.
	MinSamples int64 `json:"minSamples,omitempty"`
}

// CoverageGate fails the wave when the filters of the chain counted less than Min of the requests that completed: a filter that Envoy skips
// (FAIL_OPEN after a crash) shows by nothing else. The count is that of the chain's filter which saw the fewest, so where a filter
// answers requests itself those behind it lower it.
type CoverageGate struct {
	// Min is above 0: with 0 it could not fail.
	Min float64 `json:"min"`
	// MinSamples is how many requests a verdict needs. Zero: DefaultMinSamples.
	MinSamples int64 `json:"minSamples,omitempty"`
}

// Compared is what a comparison looks at.
type Compared string

// What can be compared.
const (
	// ComparedErrors is the share of 5xx.
	ComparedErrors Compared = "errors"
	// ComparedDenied is the share of 401 and 403.
	ComparedDenied Compared = "denied"
	// ComparedStuck is the share of requests that got no answer.
	ComparedStuck Compared = "stuck"
	// ComparedLatency is the time within which a percentile of the requests was answered.
	ComparedLatency Compared = "latency"
)

// ComparisonGate fails the wave when the moved nodes do worse than those of the target that have not moved, over the same time. So what hits
// the whole fleet, such as an upstream that is down, does not fail it.
type ComparisonGate struct {
	Of Compared `json:"of"`
	// MaxIncrease is by how much the moved nodes' share may be above the others', in parts of one: 0.01 lets 3 % stand against 2 %. Of latency
	// it is in parts of the others' time: 0.2 lets 60 ms stand against 50 ms.
	MaxIncrease float64 `json:"maxIncrease"`
	// Percentile is that of the latency which is compared. Zero: DefaultPercentile.
	Percentile float64 `json:"percentile,omitempty"`
	// Slack is a difference in latency that never fails: Envoy counts times in buckets, and a part of almost nothing is nothing. Zero:
	// DefaultSlack.
	Slack time.Duration `json:"slack,omitempty"`
	// MinSamples is how many requests each side needs. Zero: DefaultComparisonSamples.
	MinSamples int64 `json:"minSamples,omitempty"`
}

// DefaultComparisonSamples is how many requests each side of a comparison needs where the gate does not say.
const DefaultComparisonSamples = 100

// ApprovalGate has a person say that the rollout may go on after this wave. It waits for as long as it takes, at the end of the soak, while
// the other gates go on; promote does not stand for it.
type ApprovalGate struct {
	// Note tells the person what to look at.
	Note string `json:"note,omitempty"`
}

// PrometheusGate compares the answer to a query with bounds.
type PrometheusGate struct {
	// Name is what readings call it. Empty: prometheus.
	Name string `json:"name,omitempty"`
	// Server is the URL of a Prometheus, such as http://prometheus:9090.
	Server string `json:"server"`
	// Query is PromQL, whose answer is a scalar or a vector of one sample. $rollout, $release and $wave stand for the rollout's name, the
	// release and the wave, counted from 1; $moved for the moved nodes as a regular expression of their ids; $served for how long all nodes of the
	// wave have served the release, as a range (90s), and next to nothing (1ms) while one does not yet.
	Query string `json:"query"`
	// Max and Min are the bounds; at least one is set. A value that is no number (NaN) is inconclusive, as is an empty answer.
	Max *float64 `json:"max,omitempty"`
	Min *float64 `json:"min,omitempty"`
	// Every is how often it is asked. Zero: DefaultGateInterval.
	Every time.Duration `json:"every,omitempty"`
}

// WebhookGate asks somebody else's program: a POST with the rollout, the wave, its nodes and for how long they have served as JSON, answered by
// {"verdict":"pass"|"fail"|"inconclusive","detail":"…"}. Any other answer than 200 with such a body is inconclusive.
type WebhookGate struct {
	// Name is what readings call it. Empty: webhook.
	Name string `json:"name,omitempty"`
	URL  string `json:"url"`
	// Every is how often it is asked. Zero: DefaultGateInterval.
	Every time.Duration `json:"every,omitempty"`
}

// DefaultGateInterval is how often a gate that is read elsewhere is asked where it does not say.
const DefaultGateInterval = 10 * time.Second

// Name is what readings of the gate are called.
func (g GateSpec) Name() string {
	switch {
	case g.ErrorRatio != nil:
		return "errorRatio"
	case g.DeniedRatio != nil:
		return "deniedRatio"
	case g.Coverage != nil:
		return "coverage"
	case g.Comparison != nil:
		return "comparison/" + string(g.Comparison.Of)
	case g.Stuck != nil:
		return "stuck"
	case g.Watchdog != nil:
		return "watchdog"
	case g.Reloads != nil:
		return "reloads"
	case g.Growth != nil:
		return "growth"
	case g.Statistic != nil:
		return named("statistic", g.Statistic.Name)
	case g.Approval != nil:
		return "approval"
	case g.Prometheus != nil:
		return named("prometheus", g.Prometheus.Name)
	case g.Webhook != nil:
		return named("webhook", g.Webhook.Name)
	}
	return ""
}

func named(kind, name string) string {
	if name == "" {
		return kind
	}
	return kind + "/" + name
}

// Given says whether the state machine is given the reading, since it does not know how to judge it: an answer from elsewhere, or what an
// expression says of the nodes.
func (g GateSpec) Given() bool { return g.Elsewhere() || g.Statistic != nil }

// Elsewhere says whether the answer has to be asked for.
func (g GateSpec) Elsewhere() bool { return g.Prometheus != nil || g.Webhook != nil }

// Every is how often a gate that is read elsewhere is asked; zero for the others.
func (g GateSpec) Every() time.Duration {
	var every time.Duration
	switch {
	case g.Prometheus != nil:
		every = g.Prometheus.Every
	case g.Webhook != nil:
		every = g.Webhook.Every
	default:
		return 0
	}
	if every == 0 {
		return DefaultGateInterval
	}
	return every
}

// Compares says whether the gate needs statistics of nodes that have not moved.
func (g GateSpec) Compares() bool { return g.Comparison != nil }

// Clone is a copy that shares nothing with g.
func (g GateSpec) Clone() GateSpec {
	g.ErrorRatio, g.DeniedRatio, g.Coverage = clonePointer(g.ErrorRatio), clonePointer(g.DeniedRatio), clonePointer(g.Coverage)
	g.Comparison, g.Approval, g.Webhook = clonePointer(g.Comparison), clonePointer(g.Approval), clonePointer(g.Webhook)
	g.Stuck, g.Watchdog, g.Reloads = clonePointer(g.Stuck), clonePointer(g.Watchdog), clonePointer(g.Reloads)
	if g.Growth = clonePointer(g.Growth); g.Growth != nil {
		g.Growth.MaxMemory, g.Growth.MaxVMs = clonePointer(g.Growth.MaxMemory), clonePointer(g.Growth.MaxVMs)
	}
	if g.Statistic = clonePointer(g.Statistic); g.Statistic != nil {
		g.Statistic.Statistics = maps.Clone(g.Statistic.Statistics)
	}
	g.Prometheus = clonePointer(g.Prometheus)
	if g.Prometheus != nil {
		g.Prometheus.Max, g.Prometheus.Min = clonePointer(g.Prometheus.Max), clonePointer(g.Prometheus.Min)
	}
	return g
}
