package service_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// oracle answers gates that are read elsewhere, and remembers what it was asked.
type oracle struct {
	mu      sync.Mutex
	verdict model.GateVerdict
	asked   []service.GateSubject
	refuses error
}

func (o *oracle) Check(model.GateSpec) error { return o.refuses }

func (o *oracle) Read(_ context.Context, _ model.GateSpec, about service.GateSubject) (model.GateVerdict, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, about)
	return o.verdict, "says the oracle"
}

func webhook(w model.WaveSpec) model.WaveSpec {
	w.Gates = []model.GateSpec{{Webhook: &model.WebhookGate{Name: "oracle", URL: "https://oracle.example"}}}
	return w
}

// consulted is settled, with an oracle.
func consulted(t *testing.T, count int, verdict model.GateVerdict) (*site, []*sim, *oracle) {
	t.Helper()
	o := &oracle{verdict: verdict}
	s := newSite(t)
	s.config = func(c *service.Config) { c.Gates = o }
	s.start()
	nodes := s.nodes(count)
	s.release("one", "good:1")
	if _, err := s.try("first", "one", "env=prod", all); err != nil {
		t.Fatal(err)
	}
	s.reach("first", model.RolloutDone)
	return s, nodes, o
}

func TestGateElsewhereIsAskedAboutTheWave(t *testing.T) {
	s, nodes, o := consulted(t, 3, model.VerdictPass)
	release := s.release("two", "good:2")
	s.begin("second", "two", webhook(one), all)
	r := s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
	o.mu.Lock()
	defer o.mu.Unlock()
	first := o.asked[0]
	if first.Rollout != "second" || first.Release != release.ID || first.Wave != 1 || !slices.Equal(first.Moved, r.Waves[0].Nodes) || len(first.Waiting) != 2 {
		t.Errorf("it was asked about %+v", first)
	}
	if last := slices.MaxFunc(o.asked, func(a, b service.GateSubject) int { return cmp.Compare(a.Served, b.Served) }); last.Served <= first.Served {
		t.Errorf("asked again, the wave has served for %s, at first it had for %s", last.Served, first.Served)
	}
	readings := r.Waves[0].Readings
	if last := readings[len(readings)-1]; last.Gate != "webhook/oracle" || last.Verdict != model.VerdictPass || last.Detail != "says the oracle" {
		t.Errorf("readings %v", readings)
	}
}

func TestGateElsewhereFails(t *testing.T) {
	s, nodes, _ := consulted(t, 3, model.VerdictFail)
	s.release("two", "good:2")
	s.begin("second", "two", webhook(long(one)), all)
	r := s.reach("second", model.RolloutRolledBack)
	if !strings.Contains(r.Message, "webhook/oracle") || reached(nodes, "good:2") != 1 {
		t.Errorf("%s; %d nodes were reached", r.Message, reached(nodes, "good:2"))
	}
}

func TestGateElsewhereThatMayNotBeAsked(t *testing.T) {
	s, _, o := consulted(t, 1, model.VerdictPass)
	s.release("two", "good:2")
	o.refuses = errors.New("oracle.example is none of the hosts")
	_, err := s.try("second", "two", "", webhook(one))
	wantKind(t, err, model.ErrInvalid, "spec.waves[0].gates[0].webhook/oracle", "none of the hosts", "--gate-host")

	plain, _ := settled(t, 1)
	plain.release("two", "good:2")
	_, err = plain.try("second", "two", "", webhook(one))
	wantKind(t, err, model.ErrInvalid, "asks nobody")
}

