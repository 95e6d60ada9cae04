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

// A node that has been away for long is forgotten, and one that comes back after that is new: it gets what its like have.
func TestANodeLongGoneIsForgotten(t *testing.T) {
	s, nodes := settled(t, 3)
	s.stop()
	s.config = func(c *service.Config) {
		c.CollectEvery, c.ForgetNodesAfter = 10*time.Millisecond, 300*time.Millisecond
	}
	s.start()
	s.known(nodes...)
	nodes[0].disconnect()
	svc, _ := s.service()
	s.eventually("it is forgotten", func() bool {
		_, err := svc.GetNode(t.Context(), "n0")
		return errors.Is(err, model.ErrNotFound)
	})
	s.eventually("its row is gone", func() bool {
		rows, err := s.store.ListNodes(t.Context(), "", 10)
		return err == nil && len(rows) == 2
	})
	if entries, _, err := svc.ListAudit(t.Context(), "node/n0", service.Page{}); err != nil || len(entries) == 0 || entries[0].Action != "node.forget" {
		t.Errorf("the audit has %+v, %v", entries, err)
	}
	for _, id := range []string{"n1", "n2"} {
		if _, err := svc.GetNode(t.Context(), id); err != nil {
			t.Errorf("%s is there, and: %v", id, err)
		}
	}
	nodes[0].connect()
	s.eventually("it is given the release again", func() bool {
		status, err := svc.GetNode(t.Context(), "n0")
		return err == nil && len(status.Assigned) == 1 && status.Ledger.State == model.ChainServing
	})
	s.kill()
	s.start()
	s.known(nodes...)
}

// The clock says that months have passed. Nobody has watched them.
func TestNobodyIsForgottenByAClockThatJumps(t *testing.T) {
	s, nodes := settled(t, 2)
	s.stop()
	s.config = func(c *service.Config) { c.CollectEvery, c.ForgetNodesAfter = 10*time.Millisecond, time.Hour }
	s.start()
	s.known(nodes...)
	nodes[0].disconnect()
	s.ahead.Store(int64(365 * 24 * time.Hour))
	s.look(20)
	svc, _ := s.service()
	if _, err := svc.GetNode(t.Context(), "n0"); err != nil {
		t.Error(err)
	}
}

