package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// A person freezes all rollouts: the wave that soaks stays the last, the rollout says who and why, also after a restart, and goes on when it is over.
func TestAPersonFreezesAllRollouts(t *testing.T) {
	s, _ := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	frozen := func() *model.Freeze {
		t.Helper()
		f, err := svc.GetFreeze(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	_, err := svc.StartFreeze(t.Context(), service.Actor{Name: "alice"}, 0)
	wantKind(t, err, model.ErrInvalid, "reason", "say why")
	_, err = svc.StartFreeze(t.Context(), alice, -time.Second)
	wantKind(t, err, model.ErrInvalid, "for")
	if err := svc.EndFreeze(t.Context(), alice); err != nil || frozen() != nil {
		t.Fatalf("nothing is frozen: %v, %v", frozen(), err)
	}

	f, err := svc.StartFreeze(t.Context(), service.Actor{Name: "ann", Reason: "incident 4711"}, 0)
	if err != nil || f.Actor != "ann" || !f.Until.IsZero() || frozen() == nil {
		t.Fatalf("%+v, %v", f, err)
	}
	s.begin("second", "two", all)
	waits := func(r model.Rollout) bool {
		return strings.Contains(r.Message, "frozen by ann until waft unfreeze: incident 4711")
	}
	s.until("second", "wait for the freeze to end", waits)
	s.kill()
	svc = s.start()
	if f := frozen(); f == nil || f.Reason != "incident 4711" {
		t.Fatalf("after a restart: %+v", f)
	}
	if r := s.until("second", "wait for it still", waits); len(r.Waves) > 0 && !r.Waves[0].MovedAt.IsZero() {
		t.Errorf("it has moved nodes: %+v", r.Waves[0])
	}
	if err := svc.EndFreeze(t.Context(), alice); err != nil || frozen() != nil {
		t.Fatalf("%v, %v", frozen(), err)
	}
	s.reach("second", model.RolloutDone)
	entries, _, err := svc.ListAudit(t.Context(), "rollouts", service.Page{})
	if err != nil || len(entries) != 2 || entries[0].Action != "rollouts.unfreeze" || !strings.Contains(entries[0].Detail, "by ann") || entries[1].Action != "rollouts.freeze" ||
		entries[1].Reason != "incident 4711" {
		t.Errorf("the audit log has %+v, %v", entries, err)
	}

	// One that ends by itself.
	if f, err = svc.StartFreeze(t.Context(), alice, time.Hour); err != nil || f.Until.Sub(f.Since) != time.Hour || frozen() == nil {
		t.Fatalf("%+v, %v", f, err)
	}
	s.ahead.Add(int64(time.Hour))
	if f := frozen(); f != nil {
		t.Errorf("an hour later %+v holds", f)
	}
}

// An undo goes all the same.
func TestAFreezeLetsAnUndoGo(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	if _, err := svc.StartFreeze(t.Context(), alice, 0); err != nil {
		t.Fatal(err)
	}
	undo, err := svc.Undo(t.Context(), alice, "second")
	if err != nil {
		t.Fatal(err)
	}
	s.reach(undo.Name, model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2", "good:1")
}
