package service_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// In each phase the distributor is killed, so that what it had not written is lost, and another one goes on over the same
// store. The end must be what it would have been, and no node may have gone back on the way.
func TestKilledInEachPhase(t *testing.T) {
	for _, test := range []struct {
		name string
		// hold stops all nodes before a step while the rollout starts.
		hold    string
		release string
		waves   []model.WaveSpec
		// at is where it is killed.
		at func(model.Rollout) bool
		// command is given after the restart.
		command func(*service.Service) error
		end     model.RolloutPhase
		served  []string
	}{
		{
			name: "Fetching", hold: "fetch", waves: waves(one, all), at: inPhase(0, model.RolloutFetching),
			end: model.RolloutDone, served: []string{"good:1", "good:2"},
		},
		{
			name: "Moving", hold: "load", waves: waves(one, all), at: inPhase(0, model.RolloutMoving),
			end: model.RolloutDone, served: []string{"good:1", "good:2"},
		},
		{
			name: "Soaking", waves: waves(long(one), all), at: inPhase(0, model.RolloutSoaking),
			command: promote, end: model.RolloutDone, served: []string{"good:1", "good:2"},
		},
		{
			name: "Soaking in the second wave", waves: waves(one, long(half), all), at: inPhase(1, model.RolloutSoaking),
			command: promote, end: model.RolloutDone, served: []string{"good:1", "good:2"},
		},
		{
			name: "Soaking, then rolled back", waves: waves(long(all)), at: inPhase(0, model.RolloutSoaking),
			command: undo, end: model.RolloutRolledBack, served: []string{"good:1", "good:2", "good:1"},
		},
		{
			name: "Aborted", waves: waves(long(all)), at: inPhase(0, model.RolloutSoaking),
			command: func(s *service.Service) error { _, err := s.Abort(t.Context(), alice, "second"); return err },
			end:     model.RolloutAborted, served: []string{"good:1", "good:2"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, nodes := settled(t, 4)
			s.release("two", "good:2")
			for _, n := range nodes {
				n.setHold(test.hold)
			}
			s.begin("second", "two", test.waves...)
			s.until("second", "the phase to be killed in", test.at)
			s.kill()
			for _, n := range nodes {
				n.setHold("")
			}
			svc := s.start()
			if test.command != nil {
				s.known(nodes...)
				if err := test.command(svc); err != nil {
					t.Fatal(err)
				}
			}
			s.reach("second", test.end)
			s.eventually("the nodes serve what they should", func() bool {
				return !slices.ContainsFunc(nodes, func(n *sim) bool { return !slices.Equal(n.log(), test.served) })
			})
		})
	}
}

func inPhase(wave int, phase model.RolloutPhase) func(model.Rollout) bool {
	return func(r model.Rollout) bool { return r.Wave == wave && r.Phase == phase }
}

func promote(s *service.Service) error {
	// A restart may catch the rollout before its nodes have proved again that they serve.
	for {
		_, err := s.Promote(background, alice, "second")
		if !errors.Is(err, model.ErrPrecondition) {
			return err
		}
	}
}

func undo(s *service.Service) error {
	_, err := s.Undo(background, alice, "second")
	return err
}

func TestKilledWhilePaused(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	s.reach("second", model.RolloutSoaking)
	if _, err := svc.Pause(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.kill()
	svc = s.start()
	s.known(nodes...)
	if r, err := svc.GetRollout(t.Context(), "second"); err != nil || r.Phase != model.RolloutPaused {
		t.Fatalf("after the restart it is %s, %v", r.Phase, err)
	}
	if _, err := svc.Resume(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	if err := promote(svc); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
}

func TestKilledWhilePending(t *testing.T) {
	s, nodes := settled(t, 2)
	s.release("two", "good:2")
	s.release("three", "good:1")
	s.begin("second", "two", long(all))
	s.reach("second", model.RolloutSoaking)
	if r := s.begin("third", "three", all); r.Phase != model.RolloutPending {
		t.Fatalf("the third is %s", r.Phase)
	}
	s.kill()
	svc := s.start()
	s.known(nodes...)
	if err := promote(svc); err != nil {
		t.Fatal(err)
	}
	s.reach("third", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2", "good:1")
}

func TestKilledWhileRollingBack(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(all))
	s.reach("second", model.RolloutSoaking)
	for _, n := range nodes {
		n.setHold("load")
	}
	if err := undo(svc); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutRollingBack)
	s.kill()
	for _, n := range nodes {
		n.setHold("")
	}
	s.start()
	s.reach("second", model.RolloutRolledBack)
	wantServed(t, nodes, "good:1", "good:2", "good:1")
}

// A rollout is written before its nodes' rows. Killed in between, the rows lack what the rollout says; it is given again.
func TestKilledBetweenRolloutAndRows(t *testing.T) {
	s, nodes := settled(t, 3)
	s.release("two", "good:2")
	s.tap.cutRows.Store(true)
	s.begin("second", "two", all)
	s.until("second", "Moving", inPhase(0, model.RolloutMoving))
	svc, _ := s.service()
	collections, err := svc.Collections(t.Context(), "n0")
	if err != nil {
		t.Fatal(err)
	}
	if got := moduleIn(collections); got != "good:1" {
		t.Errorf("the sink sees %s before the row is durable", got)
	}
	s.kill()
	wantServed(t, nodes, "good:1")
	s.start()
	s.reach("second", model.RolloutDone)
	s.eventually("all serve it", func() bool { return reached(nodes, "good:2") == 3 })
	wantServed(t, nodes, "good:1", "good:2")
}

func moduleIn(collections []model.Collection) string {
	for _, c := range collections {
		for _, r := range c.Resources {
			if r.Filter != nil {
				return r.Filter.Module.Reference
			}
		}
	}
	return ""
}

// After a restart no wave starts before the nodes are back: it would take all of them for away.
func TestRestartWaitsForNodes(t *testing.T) {
	s, nodes := settled(t, 3)
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	s.reach("second", model.RolloutSoaking)
	s.kill()
	for _, n := range nodes {
		n.disconnect()
	}
	svc := s.start()
	_, err := svc.Promote(t.Context(), alice, "second")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.connect()
	}
	done := s.reach("second", model.RolloutDone)
	for id, p := range done.Nodes {
		if p.Uncounted {
			t.Errorf("%s was not counted: %s", id, p.Reason)
		}
	}
	wantServed(t, nodes, "good:1", "good:2")
}