func TestApproval(t *testing.T) {
	s, nodes := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	asks := one
	asks.Gates = []model.GateSpec{{Approval: &model.ApprovalGate{Note: "look at the orders"}}}
	s.begin("second", "two", asks, all)
	_, err := svc.Approve(t.Context(), alice, "first")
	wantKind(t, err, model.ErrPrecondition)
	s.until("second", "waiting for an approval", func(r model.Rollout) bool {
		return r.Phase == model.RolloutSoaking && strings.Contains(r.Message, "waits for an approval")
	})
	if counts, err := svc.Counts(); err != nil || counts.Waiting[model.WaitsForApproval] != 1 || len(counts.Waiting) != 1 {
		t.Errorf("counted as waiting are %v, %v", counts.Waiting, err)
	}
	if reached(nodes, "good:2") != 1 {
		t.Errorf("%d nodes were moved without an approval", reached(nodes, "good:2"))
	}
	if _, err := svc.Approve(t.Context(), service.Actor{Name: "ann", Reason: "orders are fine"}, "second"); err != nil {
		t.Fatal(err)
	}
	r := s.reach("second", model.RolloutDone)
	if a := r.Waves[0].Approval; a == nil || a.Actor != "ann" {
		t.Errorf("approved by %+v", a)
	}
	entries, _, err := svc.ListAudit(t.Context(), "rollout/second", service.Page{})
	if err != nil || !slices.ContainsFunc(entries, func(e model.AuditEntry) bool {
		return e.Action == "rollout.approve" && e.Actor == "ann" && e.Reason == "orders are fine"
	}) {
		t.Errorf("the audit does not say who approved: %v, %v", entries, err)
	}
}

func TestComparisonWithNodesNotYetMoved(t *testing.T) {
	compared := long(one)
	compared.Soak = 300 * time.Millisecond
	compared.Gates = []model.GateSpec{{Comparison: &model.ComparisonGate{Of: model.ComparedErrors, MaxIncrease: 0.1, MinSamples: 20}}}
	for name, test := range map[string]struct {
		fleet int64 // errors of every ten requests of the release that all have
		want  model.RolloutPhase
	}{
		"the release is worse": {0, model.RolloutRolledBack},
		"all fail as much":     {5, model.RolloutDone},
	} {
		t.Run(name, func(t *testing.T) {
			s, nodes := settled(t, 4)
			for _, n := range nodes {
				n.mu.Lock()
				n.behaves["good:1"] = behaviour{errors: test.fleet}
				n.mu.Unlock()
			}
			s.release("two", "bad:1") // half of its requests fail
			s.begin("second", "two", compared, all)
			r := s.reach("second", model.RolloutDone, model.RolloutRolledBack, model.RolloutPaused)
			if r.Phase != test.want {
				t.Errorf("%s: %s", r.Phase, r.Message)
			}
		})
	}
}

func TestFrozenFleetStands(t *testing.T) {
	var mu sync.Mutex
	var windows []model.FreezeWindow
	s := newSite(t)
	s.config = func(c *service.Config) {
		c.Freeze = func() []model.FreezeWindow {
			mu.Lock()
			defer mu.Unlock()
			return windows
		}
	}
	s.start()
	nodes := s.nodes(2)
	s.release("one", "good:1")
	s.begin("first", "one", all)
	s.reach("first", model.RolloutDone)
	freeze := func(list ...model.FreezeWindow) {
		mu.Lock()
		defer mu.Unlock()
		windows = list
	}
	freeze(model.FreezeWindow{From: "2000-01-01T00:00:00Z", Until: "2100-01-01T00:00:00Z", Reason: "the century"})
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.until("second", "being frozen", func(r model.Rollout) bool { return strings.Contains(r.Message, "the century") })
	if reached(nodes, "good:2") != 0 {
		t.Error("a frozen fleet was moved")
	}
	svc, _ := s.service()
	if _, err := svc.Undo(t.Context(), alice, "first"); err == nil {
		t.Error("the undo of a rollout whose nodes another one holds was taken")
	}
	freeze()
	s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")

	freeze(model.FreezeWindow{From: "2000-01-01T00:00:00Z", Until: "2100-01-01T00:00:00Z"})
	if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second-undo", model.RolloutDone) // taking back is always allowed
	wantServed(t, nodes, "good:1", "good:2", "good:1")
}

// An undo takes back: what only waits, as a rollout does in a freeze, is not in its way; and goes on once it has ended.
func TestUndoDoesNotWaitForWhatWaits(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	frozen := service.RolloutDraft{Name: "third", Release: "one", Waves: waves(all), Freeze: []model.FreezeWindow{{From: "2000-01-01T00:00:00Z", Until: "2100-01-01T00:00:00Z"}}}
	if _, err := svc.StartRollout(t.Context(), alice, frozen); err != nil {
		t.Fatal(err)
	}
	s.until("third", "being frozen", func(r model.Rollout) bool { return strings.Contains(r.Message, "frozen") })
	if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second-undo", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2", "good:1")
}

