package distributor

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/xds"
	"github.com/waft-project/waft/distributor/xds/istio"
)

// terms make a term each time that this process comes to lead, and say which one there is. What they hold outlives each of them. They may be used concurrently.
type terms struct {
	cfg   Config
	shown *certificates
	log   *slog.Logger
	// service is all of its configuration but the store.
	service    service.Config
	mcpMetrics *mcp.Metrics
	xdsMetrics *xds.Metrics

	now atomic.Pointer[term]
	// room is what was last seen of the store's.
	room atomic.Pointer[store.Room]
}

func newTerms(cfg Config, shown *certificates, sc service.Config, metrics prometheus.Registerer) (*terms, error) {
	t := &terms{cfg: cfg, shown: shown, log: cfg.Log, service: sc}
	var err error
	if t.mcpMetrics, err = mcp.NewMetrics(metrics); err != nil {
		return nil, err
	}
	if t.xdsMetrics, err = xds.NewMetrics(metrics); err != nil {
		return nil, err
	}
	return t, errors.Join(metrics.Register(fleet{counts: t.counts}), registerRoom(metrics, t.room.Load))
}

// upkeep keeps the room of the store while a term lasts; embedded is nil where etcd runs elsewhere.
func (t *terms) upkeep(ctx context.Context, one *term, embedded *store.Embedded) {
	var last *store.Room
	one.store.Upkeep(ctx, embedded, t.log.With("part", "store"), func(r store.Room) {
		last = &r
		t.room.Store(last)
	})
	t.room.CompareAndSwap(last, nil) // another one's business now
}

// term is one service with the protocols over it, from a start until the process stops or another replica leads.
type term struct {
	store     *store.Store
	svc       *service.Service
	api       *api.Server
	source    *mcp.Source
	discovery *xds.Server
	mesh      *istio.Server
	sinks     *sinks
	// ended ends all streams.
	ended context.Context
	end   context.CancelFunc
}

// make makes a term over a store; nobody sees it until begin.
func (t *terms) make(st *store.Store) (*term, error) {
	sc := t.service
	sc.Store = st
	svc, err := service.New(sc)
	if err != nil {
		return nil, err
	}
	one := &term{store: st, svc: svc}
	one.ended, one.end = context.WithCancel(context.Background())
	one.api = api.NewServer(one.ended, svc, t.cfg.Version, t.backup)
	one.discovery = xds.NewServer(one.ended, svc, t.xdsMetrics, t.log.With("part", "xds"))
	one.source = mcp.NewSource(one.ended, svc, t.mcpMetrics, t.log.With("part", "mcp"))
	one.mesh = istio.NewServer(one.ended, svc, t.log.With("part", "istio"))
	if one.sinks, err = openSinks(t.cfg, t.shown, one.source, t.log.With("part", "mcp")); err != nil {
		one.end()
		return nil, err
	}
	return one, nil
}

// begin makes a term the one that there is.
func (t *terms) begin(one *term) { t.now.Store(one) }

// over ends a term's streams, and takes it away.
func (t *terms) over(one *term) {
	t.now.CompareAndSwap(one, nil)
	one.end()
	one.sinks.close()
}

// register adds what a term serves to a gRPC server.
func (t *term) register(r grpc.ServiceRegistrar) {
	t.api.Register(r)
	t.source.Register(r)
	xds.NewDialects(t.discovery, t.mesh).Register(r)
}

// serveSinks dials those that wait to be dialled, until the term is over.
func (t *term) serveSinks(ctx context.Context) {
	if await(ctx, t.svc.Ready) == nil {
		t.sinks.serve(t.ended)
	}
}

// current is the term that there is; model.ErrUnavailable where another replica leads, or none.
func (t *terms) current() (*term, error) {
	if one := t.now.Load(); one != nil {
		return one, nil
	}
	return nil, &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "does not lead", Next: "ask the replica that leads"}
}

// What follows is the current service's, for those parts of the process that outlive it.

func (t *terms) counts() (service.Counts, error) { return ask(t, (*service.Service).Counts) }

func (t *terms) release(ctx context.Context, ref string) (model.Release, error) {
	return ask(t, func(s *service.Service) (model.Release, error) { return s.GetRelease(ctx, ref) })
}

func (t *terms) descriptors(ctx context.Context, digest string) ([]byte, error) {
	return ask(t, func(s *service.Service) ([]byte, error) { return s.Descriptors(ctx, digest) })
}

func (t *terms) needed(ctx context.Context) ([]model.Module, error) {
	return ask(t, func(s *service.Service) ([]model.Module, error) { return s.Needed(ctx) })
}

// recordCollected puts into the audit log what is about to go from the registry of a replica.
func (t *terms) recordCollected(replica string) func(context.Context, []service.CollectedArtifact) error {
	return func(ctx context.Context, gone []service.CollectedArtifact) error {
		_, err := ask(t, func(s *service.Service) (struct{}, error) { return struct{}{}, s.RecordCollected(ctx, replica, gone) })
		return err
	}
}

func (t *terms) ready() error {
	_, err := ask(t, func(s *service.Service) (struct{}, error) { return struct{}{}, s.Ready() })
	return err
}

func ask[T any](t *terms, question func(*service.Service) (T, error)) (T, error) {
	one, err := t.current()
	if err != nil {
		var none T
		return none, err
	}
	return question(one.svc)
}

// fetched tells that an Envoy has fetched a module; read: that it is seen to have read all of it.
func (t *terms) fetched(node, digest string, read bool) {
	if one := t.now.Load(); one != nil {
		one.discovery.Fetched(node, digest, read)
	}
}
