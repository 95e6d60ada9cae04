package mcp

import (
	"context"
	"log/slog"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// NewSource makes a source over the service. All its streams end when stop does. Metrics and log may be nil.
func NewSource(stop context.Context, s *service.Service, metrics *Metrics, log *slog.Logger) *Source {
	return newSource(stop, served{s}, metrics, log)
}

// served is the service as a backend.
type served struct{ *service.Service }

func (b served) connect(ctx context.Context, id string, labels map[string]string) (session, error) {
	// A sink says nothing of Envoy: where there is an agent, its report stream does. Any sink may ask for the collections of resources.
	return b.Connect(ctx, service.NodeHello{ID: id, Labels: labels, Resources: true, Secrets: true})
}

func (b served) collections(ctx context.Context, id string) ([]model.Collection, error) {
	return b.Collections(ctx, id)
}

func (b served) watch(id string, call func()) (<-chan struct{}, func()) { return b.Watch(id, call) }

func (b served) module(ctx context.Context, m model.Module) ([]byte, error) {
	return b.ModuleBytes(ctx, m)
}

func (b served) secret(ctx context.Context, ref model.SecretRef) (string, error) {
	return b.SecretValue(ctx, ref)
}

func (b served) fetches(id string) bool { return b.FetchesModules(id) }

func (b served) accepted(id, hash string) { b.Offered(id, hash) }

func (b served) refused(id, hash, collection, reason string) {
	b.Refused(id, hash, collection, reason)
}
