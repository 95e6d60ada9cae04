package service_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func waves(specs ...model.WaveSpec) []model.WaveSpec { return specs }

var (
	one  = model.WaveSpec{Nodes: 1, Soak: 20 * time.Millisecond}
	half = model.WaveSpec{Percent: 50, Soak: 20 * time.Millisecond}
	all  = model.WaveSpec{Percent: 100}
)

// guarded is a wave with the gate on the error ratio.
func guarded(w model.WaveSpec) model.WaveSpec {
	w.Gates = []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.01}}}
	w.Soak = 100 * time.Millisecond
	return w
}

// long is a wave that soaks until somebody ends it.
func long(w model.WaveSpec) model.WaveSpec {
	w.Soak = time.Hour
	return w
}

// settled brings a site to where all its nodes serve release one.
func settled(t *testing.T, count int) (*site, []*sim) {
	t.Helper()
	return settledAt(newSite(t), count)
}

// settledAt is settled at a site that was made, and not started.
func settledAt(s *site, count int) (*site, []*sim) {
	s.t.Helper()
	s.start()
	nodes := s.nodes(count)
	s.release("one", "good:1")
	if _, err := s.try("first", "one", "env=prod", all); err != nil {
		s.t.Fatal(err)
	}
	s.reach("first", model.RolloutDone)
	return s, nodes
}

func wantServed(t *testing.T, nodes []*sim, want ...string) {
	t.Helper()
	for _, n := range nodes {
		if got := n.log(); !slices.Equal(got, want) {
			t.Errorf("%s served %v, want %v", n.hello.ID, got, want)
		}
	}
}

// reached counts the nodes that served a module.
func reached(nodes []*sim, module string) int {
	count := 0
	for _, n := range nodes {
		if slices.Contains(n.log(), module) {
			count++
		}
	}
	return count
}

func TestRolloutInWaves(t *testing.T) {
	s, nodes := settled(t, 5)
	release := s.release("two", "good:2")
	s.begin("second", "two@"+release.ID.Hash[:15], guarded(one), half, all)
	done := s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
	for i, want := range []int{1, 2, 2} {
		if got := len(done.Waves[i].Nodes); got != want {
			t.Errorf("wave %d took %d nodes, want %d", i, got, want)
		}
	}
	svc, _ := s.service()
	s.eventually("the rows say what runs", func() bool {
		list, _, err := svc.ListNodes(t.Context(), "env=prod", service.Page{})
		if err != nil || len(list) != 5 {
			t.Fatalf("%d nodes, %v", len(list), err)
		}
		for _, n := range list {
			if n.Assigned[model.LayerGlobal] != release.ID || n.Serving != n.Chain || n.Ledger.State != model.ChainServing || n.Previous == "" {
				return false
			}
		}
		return true
	})

	entries, _, err := svc.ListAudit(t.Context(), "rollout/second", service.Page{})
	if err != nil {
		t.Fatal(err)
	}
	oldest := entries[len(entries)-1]
	if oldest.Action != "rollout.start" || oldest.Actor != "alice" || oldest.Reason != "a test" {
		t.Errorf("the oldest entry is %+v", oldest)
	}
	if newest := entries[0]; newest.Action != "rollout.done" || newest.Actor != "waft" {
		t.Errorf("the newest entry is %+v", newest)
	}
	// What the store has is what was watched.
	stored, err := svc.GetRollout(t.Context(), "second")
	if err != nil || stored.Phase != model.RolloutDone || len(stored.Nodes) != 5 {
		t.Errorf("stored: %s with %d nodes, %v", stored.Phase, len(stored.Nodes), err)
	}
	list, _, err := svc.ListRollouts(t.Context(), service.Page{Size: 1})
	if err != nil || len(list) != 1 || list[0].Name != "second" {
		t.Errorf("newest rollout: %v, %v", list, err)
	}
}

func TestErrorRatioRollsBack(t *testing.T) {
	s, nodes := settled(t, 4)
	s.release("three", "bad:1")
	s.begin("third", "three", guarded(one), all)
	end := s.reach("third", model.RolloutRolledBack)
	if got := reached(nodes, "bad:1"); got != 1 {
		t.Errorf("the bad release reached %d nodes, want 1", got)
	}
	for _, n := range nodes {
		if got := n.log(); got[len(got)-1] != "good:1" {
			t.Errorf("%s serves %v in the end", n.hello.ID, got)
		}
	}
	last := end.Waves[0].Readings[len(end.Waves[0].Readings)-1]
	if last.Gate != "errorRatio" || last.Verdict != model.VerdictFail {
		t.Errorf("the last reading is %+v", last)
	}
}

