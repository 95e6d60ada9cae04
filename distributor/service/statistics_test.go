package service_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// counted is a wave with a gate on a statistic that nodes report only when they are asked for it.
func counted(w model.WaveSpec, expression string) model.WaveSpec {
	w.Gates = []model.GateSpec{{Statistic: &model.StatisticGate{
		Name: "errors", Statistics: map[string]string{"errors": "wasmcustom.errors"}, Expression: expression,
	}}}
	return w
}

// expressive is settled, with CEL.
func expressive(t *testing.T, count int) (*site, []*sim) {
	t.Helper()
	x, err := gates.NewExpressions()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.config = func(c *service.Config) { c.Expressions = x }
	s.start()
	nodes := s.nodes(count)
	s.release("one", "good:1")
	if _, err := s.try("first", "one", "env=prod", all); err != nil {
		t.Fatal(err)
	}
	s.reach("first", model.RolloutDone)
	return s, nodes
}

// What an expression needs reaches the nodes, what they say of it the gate, and what it says the history.
func TestStatisticGatePasses(t *testing.T) {
	s, nodes := expressive(t, 3)
	s.release("two", "good:2")
	s.begin("second", "two", counted(one, "increase.errors == 0.0 && nodes == 1"), all)
	r := s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
	readings := r.Waves[0].Readings
	if last := readings[len(readings)-1]; last.Gate != "statistic/errors" || last.Verdict != model.VerdictPass || !strings.Contains(last.Detail, "errors: increase 0") {
		t.Errorf("readings %v", readings)
	}
}

func TestStatisticGateFails(t *testing.T) {
	s, nodes := expressive(t, 3)
	for _, n := range nodes {
		n.behave("bad:1", behaviour{errors: 5})
	}
	s.release("two", "bad:1")
	s.begin("second", "two", counted(long(one), "increase.errors < 20.0"), all)
	r := s.reach("second", model.RolloutRolledBack)
	if !strings.Contains(r.Message, "gate statistic/errors") || reached(nodes, "bad:1") != 1 {
		t.Errorf("%s; %d nodes were reached", r.Message, reached(nodes, "bad:1"))
	}
}

// A statistic that no node has is not taken for one that is well.
func TestStatisticThatNobodyHas(t *testing.T) {
	s, _ := expressive(t, 1)
	s.release("two", "good:2")
	wave := counted(long(one), "value.errors < 1.0")
	wave.Gates[0].Statistic.Statistics["errors"] = "wasmcustom.nonsense"
	s.begin("second", "two", wave)
	s.until("second", "soaking", func(r model.Rollout) bool { return r.Phase == model.RolloutSoaking })
	svc, _ := s.service()
	if _, err := svc.Promote(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	// Promoted, the gate is overruled; it never passed.
	r := s.reach("second", model.RolloutDone)
	readings := r.Waves[0].Readings
	if last := readings[len(readings)-1]; last.Verdict != model.VerdictInconclusive || !strings.Contains(last.Detail, "reports no statistic wasmcustom.nonsense") {
		t.Errorf("readings %v", readings)
	}
}

func TestStatisticGateThatCannotBeJudged(t *testing.T) {
	s, _ := expressive(t, 1)
	s.release("two", "good:2")
	_, err := s.try("second", "two", "", counted(one, "increase.lost == 0.0"))
	wantKind(t, err, model.ErrInvalid, "spec.waves[0].gates[0].statistic", "undeclared reference", "CEL")

	plain, _ := settled(t, 1)
	plain.release("two", "good:2")
	_, err = plain.try("second", "two", "", counted(one, "increase.errors == 0.0"))
	wantKind(t, err, model.ErrInvalid, "judges no expressions")
}

// A worker that hangs fails a wave that has no gate.
func TestHangingWorkerFailsAWaveWithoutGates(t *testing.T) {
	s, nodes := settled(t, 3)
	for _, n := range nodes {
		n.behave("bad:1", behaviour{health: model.Health{Known: true, Hangs: 1}})
	}
	s.release("two", "bad:1")
	s.begin("second", "two", long(one), all)
	r := s.reach("second", model.RolloutRolledBack)
	if !strings.Contains(r.Message, "watchdog_mega_miss") || reached(nodes, "bad:1") != 1 {
		t.Errorf("%s; %d nodes were reached", r.Message, reached(nodes, "bad:1"))
	}
}