// TestCapHoldsOverAllRollouts: two rollouts over different nodes, of which no more than one may be on its way together.
func TestCapHoldsOverAllRollouts(t *testing.T) {
	s, nodes := settled(t, 4)
	for i, n := range nodes {
		n.disconnect()
		n.hello.Labels = map[string]string{"env": "prod", "half": []string{"a", "b"}[i%2]}
		n.connect()
	}
	s.eventually("the new labels are known", func() bool {
		svc, _ := s.service()
		list, _, err := svc.ListNodes(t.Context(), "half in (a,b)", service.Page{})
		return err == nil && len(list) == 4
	})
	for _, n := range nodes {
		n.setHold("load")
	}
	s.release("two", "good:2")
	svc, _ := s.service()
	for _, half := range []string{"a", "b"} {
		draft := service.RolloutDraft{Name: "second-" + half, Release: "two", Selector: "half=" + half, MaxNotServing: 1, Waves: waves(all)}
		if _, err := svc.StartRollout(t.Context(), alice, draft); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if t.Failed() {
			for _, half := range []string{"a", "b"} {
				r, err := svc.GetRollout(context.Background(), "second-"+half)
				t.Logf("%s: %s: %s, %v\n%s", r.Name, r.Phase, r.Message, err, history(r))
			}
			for _, n := range nodes {
				hold, _ := n.held()
				t.Logf("%s is held before %q and served %v", n.hello.ID, hold, n.log())
			}
		}
	}()
	onTheirWay := func() []string {
		var ids []string
		for _, half := range []string{"a", "b"} {
			r, err := svc.GetRollout(t.Context(), "second-"+half)
			if err != nil {
				t.Fatal(err)
			}
			for id, p := range r.Nodes {
				if p.State == model.NodeMoving {
					ids = append(ids, id)
				}
			}
		}
		return ids
	}
	s.until("second-b", "waiting for room", func(r model.Rollout) bool {
		return r.Phase == model.RolloutMoving && strings.Contains(r.Message, "no more than 1 may be")
	})
	for range nodes {
		var ids []string
		s.eventually("one node is on its way", func() bool { ids = onTheirWay(); return len(ids) == 1 })
		for _, n := range nodes {
			if n.hello.ID == ids[0] {
				n.setHold("")
			}
		}
		s.eventually("it serves, and another moves", func() bool {
			now := onTheirWay()
			if len(now) > 1 {
				t.Fatalf("%v are on their way together", now)
			}
			return !slices.Equal(now, ids)
		})
	}
	s.reach("second-a", model.RolloutDone)
	s.reach("second-b", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
}

func TestPlanRollout(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	nodes[0].disconnect()
	s.eventually("it is away", func() bool {
		s.ahead.Add(int64(time.Minute))
		n, err := svc.GetNode(t.Context(), "n0")
		return err == nil && n.Presence == service.PresenceUnknown
	})
	release := s.release("two", "good:2")
	draft := service.RolloutDraft{Name: "second", Release: "two", Waves: waves(one, all)}
	plan, err := svc.PlanRollout(t.Context(), alice, draft)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Release != release.ID || len(plan.Waves) != 2 || len(plan.Waves[0]) != 1 || len(plan.Waves[1]) != 3 || len(plan.LeftOut) != 0 {
		t.Fatalf("planned %+v", plan)
	}
	if last := plan.Waves[1][2]; last.ID != "n0" || !strings.Contains(last.Reason, "away") {
		t.Errorf("the node that is away comes last, uncounted; planned is %+v", last)
	}
	if len(plan.Changes) != 1 || len(plan.Changes[0].Filters) != 1 {
		t.Fatalf("changes %+v", plan.Changes)
	}
	if fields := plan.Changes[0].Filters[0].Fields; len(fields) != 1 || fields[0].Path != "module" || fields[0].Layer != model.LayerGlobal {
		t.Errorf("what changes: %+v", fields)
	}
	if _, err := svc.GetRollout(t.Context(), "second"); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a plan left a rollout: %v", err)
	}
	// The same draft is taken afterwards, and refused where starting it would be.
	if _, err := svc.PlanRollout(t.Context(), alice, service.RolloutDraft{Name: "first", Release: "two"}); !errors.Is(err, model.ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	r, err := svc.StartRollout(t.Context(), alice, draft)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Waves[0].Nodes; len(got) != 1 || got[0] != plan.Waves[0][0].ID {
		t.Errorf("wave 1 took %v, planned was %s", got, plan.Waves[0][0].ID)
	}
}