func TestRejectionRollsBack(t *testing.T) {
	s, nodes := settled(t, 4)
	s.release("four", "broken:1")
	s.begin("fourth", "four", one, all)
	end := s.reach("fourth", model.RolloutRolledBack)
	wantServed(t, nodes, "good:1")
	refused := 0
	for _, n := range nodes {
		refused += len(n.refused)
	}
	if refused != 1 {
		t.Errorf("%d nodes were offered what does not load, want 1", refused)
	}
	if history := history(end); !containsAll(history, "Wasm VM failed to initialize", "probe") {
		t.Errorf("the history does not give the reason:\n%s", history)
	}
}

func TestSilentNodeRollsBack(t *testing.T) {
	s, nodes := settled(t, 2)
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	soaking := s.reach("second", model.RolloutSoaking)
	moved := soaking.Waves[0].Nodes[0]
	for _, n := range nodes {
		if n.hello.ID == moved {
			n.disconnect()
		}
	}
	s.ahead.Add(int64(35 * time.Second))
	end := s.reach("second", model.RolloutRolledBack)
	if end.Nodes[moved].State != model.NodeFailed {
		t.Errorf("the silent node is %+v", end.Nodes[moved])
	}
	// It converges when it returns.
	for _, n := range nodes {
		if n.hello.ID == moved {
			n.connect()
			s.eventually("the node is back on what it had", func() bool { return slices.Equal(n.log(), []string{"good:1", "good:2", "good:1"}) })
		}
	}
}

func TestRestartedEnvoyRollsBack(t *testing.T) {
	s, nodes := settled(t, 2)
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	soaking := s.reach("second", model.RolloutSoaking)
	for _, n := range nodes {
		if n.hello.ID == soaking.Waves[0].Nodes[0] {
			n.session.EnvoyRestarted(time.Now(), "signal: aborted")
		}
	}
	s.reach("second", model.RolloutRolledBack)
}

