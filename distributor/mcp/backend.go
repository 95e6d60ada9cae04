package mcp

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
)

// backend is what a source needs to know: the collections of a node, and when they change.
type backend interface {
	// connect registers the stream of a node.
	connect(ctx context.Context, id string, labels map[string]string) (session, error)
	// collections is what the node is to have now. A collection that is known and left out is empty.
	collections(ctx context.Context, id string) ([]model.Collection, error)
	// watch gives a channel that receives after the node's collections may have changed; several changes may be one
	// receipt. It is closed when the backend stops. call is called after each receipt is there, and after the channel was
	// closed; it does not block.
	watch(id string, call func()) (changed <-chan struct{}, cancel func())
	// accepted tells that the node has accepted the chain of that hash: received, decoded, verified and stored.
	accepted(id, hash string)
	// module gives the bytes of a module. They may be shared, and are not changed.
	module(ctx context.Context, m model.Module) ([]byte, error)
	// secret gives the value of a kept secret, which is in the node's collections.
	secret(ctx context.Context, ref model.SecretRef) (string, error)
	// fetches says whether the node is known to fetch modules, whatever the sink of its stream says.
	fetches(id string) bool
	// refused tells that the node could not take a collection that it was sent for the chain of that hash; empty: for none.
	refused(id, hash, collection, reason string)
}

// session is a node's stream as the backend sees it.
type session interface {
	// Done is closed when another stream takes the place of this one, or the backend stops.
	Done() <-chan struct{}
	// Alert has call called after Done was closed; it does not block.
	Alert(call func())
	Close()
}
