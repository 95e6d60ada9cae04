package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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

// collections are what the agent asks its source for, besides those that its chain has resources of.
var collections = [...]string{model.CollectionFilters, model.CollectionChains, model.CollectionPrefetch}

// errOutOfOrder means that a chain is older than one that was seen before.
var errOutOfOrder = errors.New("out of order")

// inbox takes what the source sends: it decodes, verifies and stores; nothing else happens before the ACK.
type inbox struct {
	node  string
	state *stateFolder
	// bodies of resources, which the record only names.
	bodies *bodies
	log    *slog.Logger
	// changed receives after something was stored, and secretsCame after secrets were.
	changed, secretsCame chan struct{}

	mu    sync.Mutex
	offer offer
}

// openInbox reads what earlier lives of the agent stored. A collection that cannot be read is asked for anew.
func openInbox(node string, state *stateFolder, log *slog.Logger) *inbox {
	i := &inbox{node: node, state: state, bodies: &bodies{dir: state.path(bodiesFolder)}, log: log, changed: make(chan struct{}, 1), secretsCame: make(chan struct{}, 1)}
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
	for collection, names := range i.state.read().Resources {
		resources := make([]*mcpv1.Resource, 0, len(names))
		for _, named := range names {
			r, err := i.bodies.get(named.Digest)
			if err != nil {
				// The others are the source's to compare; this one is sent anew.
				i.log.Warn("a resource that was stored cannot be used, and is asked for anew", "resource", named.key(), "error", err)
				continue
			}
			resources = append(resources, r)
		}
		held[collection] = resources
	}
	return held
}

// more are the collections to ask for besides those that every agent asks for.
func (i *inbox) more() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.offer.more()
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
	if update.Collection == model.CollectionSecrets {
		update.Resources = keepValues(i.state.read().Held[model.CollectionSecrets], update.Resources)
	}
	if err := next.decode(i.node, update.Collection, update.Resources); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	own := slices.Contains(collections[:], update.Collection) || update.Collection == model.CollectionSecrets
	var packed [][]byte
	var err error
	if own {
		packed, err = pack(update.Resources)
	} else {
		_, packed, err = decodeResources(update.Collection, update.Resources)
	}
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if err := next.fits(); err != nil {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	if err := inOrder(next, i.state.read()); err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	complete, missing := assemble(next)
	if len(missing) > 0 {
		i.log.Debug("the chain waits for filters or resources", "chain", next.chain.GetHash(), "missing", missing)
	}
	store := func(r *record) {
		if r.Held == nil {
			r.Held = map[string][][]byte{}
		}
		switch held := next.resources[update.Collection]; {
		case own:
			r.Held[update.Collection] = packed
		case len(held) == 0:
			delete(r.Resources, update.Collection)
		default:
			if r.Resources == nil {
				r.Resources = map[string][]heldResource{}
			}
			r.Resources[update.Collection] = held
		}
		r.Generation = max(r.Generation, next.chain.GetGeneration())
		if complete != nil {
			r.Desired = complete
		}
	}
	pause := storeRetryMin
	for {
		err := i.keep(next.resources[update.Collection], packed, store)
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
	if update.Collection == model.CollectionSecrets {
		notify(i.secretsCame)
	}
	notify(i.changed)
	return nil
}

// keep writes the messages of resources, and then the record that names them.
func (i *inbox) keep(held []heldResource, packed [][]byte, store func(*record)) error {
	i.bodies.mu.Lock()
	defer i.bodies.mu.Unlock()
	for at, r := range held {
		if err := i.bodies.put(r.Digest, packed[at]); err != nil {
			return fmt.Errorf("keep resource %s: %w", r.key(), err)
		}
	}
	return i.state.change(store)
}

// inOrder refuses a chain that is older than the last one seen.
func inOrder(o offer, r record) error {
	if o.chain == nil || o.chain.GetGeneration() >= r.Generation {
		return nil
	}
	return fmt.Errorf("%w: chain %s has generation %d, and %d was seen", errOutOfOrder, o.chain.GetHash(), o.chain.GetGeneration(), r.Generation)
}
