package envoy_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// TestCohortIsMeasured: what the cohort waits for in vain, and how long its requests take, is counted apart from the others; each request once, however
// often Envoy looks at it before it ends.
func TestCohortIsMeasured(t *testing.T) {
	t.Parallel()
	binary := envoytest.Binary(t, envoytest.Newest)
	chain := split(envoy.Cohort{Header: "x-canary", Value: "1"})
	chain[1].Config = []byte("pause")
	process, admin := envoytest.Start(t, binary, node(t, envoytest.Newest, chain))
	if err := process.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	serves(t, admin, envoytest.Newest, "default")
	listeners, err := admin.Listeners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := listeners[envoy.DefaultStatPrefix]
	for range 10 {
		if _, status, err := took(t.Context(), address, nil); err != nil || status != http.StatusOK {
			t.Fatal(status, err)
		}
	}
	// leave gives up a request of the cohort, and says so when the client is gone.
	leave := func(after time.Duration) <-chan error {
		gone := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			_, _, err := took(ctx, address, canary)
			gone <- err
		}()
		return gone
	}
	// The first goes away before its time, the second after it, and the third waits for longer than twice that.
	soon, late, last := leave(time.Second), leave(envoy.StuckTime+2*time.Second), leave(2*envoy.StuckTime+2*time.Second)
	want := func(stuck, ended int64) {
		t.Helper()
		envoytest.Eventually(t, fmt.Sprintf("%d requests are stuck and %d ended", stuck, ended), func(ctx context.Context) error {
			stats, err := admin.Stats(ctx, `^waft\.`)
			if err != nil {
				return err
			}
			value := func(name string) int64 { return stats.Values[name+envoy.CohortTag+envoy.CohortIn] }
			if value(envoy.CohortStuckStat) != stuck || value(envoy.CohortRequestsStat) != 0 || // none was answered
				stats.Histograms[envoy.CohortTimeStat+envoy.CohortTag+envoy.CohortIn].Count != ended {
				return fmt.Errorf("it counts %v %v", stats.Values, stats.Histograms)
			}
			// The others, with the one of serves, are all answered.
			if all, stuck := stats.Values[envoy.CohortRequestsStat+envoy.CohortTag], stats.Values[envoy.CohortStuckStat+envoy.CohortTag]; all != 11 || stuck != 0 {
				return fmt.Errorf("%d of the others ended and %d are stuck", all, stuck)
			}
			if n := stats.Histograms[envoy.CohortTimeStat+envoy.CohortTag].Count; n != 11 {
				return fmt.Errorf("%d of the others are timed: %v", n, stats.Histograms)
			}
			return nil
		})
	}
	<-soon
	want(1, 1)
	want(3, 1)
	<-late
	want(3, 2)
	<-last
	want(3, 3)
}
