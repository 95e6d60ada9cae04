package api

import (
	"context"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

type filters struct {
	waftv1.UnimplementedFilterServiceServer
	*Server
}

func (s filters) DisableFilter(ctx context.Context, req *waftv1.DisableFilterRequest) (*waftv1.DisabledFilter, error) {
	if req.GetEverywhere() == (req.GetSelector() != "") {
		return nil, model.Invalidf("filter/"+req.GetFilter(), "selector", "say everywhere, or give a selector", "which nodes is not said, or said twice")
	}
	d, err := s.service.DisableFilter(ctx, actor(ctx, req.GetReason()), service.DisableDraft{
		Filter: req.GetFilter(), Selector: req.GetSelector(), PassUnauthorized: req.GetLetUnauthorizedRequestsPass(),
	})
	if err != nil {
		return nil, err
	}
	return disabledProto(d), nil
}

func (s filters) EnableFilter(ctx context.Context, req *waftv1.EnableFilterRequest) (*waftv1.Rollout, error) {
	draft := service.EnableDraft{Filter: req.GetFilter(), MaxNotServing: int(req.GetMaxNotServing())}
	for i, w := range req.GetWaves() {
		wave, err := waveModel("filter/"+draft.Filter, index("waves", i), w)
		if err != nil {
			return nil, err
		}
		draft.Waves = append(draft.Waves, wave)
	}
	return rolloutOr(s.service.EnableFilter(ctx, actor(ctx, req.GetReason()), draft))
}

func (s filters) ListDisabledFilters(ctx context.Context, _ *waftv1.ListDisabledFiltersRequest) (*waftv1.ListDisabledFiltersResponse, error) {
	list, err := s.service.ListDisabled(ctx)
	if err != nil {
		return nil, err
	}
	out := &waftv1.ListDisabledFiltersResponse{}
	for _, d := range list {
		out.Filters = append(out.Filters, disabledProto(d))
	}
	return out, nil
}

func disabledProto(d service.DisabledFilter) *waftv1.DisabledFilter {
	return &waftv1.DisabledFilter{
		Filter: d.Filter, Selector: d.Selector, Actor: d.Actor, Reason: d.Reason, Since: timeProto(d.Since), PassUnauthorized: d.PassUnauthorized,
		Release: d.Release.String(), Rollout: d.Rollout, Enabling: d.Enabling, Nodes: int32(d.Nodes), Pending: int32(d.Pending),
	}
}