// When nodes do not come back, the grace ends the wait.
func TestRestartGraceEnds(t *testing.T) {
	s, nodes := settled(t, 2)
	s.config = func(c *service.Config) { c.StartGrace = 50 * time.Millisecond }
	nodes[1].disconnect()
	s.stop()
	s.start()
	s.known(nodes[0])
	s.ahead.Add(int64(time.Minute))
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	wantServed(t, nodes[:1], "good:1", "good:2")
}

func TestStoreAway(t *testing.T) {
	s, nodes := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	s.reach("second", model.RolloutSoaking)
	s.tap.cut.Store(true)
	_, err := svc.Promote(t.Context(), alice, "second")
	wantKind(t, err, model.ErrUnavailable)
	_, err = s.try("third", "two", "", all)
	wantKind(t, err, model.ErrUnavailable)
	if got := reached(nodes, "good:2"); got != 1 {
		t.Errorf("%d nodes were moved while nothing could be written", got)
	}
	s.tap.cut.Store(false)
	if err := promote(svc); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
}

// The store took a rollout, and the answer was lost: it must not lie there with nobody driving it.
func TestAnswerOfTheStoreLost(t *testing.T) {
	s, nodes := settled(t, 2)
	s.release("two", "good:2")
	s.tap.mute.Store(true)
	_, err := s.try("second", "two", "", all)
	wantKind(t, err, model.ErrUnavailable)
	svc, _ := s.service()
	s.eventually("it is driven all the same", func() bool {
		r, err := svc.GetRollout(t.Context(), "second")
		return err == nil && r.Phase == model.RolloutDone
	})
	wantServed(t, nodes, "good:1", "good:2")
}

// The store took a step, and the answer was lost: what the store has is what goes on.
func TestAnswerToAStepLost(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	s.reach("second", model.RolloutSoaking)
	s.tap.mute.Store(true)
	_, err := svc.Promote(t.Context(), alice, "second")
	wantKind(t, err, model.ErrUnavailable)
	s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
	entries, _, err := svc.ListAudit(t.Context(), "rollout/second", service.Page{})
	if err != nil {
		t.Fatal(err)
	}
	promoted := 0
	for _, e := range entries {
		if e.Action == "rollout.promote" {
			promoted++
		}
	}
	if promoted != 1 {
		t.Errorf("it was promoted %d times, want once", promoted)
	}
}

// An Envoy that the stream of collections says nothing of is known when the report stream is there, a moment later.
func TestJoinWaitsForTheReportStream(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	s.nodes(1)
	s.modules.add("new:1", "", "envoy-1.40")
	s.release("one", "new:1")
	if _, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "first", Release: "one", IncludeUnreported: true}); err != nil {
		t.Fatal(err)
	}
	s.reach("first", model.RolloutDone)
	connect(t, svc, service.NodeHello{ID: "old", Labels: map[string]string{"env": "prod"}})
	connect(t, svc, service.NodeHello{ID: "istio", Labels: map[string]string{"env": "prod"}})
	probe := s.node("probe")
	s.eventually("joins are served", func() bool { return len(probe.log()) == 1 })
	connect(t, svc, service.NodeHello{ID: "old", Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.36.4"})
	s.eventually("the one without reports is given it in the end", func() bool { return status(t, svc, "istio").Generation == 1 })
	if n := status(t, svc, "old"); n.Generation != 0 || !containsAll(n.Ledger.Reason, "1.36.4") {
		t.Errorf("the old Envoy was given what it cannot load: %+v", n)
	}
}
