package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

type secrets struct {
	waftv1.UnimplementedSecretServiceServer
	*Server
}

func (s secrets) SetSecret(ctx context.Context, req *waftv1.SetSecretRequest) (*waftv1.Secret, error) {
	draft := service.SecretDraft{Layer: model.Layer(req.GetLayer()), Name: req.GetName(), Value: []byte(req.GetValue())}
	one, err := s.service.SetSecret(ctx, actor(ctx, req.GetReason()), draft)
	if err != nil {
		return nil, err
	}
	return secretProto(one, nil), nil
}

func (s secrets) GetSecret(ctx context.Context, req *waftv1.GetSecretRequest) (*waftv1.Secret, error) {
	one, err := s.service.GetSecret(ctx, model.Layer(req.GetLayer()), req.GetName())
	if err != nil {
		return nil, err
	}
	return secretProto(one.KeptSecret, one.Releases), nil
}

func (s secrets) ListSecrets(ctx context.Context, req *waftv1.ListSecretsRequest) (*waftv1.ListSecretsResponse, error) {
	return fitting(req, func(page service.Page) (*waftv1.ListSecretsResponse, int, error) {
		list, next, err := s.service.ListSecrets(ctx, model.Layer(req.GetLayer()), page)
		if err != nil {
			return nil, 0, err
		}
		out := &waftv1.ListSecretsResponse{NextPageToken: next}
		for _, one := range list {
			out.Secrets = append(out.Secrets, secretProto(one, nil))
		}
		return out, len(list), nil
	})
}

func (s secrets) DeleteSecret(ctx context.Context, req *waftv1.DeleteSecretRequest) (*waftv1.Secret, error) {
	if req.GetVersion() < 0 {
		return nil, model.Invalidf("secret", "version", "give one as waft secret show shows it, or 0 for all", "%d is no version", req.GetVersion())
	}
	one, err := s.service.DeleteSecret(ctx, actor(ctx, req.GetReason()), model.Layer(req.GetLayer()), req.GetName(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return secretProto(one, nil), nil
}

func (s secrets) RekeySecrets(ctx context.Context, req *waftv1.RekeySecretsRequest) (*waftv1.RekeySecretsResponse, error) {
	done, err := s.service.RekeySecrets(ctx, actor(ctx, req.GetReason()))
	if err != nil {
		return nil, err
	}
	return &waftv1.RekeySecretsResponse{Key: done.Key, Resealed: int32(done.Resealed), Failed: done.Failed, Failures: int32(done.Failures)}, nil
}

func secretProto(one model.KeptSecret, releases map[int64][]model.ReleaseID) *waftv1.Secret {
	out := &waftv1.Secret{Name: one.Name, Layer: string(one.Layer)}
	for _, v := range one.Versions {
		version := &waftv1.SecretVersion{Version: v.Version, Id: v.ID, Key: v.Key, SetAt: timestamppb.New(v.SetAt), SetBy: v.SetBy, Reason: v.Reason}
		for _, id := range releases[v.Version] {
			version.Releases = append(version.Releases, id.String())
		}
		out.Versions = append(out.Versions, version)
	}
	return out
}
