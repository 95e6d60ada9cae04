package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Of each node it is told which rollout has moved it, with which wave, and what comes next: of one that soaks, of one that waits for that, and on the way back.
func TestWhatMovedANodeAndWhatComesNext(t *testing.T) {
	s, nodes := settled(t, 3)
	svc, _ := s.service()
	next := func(id string) []service.NextStep {
		t.Helper()
		steps, err := svc.NextOn(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return steps
	}
	for _, n := range nodes {
		status, err := svc.GetNode(t.Context(), n.hello.ID)
		if err != nil || status.Moved == nil || status.Moved.Rollout != "first" || status.Moved.Back || !status.Moved.First || status.Moved.At.IsZero() || status.LastError != nil {
			t.Errorf("%s: moved %+v, last error %+v, %v", n.hello.ID, status.Moved, status.LastError, err)
		}
		if steps := next(n.hello.ID); len(steps) != 0 {
			t.Errorf("no rollout runs, and %+v comes next", steps)
		}
	}

	two := s.release("two", "good:2")
	wave := one
	wave.Soak = time.Hour
	s.begin("second", "two", wave, model.WaveSpec{Percent: 100, Soak: time.Hour})
	moved := s.reach("second", model.RolloutSoaking).Waves[0].Nodes[0]
	three := s.release("three", "good:3")
	s.begin("third", "three", all)
	for _, n := range nodes {
		id := n.hello.ID
		status, err := svc.GetNode(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		steps := next(id)
		if id == moved {
			if m := status.Moved; m == nil || m.Rollout != "second" || m.Wave != 0 || m.Joined {
				t.Errorf("it was moved by %+v", m)
			}
		} else {
			if m := status.Moved; m == nil || m.Rollout != "first" {
				t.Errorf("%s was moved by %+v", id, m)
			}
			if len(steps) == 0 {
				t.Fatalf("nothing comes next on %s", id)
			}
			if n := steps[0]; n.Rollout != "second" || n.Phase != model.RolloutSoaking || n.Wave != 1 || n.Release != two.ID || n.From != status.Chain || n.To == "" || n.To == n.From ||
				!changesModule(n.Changes, "good:1", "good:2") {
				t.Errorf("next on %s: %+v", id, n)
			}
			steps = steps[1:]
		}
		if len(steps) != 1 || steps[0].Rollout != "third" || steps[0].Phase != model.RolloutPending || steps[0].Wave != 0 || steps[0].Release != three.ID || !strings.Contains(steps[0].Message, "second") {
			t.Errorf("after that, on %s: %+v", id, steps)
		}
	}
	if by := svc.MoverOf("second"); by.StartedBy != "alice" || by.Reason != "a test" || by.Phase != model.RolloutSoaking {
		t.Errorf("it was started by %+v", by)
	}
	if _, err := svc.NextOn(t.Context(), "ghost"); err == nil {
		t.Error("something comes next on a node that there is not")
	}

	// What was foreseen is not told any more once the rollout has moved on.
	if _, err := svc.Promote(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.until("second", "its second soak", func(r model.Rollout) bool { return r.Wave == 1 && r.Phase == model.RolloutSoaking })
	for _, n := range nodes {
		if steps := next(n.hello.ID); len(steps) != 1 || steps[0].Rollout != "third" {
			t.Errorf("the second has moved %s, and next is %+v", n.hello.ID, steps)
		}
	}
}

// A rejection is told of after the node serves again, and so is that it was taken back.
func TestTheLastErrorOutlivesIt(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.release("broken", "broken:1")
	s.begin("second", "broken", one, all)
	victim := s.reach("second", model.RolloutRolledBack).Waves[0].Nodes[0]
	rows := func() int64 { return s.tap.rows.Load() }
	for _, n := range nodes {
		s.eventually("each serves what it had", func() bool {
			status, err := svc.GetNode(t.Context(), n.hello.ID)
			return err == nil && status.Ledger.State == model.ChainServing && status.Serving == status.Chain
		})
		status, err := svc.GetNode(t.Context(), n.hello.ID)
		if err != nil {
			t.Fatal(err)
		}
		e := status.LastError
		if n.hello.ID != victim {
			if e != nil {
				t.Errorf("%s has rejected nothing, and says %+v", n.hello.ID, e)
			}
			continue
		}
		if e == nil || e.State != model.ChainRejected || e.Step != "probe" || e.Reason != "Wasm VM failed to initialize" || e.Chain == status.Chain || e.At.IsZero() {
			t.Errorf("last error: %+v", e)
		}
		if m := status.Moved; m == nil || m.Rollout != "second" || !m.Back || m.First {
			t.Errorf("moved: %+v", m)
		}
	}
	s.stop()
	written := rows()
	svc = s.start()
	status, err := svc.GetNode(t.Context(), victim)
	if err != nil || status.LastError == nil || status.LastError.Reason != "Wasm VM failed to initialize" || status.Moved == nil {
		t.Errorf("after a restart: %+v, %v", status, err)
	}
	if written > 20 {
		t.Errorf("%d rows were written", written)
	}
}

// changesModule says whether a filter's module changes from one reference to another.
func changesModule(changes []service.FilterChange, from, to string) bool {
	for _, c := range changes {
		for _, f := range c.Fields {
			if f.Path == "module" && strings.Contains(f.From, model.Digest([]byte(from))) && strings.Contains(f.To, model.Digest([]byte(to))) {
				return true
			}
		}
	}
	return false
}
