package service_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// A node is away for a month. Meanwhile its like are given releases of filters and resources, which are collected, one is undone, the distributor is killed, and another rollout
// begins. All that time its row says what it is to run, and nothing of having run it. When it comes back it goes from what it had to that, past everything between, and the
// rollout that runs does not take it out of turn.
func TestANodeComesBackAfterAMonth(t *testing.T) {
	const month, watched = 30 * 24 * time.Hour, 29 * 24 * time.Hour
	s, svc := shelves(t)
	s.modules.add("good:4", "")
	s.modules.add("good:5", "")
	config := func(c *service.Config) {
		c.Messages, c.CollectEvery, c.KeepReleases = readers{}, 10*time.Millisecond, 1
	}
	hello := func(id string) service.NodeHello {
		return service.NodeHello{ID: id, Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.40.0", AgentVersion: "v9", Resources: true}
	}
	away, there := s.sim(hello("away")), s.sim(hello("there"))
	s.known(away, there)
	var releases []model.ReleaseID
	roll := func(n int, waves ...model.WaveSpec) string {
		t.Helper()
		svc, _ := s.service()
		release, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "edge", Filters: []service.FilterDraft{{Name: "filter", Module: fmt.Sprintf("good:%d", n)}},
			Resources: []service.ReleaseResourceDraft{{Collection: "flags", Name: fmt.Sprintf("of-%d", n), Body: flagDraft("", ``).Body}}})
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release.ID)
		s.ahead.Add(int64(month / 5))
		name := fmt.Sprintf("r%d", n)
		s.begin(name, release.ID.String(), waves...)
		return name
	}
	runs := func(n *sim, module int) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return moduleOf(n.chain) == fmt.Sprintf("good:%d", module) && len(n.chain.Resources) == 1 && n.chain.Resources[0].Name == fmt.Sprintf("of-%d", module)
	}

	s.reach(roll(1, all), model.RolloutDone)
	had := status(t, svc, "away").Serving
	away.disconnect()
	s.stop()
	// A distributor has watched it be away for most of the month.
	rows, err := s.store.ListNodes(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.ID == "away" {
			row.AwayFor = watched
			if err := s.store.PutNodes(t.Context(), []model.Node{row}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.config = config
	s.start()
	s.known(there)
	for n := 2; n <= 4; n++ {
		s.reach(roll(n, all), model.RolloutDone)
	}
	svc, _ = s.service()
	if _, err := svc.Undo(t.Context(), alice, "r4"); err != nil {
		t.Fatal(err)
	}
	s.reach("r4-undo", model.RolloutDone)
	s.kill()
	svc = s.start()
	s.known(there)
	s.reach(roll(5, long(one), all), model.RolloutSoaking)
	s.eventually("what nobody needs is collected", func() bool {
		_, first := svc.GetRelease(t.Context(), releases[0].String())
		_, second := svc.GetRelease(t.Context(), releases[1].String())
		return errors.Is(first, model.ErrNotFound) && errors.Is(second, model.ErrNotFound)
	})
	n := status(t, svc, "away")
	if n.Presence != service.PresenceUnknown || n.Serving != had || n.Assigned[model.LayerGlobal] != releases[2] || n.Ledger.Chain != n.Chain ||
		n.Ledger.State == model.ChainServing || n.Ledger.State == model.ChainRejected || n.AwayFor < watched {
		t.Errorf("while it is away its row is %+v", n)
	}
	if !runs(away, 1) || !runs(there, 5) {
		t.Errorf("it runs %+v, and the other one %+v", away.chain, there.chain)
	}

	away.connect()
	s.eventually("it runs what it is to run", func() bool { return runs(away, 3) })
	s.eventually("the ledger says so", func() bool {
		n := status(t, svc, "away")
		return n.Presence == service.PresenceConnected && n.Ledger.State == model.ChainServing && n.Serving == n.Chain && n.Previous == had && n.AwayFor == 0
	})
	if _, err := svc.Promote(t.Context(), alice, "r5"); err != nil {
		t.Fatal(err)
	}
	s.reach("r5", model.RolloutDone)
	s.eventually("its turn came", func() bool { return runs(away, 5) })
	if log := away.log(); !slices.Equal(log, []string{"good:1", "good:3", "good:5"}) {
		t.Errorf("it has served %v", log)
	}
}
