package service_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// What a start does not need may be gone: the release of a disabling that was undone, of which there is a newer one.
func TestAStartNeedsNoReleaseOfADisablingThatWasUndone(t *testing.T) {
	s, nodes := paired(t, 2)
	svc, _ := s.service()
	var first model.ReleaseID
	for i, unauthorized := range []bool{false, true} {
		d := s.disable(service.DisableDraft{Filter: "first", PassUnauthorized: unauthorized})
		s.serve("good:2", nodes...)
		if i == 0 {
			first = d.Release
		}
		r, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first"})
		if err != nil {
			t.Fatal(err)
		}
		s.reach(r.Name, model.RolloutDone)
		s.serve("good:1", nodes...)
	}
	s.stop()
	s.config = func(c *service.Config) { c.CollectEvery, c.KeepReleases = 10*time.Millisecond, 1 }
	svc = s.start()
	s.eventually("the release of the older disabling is gone", func() bool {
		_, err := svc.GetRelease(t.Context(), first.String())
		return errors.Is(err, model.ErrNotFound)
	})
	s.kill()
	s.start()
	s.known(nodes...)
}

// forgotten brings a site to where a node with a release that nobody else needs is forgotten, and its row is still in the store.
func forgotten(t *testing.T) (s *site, its model.ReleaseID) {
	t.Helper()
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.releaseWith("edge", `{"n":0}`)
	s.begin("second", "edge", long(one), all)
	r := s.reach("second", model.RolloutSoaking)
	if _, err := svc.Abort(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.releaseWith("edge", `{"n":1}`)
	s.stop()
	s.config = func(c *service.Config) {
		c.CollectEvery, c.KeepReleases, c.ForgetNodesAfter = 10*time.Millisecond, 1, 100*time.Millisecond
	}
	away := r.Waves[0].Nodes[0]
	for _, n := range nodes {
		if n.hello.ID == away {
			n.disconnect()
		}
	}
	svc = s.startWith(func(tapped *tap) { tapped.cutDeletes.Store(true) })
	s.eventually("it is forgotten", func() bool {
		_, err := svc.GetNode(t.Context(), away)
		return errors.Is(err, model.ErrNotFound)
	})
	return s, r.Spec.Release
}

// A node's row goes after the node. As long as it is in the store a start reads what it names.
func TestAReleaseStaysAsLongAsARowNamesIt(t *testing.T) {
	s, its := forgotten(t)
	s.look(5)
	s.kill()
	svc := s.start()
	s.eventually("the row is removed, and then the release", func() bool {
		_, err := svc.GetRelease(t.Context(), its.String())
		return errors.Is(err, model.ErrNotFound)
	})
	s.kill()
	s.start()
}

// The last thing that a distributor does is to write what it knows, also that a node is gone.
func TestAStopRemovesTheRowsOfTheForgotten(t *testing.T) {
	s, _ := forgotten(t)
	s.tap.cutDeletes.Store(false)
	s.stop()
	if rows, err := s.store.ListNodes(t.Context(), "", 10); err != nil || len(rows) != 1 {
		t.Errorf("%d rows are left, %v", len(rows), err)
	}
}

// A release that is missing all the same is told with what to do.
func TestAStartWithoutAReleaseSaysWhatToDo(t *testing.T) {
	s, _ := settled(t, 1)
	svc, _ := s.service()
	status, err := svc.GetNode(t.Context(), "n0")
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := s.store.DeleteRelease(t.Context(), status.Assigned[model.LayerGlobal], model.AuditEntry{Actor: "somebody", Action: "release.collect", Object: "release/one"}); err != nil {
		t.Fatal(err)
	}
	again, err := service.New(service.Config{Store: s.store, Modules: s.modules})
	if err != nil {
		t.Fatal(err)
	}
	err = again.Run(t.Context())
	wantKind(t, err, model.ErrNotFound, "node/n0", fmt.Sprintf("release/%s, which it names", status.Assigned[model.LayerGlobal]))
	var told *model.Error
	if !errors.As(err, &told) || told.Next == "" {
		t.Errorf("it does not say what to do: %v", err)
	}
}

// What ended rollouts have done is read by the collection, not by the drive loop: a store that is slow to answer holds up no rollout.
func TestACollectionThatReadsHoldsUpNobody(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	undo, err := svc.Undo(t.Context(), alice, "second")
	if err != nil {
		t.Fatal(err)
	}
	s.reach(undo.Name, model.RolloutDone)
	s.stop()
	s.config = func(c *service.Config) { c.CollectEvery = 10 * time.Millisecond }
	s.startWith(func(tapped *tap) { tapped.holdReads.Store(true) })
	s.known(nodes...)
	s.eventually("the collection reads what a rollout has done", func() bool { return s.tap.reading.Load() > 0 })
	soon, cancel := context.WithTimeout(t.Context(), 8*time.Second) // less than a read may take
	defer cancel()
	svc, _ = s.service()
	if _, err := svc.StartRollout(soon, alice, service.RolloutDraft{Name: "third", Release: "two", Waves: waves(all)}); err != nil {
		t.Fatal(err)
	}
	s.serve("good:2", nodes...)
}
