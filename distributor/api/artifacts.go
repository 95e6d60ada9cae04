package api

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/service"
)

type artifacts struct {
	waftv1.UnimplementedArtifactServiceServer
	*Server
}

func (s artifacts) ListArtifacts(ctx context.Context, req *waftv1.ListArtifactsRequest) (*waftv1.ListArtifactsResponse, error) {
	return fitting(req, func(page service.Page) (*waftv1.ListArtifactsResponse, int, error) {
		list, next, err := s.service.ListArtifacts(ctx, req.GetRepository(), req.GetUnneeded(), page)
		if err != nil {
			return nil, 0, err
		}
		out := &waftv1.ListArtifactsResponse{NextPageToken: next, AllStay: list.AllStay}
		if list.Retention > 0 {
			out.Retention = durationpb.New(list.Retention)
		}
		for _, a := range list.Artifacts {
			out.Artifacts = append(out.Artifacts, artifactProto(a, list))
		}
		return out, len(out.Artifacts), nil
	})
}

func artifactProto(a service.Artifact, of service.ArtifactList) *waftv1.Artifact {
	out := &waftv1.Artifact{Repository: a.Repository, Digest: a.Digest, Tags: a.Tags, SizeBytes: a.Bytes, PushedAt: timeProto(a.Pushed), Needed: a.Needed}
	if a.Needed != "" {
		return out
	}
	out.UnneededFor = durationpb.New(a.Unneeded)
	if of.Retention > 0 && of.AllStay == "" {
		out.StaysFor = durationpb.New(max(of.Retention-a.Unneeded, 0))
	}
	return out
}
