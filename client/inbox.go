package client

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// inbox takes what the source sends: it decodes and checks it, and nothing else happens before the ACK.
type inbox struct {
	node  string
	subs  map[string]Subscription
	state *stateFolder
	log   *slog.Logger
	// changed receives after something has come.
	changed chan struct{}

	mu    sync.Mutex
	offer offer
	// highest is the generation of the newest chain that was seen.
	highest int64
}

func newInbox(cfg Config, state *stateFolder, have *Snapshot) *inbox {
	i := &inbox{node: cfg.Node, subs: map[string]Subscription{}, state: state, log: cfg.Log, changed: make(chan struct{}, 1), highest: state.read().Generation}
	for _, s := range cfg.Collections {
		i.subs[s.Name()] = s
	}
	i.offer.sets = have.sets
	return i
}

// read is what has come by now.
func (i *inbox) read() offer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.offer
}

// generation is that of the newest chain that was seen.
func (i *inbox) generation() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.highest
}

// apply is mcp.SinkConfig.Apply: nil is an ACK, an error a NACK.
func (i *inbox) apply(_ context.Context, u mcp.Update) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer notify(i.changed)
	if u.Collection == model.CollectionChains {
		return i.takeChain(u.Resources)
	}
	return i.takeSet(u)
}

// takeChain takes what belongs together; mu is held.
func (i *inbox) takeChain(resources []*mcpv1.Resource) error {
	var mine *waftv1.Chain
	var raw *mcpv1.Resource
	for _, r := range resources {
		if r.GetMetadata().GetName() != i.node {
			continue // another node's; a source that sends too much does no harm
		}
		mine, raw = new(waftv1.Chain), r
		if err := mcp.Body(r, mine); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if err := checkChain(mine); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
	if mine != nil && mine.GetGeneration() < i.highest {
		return status.Errorf(codes.FailedPrecondition, "out of order: chain %s has generation %d, and %d was seen", mine.GetHash(), mine.GetGeneration(), i.highest)
	}
	if mine.GetGeneration() > i.highest {
		i.highest = mine.GetGeneration()
		if err := i.state.note(func(r *record) { r.Generation = i.highest }); err != nil {
			i.log.Warn("the newest generation that was seen is not on disk", "error", err)
		}
	}
	i.offer.chain, i.offer.raw = mine, raw
	return nil
}

// takeSet takes a collection; mu is held. What is refused is remembered, since a chain may name it.
func (i *inbox) takeSet(u mcp.Update) error {
	sub, taken := i.subs[u.Collection]
	if !taken {
		return status.Errorf(codes.Unimplemented, "collection %s was not asked for", u.Collection)
	}
	next, broken := decodeSet(sub, u.Resources, i.offer.sets[u.Collection])
	code := codes.InvalidArgument
	if why := i.tooMuch(u); why != "" {
		code, broken = codes.ResourceExhausted, map[versioned]string{}
		for _, r := range u.Resources {
			broken[versioned{r.GetMetadata().GetName(), r.GetMetadata().GetVersion()}] = why
		}
	}
	all := maps.Clone(i.offer.broken)
	if all == nil {
		all = map[string]map[versioned]string{}
	}
	all[u.Collection] = broken
	i.offer.broken = all
	if len(broken) > 0 {
		return status.Error(code, slices.Min(slices.Collect(maps.Values(broken))))
	}
	sets := maps.Clone(i.offer.sets)
	if sets == nil {
		sets = map[string]set{}
	}
	sets[u.Collection] = next
	i.offer.sets = sets
	return nil
}

// tooMuch says why a collection has more than is taken; empty when it has not; mu is held.
func (i *inbox) tooMuch(u mcp.Update) string {
	count, size := len(u.Resources), 0
	for _, r := range u.Resources {
		size += proto.Size(r)
	}
	for name, other := range i.offer.sets {
		if name != u.Collection {
			for _, one := range other {
				size += proto.Size(one.resource)
			}
		}
	}
	if count > maxResources || size > maxBytes {
		return tooMuchText(u.Collection, count, size)
	}
	return ""
}

// notify makes a channel of one place receive, once for any number of calls.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
