package api

import (
	"context"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

type freezes struct {
	waftv1.UnimplementedFreezeServiceServer
	*Server
}

func (s freezes) StartFreeze(ctx context.Context, req *waftv1.StartFreezeRequest) (*waftv1.Freeze, error) {
	lasts, err := parseDuration("rollouts", "for", req.GetFor())
	if err != nil {
		return nil, err
	}
	f, err := s.service.StartFreeze(ctx, actor(ctx, req.GetReason()), lasts)
	if err != nil {
		return nil, err
	}
	return freezeProto(&f), nil
}

func (s freezes) EndFreeze(ctx context.Context, req *waftv1.EndFreezeRequest) (*waftv1.Freeze, error) {
	if err := s.service.EndFreeze(ctx, actor(ctx, req.GetReason())); err != nil {
		return nil, err
	}
	return freezeProto(nil), nil
}

func (s freezes) GetFreeze(ctx context.Context, _ *waftv1.GetFreezeRequest) (*waftv1.Freeze, error) {
	f, err := s.service.GetFreeze(ctx)
	if err != nil {
		return nil, err
	}
	return freezeProto(f), nil
}

func freezeProto(f *model.Freeze) *waftv1.Freeze {
	if f == nil {
		return &waftv1.Freeze{}
	}
	return &waftv1.Freeze{Frozen: true, Actor: f.Actor, Reason: f.Reason, Since: timeProto(f.Since), Until: timeProto(f.Until)}
}