func TestPauseResumePromoteAbort(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), long(half), all)
	s.reach("second", model.RolloutSoaking)

	_, err := svc.Resume(t.Context(), alice, "second")
	if err != nil {
		t.Errorf("resuming what runs: %v", err)
	}
	paused, err := svc.Pause(t.Context(), alice, "second")
	if err != nil || paused.Phase != model.RolloutPaused {
		t.Fatalf("pause: %s, %v", paused.Phase, err)
	}
	if _, err := svc.Promote(t.Context(), alice, "second"); err == nil {
		t.Error("a paused rollout was promoted")
	}
	if _, err := svc.Resume(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Promote(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.until("second", "the soak of the second wave", func(r model.Rollout) bool { return r.Wave == 1 && r.Phase == model.RolloutSoaking })
	if got := reached(nodes, "good:2"); got != 2 {
		t.Errorf("%d nodes were reached, want 2", got)
	}
	aborted, err := svc.Abort(t.Context(), alice, "second")
	if err != nil || aborted.Phase != model.RolloutAborted {
		t.Fatalf("abort: %s, %v", aborted.Phase, err)
	}
	if got := reached(nodes, "good:2"); got != 2 {
		t.Errorf("%d nodes were reached after the abort, want 2", got)
	}
	_, err = svc.Pause(t.Context(), alice, "second")
	wantKind(t, err, model.ErrPrecondition, "rollout/second")
	if _, err := svc.Abort(t.Context(), alice, "second"); err != nil {
		t.Errorf("aborting again: %v", err)
	}
	_, err = svc.Abort(t.Context(), alice, "none")
	wantKind(t, err, model.ErrNotFound, "rollout/none")
	_, err = svc.Abort(t.Context(), service.Actor{}, "second")
	wantKind(t, err, model.ErrInvalid, "actor")

	entries, _, err := svc.ListAudit(t.Context(), "rollout/second", service.Page{})
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, e := range slices.Backward(entries) {
		if e.Actor == "alice" {
			commands = append(commands, e.Action+" "+e.Reason)
		}
	}
	want := []string{"rollout.start a test", "rollout.pause a test", "rollout.resume a test", "rollout.promote a test", "rollout.abort a test"}
	if !slices.Equal(commands, want) {
		t.Errorf("the audit has %q, want %q", commands, want)
	}
}

func TestUndo(t *testing.T) {
	s, nodes := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")

	t.Run("of a running rollout rolls it back", func(t *testing.T) {
		s.begin("second", "two", long(one), all)
		s.reach("second", model.RolloutSoaking)
		if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
			t.Fatal(err)
		}
		s.reach("second", model.RolloutRolledBack)
		again, err := svc.Undo(t.Context(), alice, "second")
		if err != nil || again.Name != "second" || again.Phase != model.RolloutRolledBack {
			t.Errorf("again: %s is %s, %v", again.Name, again.Phase, err)
		}
	})
	t.Run("of one that is done is a rollout of its own", func(t *testing.T) {
		s.begin("third", "two", all)
		s.reach("third", model.RolloutDone)
		joiner := s.node("joined-later")
		s.eventually("the joiner serves", func() bool { return slices.Equal(joiner.log(), []string{"good:2"}) })
		undo, err := svc.Undo(t.Context(), service.Actor{Name: "bob"}, "third")
		if err != nil {
			t.Fatal(err)
		}
		if undo.Name != "third-undo" || undo.Undoes != "third" || undo.StartedBy != "bob" {
			t.Errorf("the undo is %s of %s by %s", undo.Name, undo.Undoes, undo.StartedBy)
		}
		s.reach("third-undo", model.RolloutDone)
		for _, n := range append(nodes, joiner) {
			if got := n.log(); got[len(got)-1] != "good:1" {
				t.Errorf("%s serves %v in the end", n.hello.ID, got)
			}
		}
		again, err := svc.Undo(t.Context(), alice, "third")
		if err != nil || again.Name != "third-undo" || again.Phase != model.RolloutDone || len(again.Nodes) != 4 {
			t.Errorf("again: %s is %s, of %d nodes, %v", again.Name, again.Phase, len(again.Nodes), err)
		}
		// Who joins now gets what stands.
		late := s.node("joined-after-undo")
		s.eventually("the joiner serves", func() bool { return slices.Equal(late.log(), []string{"good:1"}) })
	})
	t.Run("of an undo goes forward again", func(t *testing.T) {
		again, err := svc.Undo(t.Context(), alice, "third-undo")
		if err != nil {
			t.Fatal(err)
		}
		s.reach(again.Name, model.RolloutDone)
		for _, n := range nodes {
			if got := n.log(); got[len(got)-1] != "good:2" {
				t.Errorf("%s serves %v in the end", n.hello.ID, got)
			}
		}
	})
	t.Run("of one that others were laid over is refused", func(t *testing.T) {
		_, err := svc.Undo(t.Context(), alice, "first")
		wantKind(t, err, model.ErrPrecondition, "rollout/first") // its nodes had nothing before
		s.release("five", "good:1")
		s.begin("fifth", "five", all)
		s.reach("fifth", model.RolloutDone)
		s.release("six", "good:2")
		s.begin("sixth", "six", all)
		s.reach("sixth", model.RolloutDone)
		_, err = svc.Undo(t.Context(), alice, "fifth")
		wantKind(t, err, model.ErrConflict, "rollout/fifth", "moved on since")
	})
	t.Run("of one that is not there", func(t *testing.T) {
		_, err := svc.Undo(t.Context(), alice, "none")
		wantKind(t, err, model.ErrNotFound)
	})
}

