package xds

import (
	"context"
	"log/slog"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// NewServer makes a server over the service. All its streams end when stop does. Metrics and log may be nil.
func NewServer(stop context.Context, s *service.Service, metrics *Metrics, log *slog.Logger) *Server {
	return newServer(stop, served{s}, metrics, log)
}

// served is the service as a backend.
type served struct{ service *service.Service }

func (b served) node(ctx context.Context, id string) (model.Node, error) {
	status, err := b.service.GetNode(ctx, id)
	return status.Node, err
}

func (b served) connect(ctx context.Context, hello service.NodeHello) (session, error) {
	s, err := b.service.Connect(ctx, hello)
	if err != nil {
		return nil, err
	}
	return reporting{s}, nil
}

func (b served) collections(ctx context.Context, id string) ([]model.Collection, error) {
	return b.service.Collections(ctx, id)
}

func (b served) lately(ctx context.Context, id string) ([][]model.Collection, error) {
	return b.service.Lately(ctx, id)
}

func (b served) watch(id string, call func()) (<-chan struct{}, func()) {
	return b.service.Watch(id, call)
}

// reporting is a session of the service.
type reporting struct{ *service.Session }

// Fetched is called where nothing is fetched ahead, so there is nothing that could not be: also where an agent was here before, and said so.
func (r reporting) Fetched(digests []string) { r.Session.Fetched(digests, nil) }

func (r reporting) EnvoyRestarted(reason string) { r.Session.EnvoyRestarted(time.Now(), reason) }
