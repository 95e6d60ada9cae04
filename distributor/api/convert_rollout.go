package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func rolloutDraft(req *waftv1.StartRolloutRequest) (service.RolloutDraft, error) {
	r := req.GetRollout()
	if r == nil {
		return service.RolloutDraft{}, model.Invalidf("", "rollout", "give the rollout to start", "is missing")
	}
	if err := checkHead(r.GetApiVersion(), r.GetKind(), KindRollout); err != nil {
		return service.RolloutDraft{}, err
	}
	draft := service.RolloutDraft{
		Name: r.GetMetadata().GetName(), Release: r.GetSpec().GetRelease(), Selector: r.GetSpec().GetTarget().GetSelector(),
		IncludeUnreported: r.GetSpec().GetTarget().GetIncludeUnreported(), NoWait: req.GetNoWait(),
		MaxNotServing: int(r.GetSpec().GetMaxNotServing()),
	}
	for _, w := range r.GetSpec().GetFreeze() {
		draft.Freeze = append(draft.Freeze, model.FreezeWindow{From: w.GetFrom(), Until: w.GetUntil(), TimeZone: w.GetTimeZone(), Reason: w.GetReason()})
	}
	for i, w := range r.GetSpec().GetWaves() {
		wave, err := waveModel("rollout/"+draft.Name, index("spec.waves", i), w)
		if err != nil {
			return service.RolloutDraft{}, err
		}
		draft.Waves = append(draft.Waves, wave)
	}
	return draft, nil
}

func waveModel(object, path string, w *waftv1.Wave) (model.WaveSpec, error) {
	out := model.WaveSpec{Nodes: int(w.GetNodes()), Percent: int(w.GetPercent()), Selector: w.GetSelector(), Cohort: cohortModel(w.GetCohort())}
	for _, d := range []struct {
		field, text string
		into        *time.Duration
	}{{"soak", w.GetSoak(), &out.Soak}, {"deadline", w.GetDeadline(), &out.Deadline}} {
		v, err := parseDuration(object, path+"."+d.field, d.text)
		if err != nil {
			return out, err
		}
		*d.into = v
	}
	for i, g := range w.GetGates() {
		gate, err := gateModel(object, index(path+".gates", i), g)
		if err != nil {
			return out, err
		}
		out.Gates = append(out.Gates, gate)
	}
	return out, nil
}

// parseDuration reads a duration; empty is zero.
func parseDuration(object, field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, model.Invalidf(object, field, "write a duration such as 30s or 2m", "%q is no duration", text)
	}
	return d, nil
}

func waveProto(w model.WaveSpec) *waftv1.Wave {
	out := &waftv1.Wave{
		Nodes: int32(w.Nodes), Percent: int32(w.Percent), Selector: w.Selector,
		Soak: durationText(w.Soak), Deadline: durationText(w.Deadline), Cohort: cohortProto(w.Cohort),
	}
	for _, g := range w.Gates {
		out.Gates = append(out.Gates, gateProto(g))
	}
	return out
}

// durationText is a duration as people write it: 2m, not 2m0s. The zero duration is not written.
func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// rolloutProto turns a rollout into its message. In a list, which is not whole, what grows with the fleet is left out.
func rolloutProto(r model.Rollout, whole bool) *waftv1.Rollout {
	out := &waftv1.Rollout{
		ApiVersion: APIVersion,
		Kind:       KindRollout,
		Metadata:   &waftv1.RolloutMetadata{Name: r.Name},
		Spec: &waftv1.RolloutSpec{
			Release: r.Spec.Release.String(), Target: &waftv1.Target{Selector: r.Spec.Selector, IncludeUnreported: r.Spec.IncludeUnreported},
			MaxNotServing: int32(r.Spec.MaxNotServing),
		},
		Status: &waftv1.RolloutStatus{
			Phase: string(r.Phase), Message: r.Message, Wave: int32(r.Wave + 1), Release: r.Spec.Release.String(), Layer: string(r.Layer),
			StartedAt: timeProto(r.StartedAt), EndedAt: timeProto(r.EndedAt), StartedBy: r.StartedBy, Undoes: r.Undoes, Disables: r.Disables,
		},
	}
	for _, w := range r.Spec.Freeze {
		out.Spec.Freeze = append(out.Spec.Freeze, &waftv1.FreezeWindow{From: w.From, Until: w.Until, TimeZone: w.TimeZone, Reason: w.Reason})
	}
	for _, w := range r.Spec.Waves {
		out.Spec.Waves = append(out.Spec.Waves, waveProto(w))
	}
	for i, w := range r.Waves {
		if !whole {
			w.Nodes, w.Readings = nil, nil
		}
		status := waveStatusProto(w)
		if whole && i == r.Wave {
			status.Latest = readingsProto(r.Latest)
		}
		out.Status.Waves = append(out.Status.Waves, status)
	}
	if !whole {
		return out
	}
	out.Status.Warnings = r.Spec.Warnings()
	for _, t := range r.History {
		out.Status.History = append(out.Status.History, &waftv1.Transition{
			At: timeProto(t.At), Phase: string(t.Phase), Wave: int32(t.Wave + 1), Message: t.Message, Actor: t.Actor,
		})
	}
	for _, id := range slices.Sorted(maps.Keys(r.Nodes)) {
		n := r.Nodes[id]
		out.Status.Nodes = append(out.Status.Nodes, &waftv1.NodeProgress{
			Node: id, Wave: int32(n.Wave + 1), State: string(n.State), Reason: n.Reason, From: n.From.String(),
			Cohort: cohortProto(n.Cohort),
		})
	}
	return out
}

func waveStatusProto(w model.WaveState) *waftv1.WaveStatus {
	out := &waftv1.WaveStatus{
		Nodes: w.Nodes, StartedAt: timeProto(w.StartedAt), SoakUntil: timeProto(w.SoakUntil), EndedAt: timeProto(w.EndedAt),
		WaitsSince: timeProto(w.WaitsSince), Readings: readingsProto(w.Readings),
	}
	if a := w.Approval; a != nil {
		out.Approval = &waftv1.Approval{Actor: a.Actor, Reason: a.Reason, At: timeProto(a.At)}
	}
	return out
}

func readingsProto(readings []model.GateReading) []*waftv1.GateReading {
	var out []*waftv1.GateReading
	for _, g := range readings {
		out = append(out, &waftv1.GateReading{Gate: g.Gate, Verdict: string(g.Verdict), Detail: g.Detail, At: timeProto(g.At)})
	}
	return out
}
