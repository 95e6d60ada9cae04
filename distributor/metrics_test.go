package distributor

import (
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
)

func TestFleetMetrics(t *testing.T) {
	var counts service.Counts
	var failure error
	r, err := newMetrics("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Register(fleet{counts: func() (service.Counts, error) { return counts, failure }}); err != nil {
		t.Fatal(err)
	}
	scrape := func() string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	counts = service.Counts{
		Nodes: map[service.NodeCount]int{
			{Presence: service.PresenceConnected}:                            1,
			{State: model.ChainServing, Presence: service.PresenceConnected}: 7,
			{State: model.ChainRejected, Presence: service.PresenceUnknown}:  2,
		},
		Rollouts: map[model.RolloutPhase]int{model.RolloutDone: 4, model.RolloutSoaking: 1},
		Waiting:  map[model.RolloutWait]int{model.WaitsForApproval: 1},
		Isolated: 2,
		Tally: service.Tally{
			Rollbacks: map[service.RollbackBy]int{service.RollbackByGate: 3},
			Verdicts:  map[service.VerdictCount]int{{Kind: "errorRatio", Verdict: model.VerdictFail}: 5},
		},
	}
	got := scrape()
	for _, line := range []string{
		`waft_build_info{goversion="` + runtime.Version() + `",version="1.2.3"} 1`,
		`waft_nodes{presence="connected",state="waiting"} 1`,
		`waft_nodes{presence="connected",state="serving"} 7`,
		`waft_nodes{presence="unknown",state="rejected"} 2`,
		`waft_nodes{presence="connected",state="rejected"} 0`,
		`waft_rollouts{phase="Done"} 4`,
		`waft_rollouts{phase="Soaking"} 1`,
		`waft_rollouts{phase="Paused"} 0`,
		`waft_rollouts_waiting{for="approval"} 1`,
		`waft_rollouts_waiting{for="freeze"} 0`,
		`waft_nodes_isolated 2`,
		`waft_rollout_rollbacks_total{by="gate"} 3`,
		`waft_rollout_rollbacks_total{by="person"} 0`,
		`waft_rollout_gate_verdicts_total{gate="errorRatio",verdict="fail"} 5`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("there is no %s in\n%s", line, got)
		}
	}
	// Before the store has been read nothing is counted, rather than nothing found.
	failure = model.ErrUnavailable
	if got := scrape(); strings.Contains(got, "waft_nodes") || !strings.Contains(got, "waft_build_info") {
		t.Errorf("not ready, it gives\n%s", got)
	}
}

// What is seen of the store's room is shown; before that, and where another replica sees to it, nothing is.
func TestRoomMetrics(t *testing.T) {
	r, err := newMetrics("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var room *store.Room
	if err := registerRoom(r, func() *store.Room { return room }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		room  *store.Room
		lines []string
	}{
		{nil, []string{"waft_store_bytes 0", "waft_store_full 0"}},
		{&store.Room{Bytes: 3, InUse: 2, Quota: 5}, []string{"waft_store_bytes 3", "waft_store_in_use_bytes 2", "waft_store_quota_bytes 5", "waft_store_full 0"}},
		{&store.Room{Bytes: 5, Full: true}, []string{"waft_store_bytes 5", "waft_store_full 1"}},
	} {
		room = c.room
		w := httptest.NewRecorder()
		promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for _, line := range c.lines {
			if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
				t.Errorf("of %+v there is no %s", c.room, line)
			}
		}
	}
}