// However often a distributor is started anew, time away adds up: a stop keeps what was watched of it, though far fewer looks have passed than it is written in otherwise.
func TestTimeAwayOutlivesAStop(t *testing.T) {
	s, nodes := settled(t, 2)
	s.stop()
	s.config = func(c *service.Config) { c.CollectEvery, c.ForgetNodesAfter = 100*time.Millisecond, time.Hour }
	nodes[0].disconnect()
	var before time.Duration
	for life := range 3 {
		s.start()
		s.known(nodes[1])
		s.look(2)
		s.stop()
		rows, err := s.store.ListNodes(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(rows, func(n model.Node) bool { return n.ID == "n0" })
		if i < 0 || rows[i].AwayFor <= before {
			t.Fatalf("after %d lives its row is %+v; it was away for %s before the last", life+1, rows, before)
		}
		before = rows[i].AwayFor
		if there := rows[1-i]; there.AwayFor != 0 {
			t.Errorf("%s was there, and its row says that it was away for %s", there.ID, there.AwayFor)
		}
	}
}

// A node of a rollout that runs stays, however long it is away.
func TestANodeInARolloutIsNotForgotten(t *testing.T) {
	s, nodes := settled(t, 2)
	s.release("two", "good:2")
	s.begin("second", "two", long(all))
	s.reach("second", model.RolloutSoaking)
	svc, _ := s.service()
	if _, err := svc.Pause(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.config = func(c *service.Config) { c.CollectEvery, c.ForgetNodesAfter = 10*time.Millisecond, 50*time.Millisecond }
	svc = s.start()
	nodes[1].disconnect()
	s.look(40)
	if _, err := svc.GetNode(t.Context(), "n1"); err != nil {
		t.Error(err)
	}
	if _, err := svc.Abort(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is forgotten when the rollout has ended", func() bool {
		_, err := svc.GetNode(t.Context(), "n1")
		return errors.Is(err, model.ErrNotFound)
	})
}

// Old releases go; what runs, what an undo brings back, and the newest stay, and all that is left can be used.
func TestOldReleasesAreCollected(t *testing.T) {
	s, nodes := settled(t, 2) // one
	for i := range 6 {
		s.releaseWith("edge", fmt.Sprintf(`{"n":%d}`, i))
		if i < 4 {
			s.begin(fmt.Sprintf("r%d", i), "edge", all)
			s.reach(fmt.Sprintf("r%d", i), model.RolloutDone)
		}
	}
	s.stop()
	s.config = func(c *service.Config) { c.CollectEvery, c.KeepReleases = 10*time.Millisecond, 1 }
	s.start()
	s.known(nodes...)
	svc, _ := s.service()
	left := func() map[string]bool {
		list, _, err := svc.ListReleases(t.Context(), "edge", service.Page{Size: 50})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, r := range list {
			out[string(r.Filters[0].Config)] = true
		}
		return out
	}
	s.eventually("the old ones are gone", func() bool { return len(left()) <= 3 })
	// 5 is the newest, 3 runs, 2 is what an undo of that gives; 0, 1 and 4 are nobody's.
	for config, want := range map[string]bool{`{"n":5}`: true, `{"n":3}`: true, `{"n":2}`: true, `{"n":0}`: false, `{"n":1}`: false, `{"n":4}`: false} {
		if left()[config] != want {
			t.Errorf("the release with %s is there: %v, want %v", config, !want, want)
		}
	}
	s.kill()
	svc = s.start()
	s.known(nodes...)
	if _, err := svc.Undo(t.Context(), alice, "r3"); err != nil {
		t.Fatal(err)
	}
	s.reach("r3-undo", model.RolloutDone)
	joined := s.node("joined")
	s.serve("good:1", joined)
}

// look waits until the collection has looked so many times more.
func (s *site) look(times int64) {
	s.t.Helper()
	until := s.tap.looks.Load() + times
	s.eventually("the collection looks", func() bool { return s.tap.looks.Load() >= until })
}

// releaseWith creates a release of good:1 with a configuration.
func (s *site) releaseWith(name, config string) {
	s.t.Helper()
	svc, _ := s.service()
	if _, err := svc.CreateRelease(s.t.Context(), alice, service.ReleaseDraft{Name: name, Filters: []service.FilterDraft{{Name: "filter", Module: "good:1", Config: raw(config)}}}); err != nil {
		s.t.Fatal(err)
	}
}

// Ended rollouts go when no node has what they gave; the audit, the name, what can be undone and what nodes that join are given stay.
func TestOldRolloutsAreCollected(t *testing.T) {
	s, nodes := settled(t, 2) // first, of one
	for i := range 4 {
		s.releaseWith("edge", fmt.Sprintf(`{"n":%d}`, i))
		s.begin(fmt.Sprintf("r%d", i), "edge", all)
		s.reach(fmt.Sprintf("r%d", i), model.RolloutDone)
	}
	svc, _ := s.service()
	if _, err := svc.Undo(t.Context(), alice, "r3"); err != nil {
		t.Fatal(err)
	}
	s.reach("r3-undo", model.RolloutDone)
	s.stop()
	s.config = func(c *service.Config) { c.CollectEvery, c.KeepReleases, c.KeepRollouts = 10*time.Millisecond, 1, 1 }
	s.start()
	s.known(nodes...)
	svc, _ = s.service()
	names := func() []string {
		list, _, err := svc.ListRollouts(t.Context(), service.Page{Size: 50})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range list {
			names = append(names, r.Name)
		}
		return names
	}
	// r3-undo is the newest, and without it r3 would count again. r2 runs, and r1 is what is left when it is undone; r3, which was undone, is newer than both.
	// The first is the newest of those for its selector.
	want := []string{"r3-undo", "r3", "r2", "r1", "first"}
	s.eventually("the old ones are gone", func() bool { return slices.Equal(names(), want) })
	s.look(3)
	if got := names(); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	if entries, _, err := svc.ListAudit(t.Context(), "rollout/r0", service.Page{}); err != nil || len(entries) < 2 || entries[0].Action != "rollout.collect" {
		t.Errorf("the audit has %+v, %v", entries, err)
	}
	_, err := svc.GetRollout(t.Context(), "r0")
	wantKind(t, err, model.ErrNotFound, "waft audit rollout/r0")
	_, err = svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "r0", Release: "edge", Waves: []model.WaveSpec{all}})
	wantKind(t, err, model.ErrExists, "removed")
	s.kill()
	svc = s.start()
	s.known(nodes...)
	if _, err := svc.Undo(t.Context(), alice, "r2"); err != nil {
		t.Fatal(err)
	}
	s.reach("r2-undo", model.RolloutDone)
	joined := s.node("joined")
	s.serve("good:1", joined)
}

// An undo whose name was that of a rollout which is gone takes another.
func TestAnUndoFindsAName(t *testing.T) {
	s, nodes := settled(t, 1)
	for _, name := range []string{"second-undo", "second"} {
		s.releaseWith("edge", `{"of":"`+name+`"}`)
		s.begin(name, "edge", all)
		s.reach(name, model.RolloutDone)
	}
	gone, _, err := s.store.GetRollout(t.Context(), "second-undo")
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := s.store.DeleteRollout(t.Context(), gone.Name, gone.Sequence, model.AuditEntry{Actor: "somebody", Action: "rollout.collect", Object: "rollout/" + gone.Name}); err != nil {
		t.Fatal(err)
	}
	svc := s.start()
	s.known(nodes...)
	r, err := svc.Undo(t.Context(), alice, "second")
	if err != nil || r.Name != "second-undo-2" {
		t.Fatalf("%q, %v", r.Name, err)
	}
	s.reach(r.Name, model.RolloutDone)
}
