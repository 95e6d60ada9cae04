package xds

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// backend is what a server needs to know, and whom it tells.
type backend interface {
	// node is the node's row; an error where there is none.
	node(ctx context.Context, id string) (model.Node, error)
	// connect registers the stream of a node.
	connect(ctx context.Context, hello service.NodeHello) (session, error)
	// collections is what the node is to have now.
	collections(ctx context.Context, id string) ([]model.Collection, error)
	// lately is what the node had, or was to have, before that, as far as it is known, the latest first.
	lately(ctx context.Context, id string) ([][]model.Collection, error)
	// watch gives a channel that receives after the node's collections may have changed; several changes may be one receipt. It is closed when the backend
	// stops. call is called after each receipt is there but the first, and after the channel was closed; it does not block.
	watch(id string, call func()) (changed <-chan struct{}, cancel func())
}

// session is a node's stream as the backend sees it; *service.Session is one.
type session interface {
	Fetched(digests []string)
	Chain(report service.ChainReport)
	Statistics(stats model.Statistics)
	EnvoyRestarted(reason string)
	Directives() <-chan service.Directive
	// Done is closed when another stream takes the place of this one, or the backend stops.
	Done() <-chan struct{}
	// Alert has call called after each directive, and after Done was closed; it does not block.
	Alert(call func())
	Close()
}
