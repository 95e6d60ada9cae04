package mcp

import (
	"context"
	"errors"
	"log/slog"

	"github.com/waft-project/waft/distributor/model"
)

// Feed is what a source needs of whatever decides what nodes are to have; *service.Service is one. It must be safe for concurrent use.
type Feed interface {
	// Collections is what the node is to have now. They are shared, and not to be changed.
	Collections(ctx context.Context, node string) ([]model.Collection, error)
	// Watch gives a channel that receives at the beginning, and after the node's collections may have changed; several changes may be one receipt. It is
	// closed when the feed stops. Call is called after each receipt is there but the first, and after the channel was closed; it does not block.
	Watch(node string, call func()) (changed <-chan struct{}, cancel func())
}

// NewFedSource makes a source that serves any node what a feed says, and reports to nobody: there is no ledger behind it. bench-fanout measures it. All its
// streams end when stop does. Metrics and log may be nil.
func NewFedSource(stop context.Context, f Feed, metrics *Metrics, log *slog.Logger) *Source {
	return newSource(stop, fed{f}, metrics, log)
}

// fed is a feed as a backend.
type fed struct{ feed Feed }

func (b fed) connect(context.Context, string, map[string]string) (session, error) {
	return unreported{}, nil
}

func (b fed) collections(ctx context.Context, id string) ([]model.Collection, error) {
	return b.feed.Collections(ctx, id)
}

func (b fed) watch(id string, call func()) (<-chan struct{}, func()) { return b.feed.Watch(id, call) }

func (fed) module(context.Context, model.Module) ([]byte, error) {
	return nil, errors.New("a feed has no modules")
}

func (fed) secret(context.Context, model.SecretRef) (string, error) {
	return "", errors.New("a feed has no secrets")
}

func (fed) fetches(string) bool { return false }

func (fed) accepted(string, string) {}

func (fed) refused(string, string, string, string) {}

// unreported is a session that nobody knows of.
type unreported struct{}

// Done is nil: no other stream takes its place.
func (unreported) Done() <-chan struct{} { return nil }

func (unreported) Alert(func()) {}

func (unreported) Close() {}
