package service

import (
	"errors"
	"fmt"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// judgeStatistics adds to a picture of the fleet what the expressions of the current wave's gates say of it. So the state machine needs no
// expressions, and a replay of what it was given has the same outcome.
func (s *Service) judgeStatistics(r model.Rollout, event *rollout.Observe, at time.Time) {
	wave, watched := watchedWave(r)
	if !watched {
		return
	}
	for i, gate := range r.Spec.Waves[wave].Gates {
		if gate.Statistic == nil {
			continue
		}
		verdict, detail := s.judgeStatistic(r, event.Nodes, *gate.Statistic)
		if event.Elsewhere == nil {
			event.Elsewhere = map[int]model.GateReading{}
		}
		event.Elsewhere[i] = model.GateReading{Verdict: verdict, Detail: clip(detail, maxGateDetail), At: at}
	}
}

func (s *Service) judgeStatistic(r model.Rollout, nodes []rollout.NodeView, g model.StatisticGate) (model.GateVerdict, string) {
	reading, missing := rollout.ReadStatistics(r, nodes, g)
	switch {
	case missing != "":
		return model.VerdictInconclusive, missing
	case reading.Nodes == 0:
		return model.VerdictPass, "the release changes nothing on the moved nodes"
	}
	return s.expressions.Judge(g, reading)
}

// checkStatistics says which expression of some waves cannot be judged.
func (s *Service) checkStatistics(object string, waves []model.WaveSpec) error {
	for i, w := range waves {
		for j, gate := range w.Gates {
			if gate.Statistic == nil {
				continue
			}
			if err := s.expressions.Check(*gate.Statistic); err != nil {
				return model.Invalidf(object, fmt.Sprintf("spec.waves[%d].gates[%d].statistic", i, j), "write it in CEL, over nodes, increase, value and highest", "%v", err)
			}
		}
	}
	return nil
}

// noExpressions is what a distributor without CEL says.
type noExpressions struct{}

func (noExpressions) Check(model.StatisticGate) error { return errNoExpressions }

func (noExpressions) Judge(model.StatisticGate, model.StatisticReading) (model.GateVerdict, string) {
	return model.VerdictInconclusive, errNoExpressions.Error()
}

var errNoExpressions = errors.New("this distributor judges no expressions")
