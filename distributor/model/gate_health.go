package model

import "time"

// StuckGate fails the wave when more than Max of the requests on the moved nodes got no answer: they hang in the filter, as all do that wait
// in a VM which traps. Such a request is in no other ratio, since it never completes.
type StuckGate struct {
	Max float64 `json:"max"`
	// MinSamples is how many requests, answered or not, a verdict needs. Zero: DefaultMinSamples.
	MinSamples int64 `json:"minSamples,omitempty"`
}

// WatchdogGate fails the wave when the moved nodes' workers were late more often than Max (watchdog_miss). That none hangs
// (watchdog_mega_miss) is a part of "loaded".
type WatchdogGate struct {
	Max int64 `json:"max"`
}

// ReloadsGate fails the wave when VMs of the moved nodes had to be loaded again after a trap, or the sdk caught a panic in one, more often
// than Max. That every VM could be loaded again is a part of "loaded".
type ReloadsGate struct {
	Max int64 `json:"max"`
}

// GrowthGate fails the wave when an Envoy takes more than it did before it was given the chain, at the end of the soak: until then it may
// hold the VMs of the chain before, for streams that began on it. At least one bound is set.
type GrowthGate struct {
	// MaxMemory is in bytes.
	MaxMemory *int64 `json:"maxMemory,omitempty"`
	MaxVMs    *int64 `json:"maxVMs,omitempty"`
}

// What a comparison takes for latency where it does not say.
const (
	DefaultPercentile = 99
	DefaultSlack      = 5 * time.Millisecond
)