func TestOverlap(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.release("three", "good:1")
	if _, err := s.try("second", "two", "env=prod", long(one), all); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutSoaking)

	_, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "third", Release: "three", NoWait: true})
	wantKind(t, err, model.ErrConflict, "rollout/third", "rollout/second", "alice", "n0, n1")
	waiting, err := s.try("third", "three", "env in (prod,stage)", all)
	if err != nil {
		t.Fatal(err)
	}
	if waiting.Phase != model.RolloutPending || !containsAll(waiting.Message, "rollout/second") {
		t.Errorf("the second rollout is %s: %s", waiting.Phase, waiting.Message)
	}
	other := s.sim(service.NodeHello{ID: "other", Labels: map[string]string{"env": "test"}, Reports: true})
	s.known(other)
	if _, err := s.try("elsewhere", "two", "env=test", all); err != nil {
		t.Errorf("a rollout of other nodes was refused: %v", err)
	}
	s.reach("elsewhere", model.RolloutDone)

	if _, err := svc.Promote(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
	s.reach("third", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2", "good:1")

	second, err := svc.GetRollout(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	third, err := svc.GetRollout(t.Context(), "third")
	if err != nil {
		t.Fatal(err)
	}
	if third.Waves[0].StartedAt.Before(second.EndedAt) {
		t.Errorf("the third began at %s, before the second had ended at %s", third.Waves[0].StartedAt, second.EndedAt)
	}
}

func TestJoin(t *testing.T) {
	s, _ := settled(t, 3)
	svc, _ := s.service()

	joiner := s.node("joins-after")
	s.eventually("a node that joins gets the baseline", func() bool { return slices.Equal(joiner.log(), []string{"good:1"}) })
	entries, _, err := svc.ListAudit(t.Context(), "node/joins-after", service.Page{})
	if err != nil || len(entries) != 1 || entries[0].Action != "node.join" || !containsAll(entries[0].Detail, "rollout/first", "one@") {
		t.Errorf("the audit of the join: %+v, %v", entries, err)
	}
	stranger := s.sim(service.NodeHello{ID: "stranger", Labels: map[string]string{"env": "test"}, Reports: true})
	s.known(stranger)

	s.release("two", "good:2")
	if _, err := s.try("second", "two", "env=prod", one, long(half), all); err != nil {
		t.Fatal(err)
	}
	s.until("second", "the soak of the second wave", func(r model.Rollout) bool { return r.Wave == 1 && r.Phase == model.RolloutSoaking })
	during := s.node("joins-during")
	s.eventually("a node that joins gets the release of the completed wave", func() bool { return slices.Equal(during.log(), []string{"good:2"}) })
	if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutRolledBack)
	s.eventually("it is rolled back with the others", func() bool { return slices.Equal(during.log(), []string{"good:2", "good:1"}) })
	if status, err := svc.GetNode(t.Context(), "stranger"); err != nil || status.Generation != 0 || len(stranger.log()) != 0 {
		t.Errorf("a node outside of the target was given something: %+v, %v", status, err)
	}
}

func TestJoinThatComesTooLateForTheOnlyWave(t *testing.T) {
	s := newSite(t)
	s.start()
	s.nodes(1)
	s.release("one", "good:1")
	s.begin("first", "one", long(all))
	s.reach("first", model.RolloutSoaking)
	late := s.node("late")
	s.known(late)
	svc, _ := s.service()
	if got := late.log(); len(got) != 0 {
		t.Fatalf("it served %v before the wave was complete", got)
	}
	if _, err := svc.Promote(t.Context(), alice, "first"); err != nil {
		t.Fatal(err)
	}
	s.eventually("it serves when the rollout is done", func() bool { return slices.Equal(late.log(), []string{"good:1"}) })
}

// A node that was there before a rollout and was left out of it has not joined when it connects again.
func TestNodeLeftOutStaysOut(t *testing.T) {
	s := newSite(t)
	s.start()
	nodes := s.nodes(2)
	s.release("one", "good:1")
	s.begin("first", "one", one)
	s.reach("first", model.RolloutDone)
	s.stop()
	s.start()
	s.known(nodes...)
	probe := s.node("joins")
	s.eventually("joins are served", func() bool { return slices.Equal(probe.log(), []string{"good:1"}) })
	if got := reached(nodes, "good:1"); got != 1 {
		t.Errorf("%d of the nodes were reached, want 1", got)
	}
}

func TestNodeAwayConverges(t *testing.T) {
	s, nodes := settled(t, 3)
	nodes[1].disconnect()
	s.ahead.Add(int64(time.Minute)) // it is away for good, not for a moment
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	wantServed(t, []*sim{nodes[0], nodes[2]}, "good:1", "good:2")
	nodes[1].connect()
	s.eventually("it converges", func() bool { return slices.Equal(nodes[1].log(), []string{"good:1", "good:2"}) })
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}
