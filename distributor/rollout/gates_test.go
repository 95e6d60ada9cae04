package rollout

import (
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestErrorRatio(t *testing.T) {
	for _, test := range []struct {
		name    string
		gate    model.ErrorRatioGate
		traffic traffic
		want    model.GateVerdict
	}{
		{"nothing", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1}, model.VerdictInconclusive},
		{"one too few", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: model.DefaultMinSamples - 1, errors: model.DefaultMinSamples - 1}, model.VerdictInconclusive},
		{"just enough", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: model.DefaultMinSamples, errors: model.DefaultMinSamples}, model.VerdictFail},
		{"the most allowed", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: 100, errors: 50}, model.VerdictPass},
		{"one more", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: 100, errors: 51}, model.VerdictFail},
		{"none allowed", model.ErrorRatioGate{}, traffic{nodes: 1, requests: 100}, model.VerdictPass},
		{"one where none is allowed", model.ErrorRatioGate{}, traffic{nodes: 1, requests: 1000, errors: 1}, model.VerdictFail},
		{"all allowed", model.ErrorRatioGate{Max: 1}, traffic{nodes: 1, requests: 100, errors: 100}, model.VerdictPass},
		{"own minimum", model.ErrorRatioGate{MinSamples: 1}, traffic{nodes: 1, requests: 1, errors: 1}, model.VerdictFail},
		{"nothing changes", model.ErrorRatioGate{}, traffic{}, model.VerdictPass},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, detail := errorRatio(test.gate, test.traffic); got != test.want || detail == "" {
				t.Errorf("got %s (%s), want %s", got, detail, test.want)
			}
		})
	}
	_, detail := errorRatio(model.ErrorRatioGate{Max: 0.01}, traffic{nodes: 1, requests: 400, errors: 12})
	if want := "12 of 400 requests were answered 5xx (3 %), the most allowed is 1 %"; detail != want {
		t.Errorf("got %s", detail)
	}
}

var gated = model.WaveSpec{Percent: 100, Soak: 20 * time.Second, Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.1, MinSamples: 10}}}}

func TestTrafficOfUnchangedNodesDoesNotCount(t *testing.T) {
	d := newDrive(t, newFleet(2), gated)
	d.fleet.nodes["n1"].Assigned = after // it has the release already, from an earlier rollout
	d.fleet.serve("n1")
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 1000, Errors: 1000}
	d.toSoaking()
	d.look(20*time.Second + SampleGrace)
	d.want(model.RolloutPaused, 0) // n2 has no requests
	d.must(Resume{by})
	d.fleet.nodes["n2"].Stats = model.Statistics{Chain: chainOf(after), Requests: 10, Errors: 1}
	d.look(20 * time.Second)
	d.want(model.RolloutDone, 0)
}

func TestResumeSoaksAgain(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.look(20*time.Second + SampleGrace)
	d.want(model.RolloutPaused, 0)
	d.must(Resume{by})
	d.look(19 * time.Second)
	d.want(model.RolloutSoaking, 0)
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 10}
	d.look(time.Second)
	d.want(model.RolloutDone, 0)
	var verdicts []model.GateVerdict
	for _, r := range d.r.Waves[0].Readings {
		verdicts = append(verdicts, r.Verdict)
	}
	if len(verdicts) != 3 || verdicts[0] != model.VerdictPass || verdicts[1] != model.VerdictInconclusive || verdicts[2] != model.VerdictPass {
		t.Errorf("readings %v", verdicts)
	}
}

func TestPromoteDoesNotOverruleAFailedGate(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.must(Promote{by})
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 10, Errors: 10}
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
}

func TestPromoteOverrulesAnInconclusiveGate(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.look(20*time.Second + SampleGrace)
	d.want(model.RolloutPaused, 0)
	d.must(Promote{by})
	d.look(0)
	d.want(model.RolloutDone, 0)
	if !d.r.Waves[0].Overruled {
		t.Error("the wave does not say that it was overruled")
	}
}

func TestStatisticsOfAnotherChainDoNotCount(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(before), Requests: 100, Errors: 100}
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0)
}
