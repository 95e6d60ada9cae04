package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// An update that the disk does not take is tried again after storeRetryMin, doubling to storeRetryMax; it is answered once
// it is on disk.
const (
	storeRetryMin = time.Second
	storeRetryMax = 30 * time.Second
)

// collections are what the agent asks its source for.
var collections = [...]string{model.CollectionFilters, model.CollectionChains, model.CollectionPrefetch}

// errOutOfOrder means that a chain is older than one that was seen before.
var errOutOfOrder = errors.New("out of order")

// inbox takes what the source sends: it decodes, verifies and stores; nothing else happens before the ACK.
type inbox struct {
	node  string
	state *stateFolder
	log   *slog.Logger
	// changed receives after something was stored.
	changed chan struct{}

	mu    sync.Mutex
	offer offer
}

// openInbox reads what earlier lives of the agent stored. A collection that cannot be read is asked for anew.
func openInbox(node string, state *stateFolder, log *slog.Logger) *inbox {
	i := &inbox{node: node, state: state, log: log, changed: make(chan struct{}, 1)}
	for collection, resources := range i.held() {
		if err := i.offer.decode(node, collection, resources); err != nil {
			log.Warn("a collection that was stored cannot be used", "collection", collection, "error", err)
		}
	}
	// An agent before this one may have kept less of the chain than is in what it was sent.
	if complete, _ := assemble(i.offer); complete.is(state.read().Desired) {
		if err := state.change(func(r *record) { r.Desired = complete }); err != nil {
			log.Warn("the chain that was kept cannot be completed on disk", "error", err)
		}
	}
	return i
}

// held are the resources that the source need not send again.
func (i *inbox) held() map[string][]*mcpv1.Resource {
	held := map[string][]*mcpv1.Resource{}
	for collection, packed := range i.state.read().Held {
		resources, err := unpack(packed)
		if err == nil {
			err = new(offer).decode(i.node, collection, resources)
		}
		if err != nil {
			i.log.Warn("a collection that was stored cannot be used, and is asked for anew", "collection", collection, "error", err)
			continue
		}
		held[collection] = resources
	}
	return held
}

// askedFor lists the modules that the collections ask for, digest → size.
func (i *inbox) askedFor() map[string]int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.offer.askedFor()
}

// apply is mcp.SinkConfig.Apply: nil means that the update is on disk.
func (i *inbox) apply(ctx context.Context, update mcp.Update) error {
	i.mu.Lock()
	next := i.offer
	i.mu.Unlock()
	if err := next.decode(i.node, update.Collection, update.Resources); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	packed, err := pack(update.Resources)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if err := inOrder(next, i.state.read()); err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	complete, missing := assemble(next)
	if len(missing) > 0 {
		i.log.Debug("the chain waits for filters", "chain", next.chain.GetHash(), "filters", missing)
	}
	store := func(r *record) {
		if r.Held == nil {
			r.Held = map[string][][]byte{}
		}
		r.Held[update.Collection] = packed
		r.Generation = max(r.Generation, next.chain.GetGeneration())
		if complete != nil {
			r.Desired = complete
		}
	}
	pause := storeRetryMin
	for {
		err := i.state.change(store)
		if err == nil {
			break
		}
		i.log.Error("an update cannot be stored, and is not accepted before it is", "collection", update.Collection, "error", err, "retry_in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, storeRetryMax)
	}
	i.mu.Lock()
	i.offer = next
	i.mu.Unlock()
	notify(i.changed)
	return nil
}

// inOrder refuses a chain that is older than the last one seen.
func inOrder(o offer, r record) error {
	if o.chain == nil || o.chain.GetGeneration() >= r.Generation {
		return nil
	}
	return fmt.Errorf("%w: chain %s has generation %d, and %d was seen", errOutOfOrder, o.chain.GetHash(), o.chain.GetGeneration(), r.Generation)
}
