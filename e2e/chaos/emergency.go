package chaos

import (
	"context"
	"fmt"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// disable takes the filter that marks responses out of all chains, as a person would who does not give up.
func (r *run) disable(ctx context.Context) error {
	e := Emergency{Told: time.Now()}
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		call := r.operator.call(ctx, OpOut, markFilter, func(ctx context.Context, call *Call) error {
			got, err := r.operator.api.Filters.DisableFilter(ctx, &waftv1.DisableFilterRequest{Filter: markFilter, Everywhere: true, LetUnauthorizedRequestsPass: true, Reason: "chaos"})
			call.Changed = got.GetActor() == call.Actor
			return err
		})
		if call.Outcome == OK {
			e.Actor, e.Known = call.Actor, time.Now()
			r.h.Emergencies = append(r.h.Emergencies, e)
			r.note("disabled filter/%s", markFilter)
			return nil
		}
		r.note("disable filter/%s: %s", markFilter, call.Error)
	}
	return context.Cause(ctx)
}

// goneLimit is how long nodes may take to serve without a filter that was disabled; an agent tries again within a minute.
const goneLimit = 2 * time.Minute

// putBack waits until the filter that was disabled is gone everywhere, and a moment longer, and then puts it back by a rollout. It does nothing where
// none is disabled.
func (r *run) putBack(ctx context.Context) error {
	if len(r.h.Emergencies) == 0 || !r.h.Emergencies[len(r.h.Emergencies)-1].Back.IsZero() {
		return nil
	}
	e := &r.h.Emergencies[len(r.h.Emergencies)-1]
	for deadline := time.Now().Add(goneLimit); ctx.Err() == nil && time.Now().Before(deadline); pause(ctx, pollEvery) {
		asked := time.Now()
		if got, err := r.disabled(ctx); err == nil && got != nil && int(got.GetNodes()) == len(r.m.nodes) && got.GetPending() == 0 {
			e.Gone = asked
			break
		}
	}
	pause(ctx, trial)
	e.Back = time.Now()
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		got, err := r.disabled(ctx)
		switch {
		case err != nil:
		case got == nil:
			e.Whole = time.Now()
			r.note("filter/%s is back", markFilter)
			return nil
		case got.GetEnabling() == "":
			call := r.operator.call(ctx, OpBack, markFilter, func(ctx context.Context, _ *Call) error {
				_, err := r.operator.api.Filters.EnableFilter(ctx, &waftv1.EnableFilterRequest{Filter: markFilter, Reason: "chaos", Waves: []*waftv1.Wave{
					{Nodes: 1, Soak: time.Second.String(), Deadline: waveDeadline.String()}, {Nodes: scheduleNodes, Soak: time.Second.String(), Deadline: waveDeadline.String()},
				}})
				return err
			})
			r.note("enable filter/%s: %s %s", markFilter, call.Outcome, call.Error)
		default:
			r.resumeBack(ctx, got.GetEnabling())
		}
	}
	return context.Cause(ctx)
}

// resumeBack goes on with a rollout that puts a filter back, where it is paused. It logs no calls: who started it is not known where the answer was lost,
// and the rules are about filters here.
func (r *run) resumeBack(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := r.operator.api.Rollouts.GetRollout(ctx, &waftv1.GetRolloutRequest{Name: name})
	if err == nil && got.GetStatus().GetPhase() == "Paused" {
		_, err = r.operator.api.Rollouts.ResumeRollout(ctx, &waftv1.RolloutActionRequest{Name: name, Reason: "chaos"})
	}
	if err != nil {
		r.note("look at %s: %v", name, err)
	}
}

// disabled is what the API says of the filter that marks responses; nil where it is not disabled.
func (r *run) disabled(ctx context.Context) (*waftv1.DisabledFilter, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := r.operator.api.Filters.ListDisabledFilters(ctx, &waftv1.ListDisabledFiltersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list disabled filters: %w", err)
	}
	for _, f := range got.GetFilters() {
		if f.GetFilter() == markFilter {
			return f, nil
		}
	}
	return nil, nil
}
