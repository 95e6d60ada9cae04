package agent

import (
	"regexp"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
)

// TestDeniedIsKnownWhereItIsCounted: that there is no counter of 401 and 403 is no sign that there were none, unless others show that there would be one.
func TestDeniedIsKnownWhereItIsCounted(t *testing.T) {
	filter := regexp.MustCompile(statsOfAllThat(envoy.DefaultStatPrefix))
	for name, test := range map[string]struct {
		stat  string
		known bool
	}{
		"nobody counts":                       {"http.edge.downstream_rq_5xx", false},
		"the agent's bootstrap counts":        {"waft.requests.cohort.-", true},
		"an older agent's has counted one":    {"waft.denied", true},
		"others count, and there was none":    {"waft.requests", true},
		"others count something of that name": {"waft.requests_denied", false},
	} {
		t.Run(name, func(t *testing.T) {
			stats := envoy.Stats{Values: map[string]int64{}}
			for stat, value := range map[string]int64{"http.edge.downstream_rq_completed": 30, test.stat: 7} {
				if filter.MatchString(stat) {
					stats.Values[stat] = value
				}
			}
			if o := observe(stats, envoy.DefaultStatPrefix); o.deniedKnown != test.known || o.requests != 30 {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestMeterOfDenied: requests of an Envoy that did not count 401 and 403 are not made up for by a later one that does.
func TestMeterOfDenied(t *testing.T) {
	c := &chain{Hash: "one"}
	at := func(epoch int, requests, denied int64, known bool) observation {
		return observation{at: noon, epoch: epoch, requests: requests, denied: denied, deniedKnown: known}
	}
	var m meter
	for i, step := range []struct {
		observation
		undenied int64
	}{
		{at(1, 100, 0, false), 0}, // those were of what served before
		{at(1, 120, 0, false), 20},
		{at(1, 130, 5, true), 0},
		{at(2, 0, 0, false), 0}, // started again, and nothing to count yet
		{at(2, 10, 0, true), 0},
		{at(3, 10, 0, false), 10},
		{at(4, 10, 0, true), 10},
	} {
		m.follow(c, step.observation)
		if got := m.total(c); got.undenied != step.undenied {
			t.Errorf("step %d: of %d requests it is not known, want %d", i, got.undenied, step.undenied)
		}
	}
}

// TestSettling: requests count as settled once an observation has seen them that is a second old, and never across a start of Envoy.
func TestSettling(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var s settling
	for i, step := range []struct {
		at       time.Duration
		epoch    int
		requests int64
		want     int64
	}{
		{0, 1, 100, 0},
		{400 * time.Millisecond, 1, 200, 0},
		{900 * time.Millisecond, 1, 300, 0},
		{1000 * time.Millisecond, 1, 400, 100},
		{1900 * time.Millisecond, 1, 500, 100},
		{2100 * time.Millisecond, 1, 600, 400},
		{2200 * time.Millisecond, 2, 5, 0},
		{3300 * time.Millisecond, 2, 9, 5},
	} {
		if got, _ := s.settle(observation{began: noon.Add(step.at), at: noon.Add(step.at), epoch: step.epoch, requests: step.requests}); got != step.want {
			t.Errorf("step %d: %d requests have settled, want %d", i, got, step.want)
		}
	}
}
