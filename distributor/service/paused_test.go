package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// A paused rollout is watched, by its own gates and by those that are read elsewhere; as long as nothing fails, that writes nothing.
func TestPausedRolloutIsWatched(t *testing.T) {
	for name, fails := range map[string]func(o *oracle, nodes []*sim){
		"requests fail": func(_ *oracle, nodes []*sim) {
			for _, n := range nodes {
				n.behave("good:2", behaviour{errors: 5})
			}
		},
		"an answer from elsewhere": func(o *oracle, _ []*sim) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.verdict = model.VerdictFail
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, nodes, o := consulted(t, 3, model.VerdictPass)
			svc, _ := s.service()
			s.release("two", "good:2")
			watched := long(one)
			watched.Gates = []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.01}}, {Webhook: &model.WebhookGate{Name: "oracle", URL: "https://oracle.example", Every: time.Second}}}
			s.begin("second", "two", watched, all)
			s.reach("second", model.RolloutSoaking)
			if _, err := svc.Pause(t.Context(), alice, "second"); err != nil {
				t.Fatal(err)
			}
			written := s.tap.rollouts.Load()
			first := s.until("second", "gates that are read in the pause", func(r model.Rollout) bool {
				return r.Phase == model.RolloutPaused && len(r.Latest) == 2
			})
			s.until("second", "other figures", func(r model.Rollout) bool { return r.Latest[0].Detail != first.Latest[0].Detail })
			if got := s.tap.rollouts.Load(); got != written {
				t.Errorf("it was written %d times while it was paused", got-written)
			}
			fails(o, nodes)
			r := s.reach("second", model.RolloutRolledBack)
			if !strings.Contains(r.Message, "while it was paused") {
				t.Error(r.Message)
			}
			counts, err := svc.Counts()
			failed := 0
			for of, n := range counts.Verdicts {
				if of.Verdict == model.VerdictFail && (of.Kind == "errorRatio" || of.Kind == "webhook") {
					failed += n
				}
			}
			if err != nil || counts.Rollbacks[service.RollbackByGate] != 1 || counts.Rollbacks[service.RollbackByPerson] != 0 || failed != 1 {
				t.Errorf("counted are %v and %v, %v", counts.Rollbacks, counts.Verdicts, err)
			}
			if got := reached(nodes, "good:2"); got != 1 {
				t.Errorf("%d nodes have served it", got)
			}
		})
	}
}
