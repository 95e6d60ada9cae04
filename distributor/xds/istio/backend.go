package istio

import (
	"context"
	"log/slog"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// backend is what a server needs to know: the chain of a node, and when it changes.
type backend interface {
	// connect registers the stream of a node.
	connect(ctx context.Context, id string, labels map[string]string) (session, error)
	// collections is what the node is to have now.
	collections(ctx context.Context, id string) ([]model.Collection, error)
	// watch gives a channel that receives after the node's collections may have changed. It is closed when the backend stops.
	watch(id string) (changed <-chan struct{}, cancel func())
	// accepted tells that the node has received the chain of that hash.
	accepted(id, hash string)
	// refused tells that the node cannot have what it was to have for the chain of that hash; empty: for none.
	refused(id, hash, kind, reason string)
}

// session is a node's stream as the backend sees it.
type session interface {
	// Done is closed when another stream takes the place of this one, or the backend stops.
	Done() <-chan struct{}
	Close()
}

// NewServer makes a server over the service. All its streams end when stop does. Log may be nil.
func NewServer(stop context.Context, s *service.Service, log *slog.Logger) *Server {
	return newServer(stop, served{s}, DefaultSettle, log)
}

// served is the service as a backend.
type served struct{ *service.Service }

func (b served) connect(ctx context.Context, id string, labels map[string]string) (session, error) {
	return b.Connect(ctx, service.NodeHello{ID: id, Labels: labels})
}

func (b served) collections(ctx context.Context, id string) ([]model.Collection, error) {
	return b.Collections(ctx, id)
}

func (b served) watch(id string) (<-chan struct{}, func()) { return b.Watch(id, nil) }

func (b served) accepted(id, hash string) { b.Offered(id, hash) }

func (b served) refused(id, hash, kind, reason string) { b.Refused(id, hash, kind, reason) }
