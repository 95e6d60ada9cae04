package api

import (
	"context"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

type resources struct {
	waftv1.UnimplementedResourceServiceServer
	*Server
}

func (s resources) ApplyResources(ctx context.Context, req *waftv1.ApplyResourcesRequest) (*waftv1.ApplyResourcesResponse, error) {
	draft, err := applyDraft(req.GetResources(), req.GetCollections())
	if err != nil {
		return nil, err
	}
	return appliedProto(s.service.ApplyResources(ctx, actor(ctx, req.GetReason()), draft))
}

func (s resources) DiffResources(ctx context.Context, req *waftv1.DiffResourcesRequest) (*waftv1.ApplyResourcesResponse, error) {
	draft, err := applyDraft(req.GetResources(), req.GetCollections())
	if err != nil {
		return nil, err
	}
	return appliedProto(s.service.DiffResources(ctx, actor(ctx, ""), draft))
}

func (s resources) DeleteResources(ctx context.Context, req *waftv1.DeleteResourcesRequest) (*waftv1.ApplyResourcesResponse, error) {
	var refs []service.ResourceRef
	for _, r := range req.GetResources() {
		refs = append(refs, resourceRef(r))
	}
	return appliedProto(s.service.DeleteResources(ctx, actor(ctx, req.GetReason()), refs))
}

func (s resources) GetResource(ctx context.Context, req *waftv1.GetResourceRequest) (*waftv1.Resource, error) {
	r, err := s.service.GetResource(ctx, service.ResourceRef{Collection: req.GetCollection(), Name: req.GetName(), Layer: model.Layer(req.GetLayer())})
	if err != nil {
		return nil, err
	}
	return storedProto(r)
}

func (s resources) ListResources(ctx context.Context, req *waftv1.ListResourcesRequest) (*waftv1.ListResourcesResponse, error) {
	return fitting(req, func(page service.Page) (*waftv1.ListResourcesResponse, int, error) {
		list, next, err := s.service.ListCollections(ctx, model.Layer(req.GetLayer()), req.GetCollection(), page)
		if err != nil {
			return nil, 0, err
		}
		out := &waftv1.ListResourcesResponse{NextPageToken: next}
		for _, c := range list {
			p, err := storedCollectionProto(c)
			if err != nil {
				return nil, 0, err
			}
			out.Collections = append(out.Collections, p)
		}
		return out, len(list), nil
	})
}

func (s resources) ListCollections(ctx context.Context, _ *waftv1.ListCollectionsRequest) (*waftv1.ListCollectionsResponse, error) {
	list, err := s.service.ListDeclarations(ctx)
	if err != nil {
		return nil, err
	}
	out := &waftv1.ListCollectionsResponse{}
	for _, c := range list {
		out.Collections = append(out.Collections, collectionProto(c))
	}
	return out, nil
}

type types struct {
	waftv1.UnimplementedTypeServiceServer
	*Server
}

func (s types) RegisterTypes(ctx context.Context, req *waftv1.RegisterTypesRequest) (*waftv1.TypeSet, error) {
	set, err := s.service.RegisterTypes(ctx, actor(ctx, req.GetReason()), service.TypesDraft{Name: req.GetName(), Descriptors: req.GetDescriptors()})
	if err != nil {
		return nil, err
	}
	return typeSetProto(set), nil
}

func (s types) ListTypes(ctx context.Context, _ *waftv1.ListTypesRequest) (*waftv1.ListTypesResponse, error) {
	list, err := s.service.ListTypes(ctx)
	if err != nil {
		return nil, err
	}
	out := &waftv1.ListTypesResponse{}
	for _, t := range list {
		out.Types = append(out.Types, typeSetProto(t))
	}
	return out, nil
}
