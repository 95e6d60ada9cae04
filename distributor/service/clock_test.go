package service_test

import (
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// A node that comes for the first time after the clock went back came after the rollouts all the same, and is given what they give.
func TestJoinAfterTheClockWentBack(t *testing.T) {
	s, _ := settled(t, 2)
	s.ahead.Add(-int64(time.Hour))
	joiner := s.node("joins-after")
	s.eventually("a node that joins gets the baseline", func() bool { return slices.Equal(joiner.log(), []string{"good:1"}) })
}

// When the clock goes back while a wave soaks, what its gates are told afterwards counts, though the time that it bears is before that of the move:
// comparisons, expressions, and gates that are read elsewhere.
func TestGatesWhenTheClockGoesBack(t *testing.T) {
	for name, gate := range map[string]model.GateSpec{
		"a comparison": {Comparison: &model.ComparisonGate{Of: model.ComparedErrors, MaxIncrease: 0.1, MinSamples: 20}},
		"a webhook":    {Webhook: &model.WebhookGate{Name: "oracle", URL: "https://oracle.example", Every: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := consulted(t, 4, model.VerdictPass)
			s.release("two", "good:2")
			wave := one
			wave.Soak = 2 * time.Second
			wave.Gates = []model.GateSpec{gate}
			s.begin("second", "two", wave, all)
			s.reach("second", model.RolloutSoaking)
			s.ahead.Add(-int64(time.Hour))
			r := s.reach("second", model.RolloutDone, model.RolloutRolledBack, model.RolloutPaused)
			if r.Phase != model.RolloutDone {
				t.Errorf("%s: %s\n%s", r.Phase, r.Message, history(r))
			}
		})
	}
}
