package xds

import (
	"context"
	"log/slog"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Feed is what a server needs of whatever decides what nodes are to have; *service.Service is one. It must be safe for concurrent use.
type Feed interface {
	// Collections is what the node is to have now. They are shared, and not to be changed.
	Collections(ctx context.Context, node string) ([]model.Collection, error)
	// Watch gives a channel that receives at the beginning, and after the node's collections may have changed; several changes may be one receipt. It is
	// closed when the feed stops. Call is called after each receipt is there but the first, and after the channel was closed; it does not block.
	Watch(node string, call func()) (changed <-chan struct{}, cancel func())
}

// NewFedServer makes a server that serves any node what a feed says, and reports to nobody: there is no ledger behind it. bench-fanout measures it. All its
// streams end when stop does. Metrics and log may be nil.
func NewFedServer(stop context.Context, f Feed, metrics *Metrics, log *slog.Logger) *Server {
	return newServer(stop, fed{f}, metrics, log)
}

// fed is a feed as a backend.
type fed struct{ feed Feed }

func (fed) node(_ context.Context, id string) (model.Node, error) { return model.Node{ID: id}, nil }

func (fed) connect(context.Context, service.NodeHello) (session, error) { return unreported{}, nil }

func (b fed) collections(ctx context.Context, id string) ([]model.Collection, error) {
	return b.feed.Collections(ctx, id)
}

func (fed) lately(context.Context, string) ([][]model.Collection, error) { return nil, nil }

func (b fed) watch(id string, call func()) (<-chan struct{}, func()) { return b.feed.Watch(id, call) }

// unreported is a session that nobody knows of.
type unreported struct{}

func (unreported) Fetched([]string) {}

func (unreported) Chain(service.ChainReport) {}

func (unreported) Statistics(model.Statistics) {}

func (unreported) EnvoyRestarted(string) {}

// Directives is nil: there are none.
func (unreported) Directives() <-chan service.Directive { return nil }

func (unreported) Alert(func()) {}

// Done is nil: no other stream takes its place.
func (unreported) Done() <-chan struct{} { return nil }

func (unreported) Close() {}
