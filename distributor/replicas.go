package distributor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	grpckeepalive "google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/cluster"
	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
)

const (
	// peerStreams bounds the streams of one connection of another replica, which carries its part of the fleet.
	peerStreams = 1 << 20
	// peerWindow is how many bytes another replica may send on one connection before it is read.
	peerWindow = 16 << 20
	// peerSilence is how long another replica, which has something to say all the time, may be silent before it is asked whether it is there, and peerAnswer how long it has
	// to answer: without a word its nodes are not connected, whatever becomes of them.
	peerSilence = 3 * time.Second
	peerAnswer  = 2 * time.Second
	// loadWait is how long a call of another replica waits until this one, which leads by then, has read the store.
	loadWait = 5 * time.Second
	// loadPause is how often such a call looks: a whole fleet may wait.
	loadPause = 100 * time.Millisecond
	// lastAnswers is how long calls may go on after a leadership: etcd may be about to say that it has written something. It takes nothing more.
	lastAnswers = 500 * time.Millisecond
	// dropPause is how long a client's connection stays after its call has ended, so that it hears why. It is over before a sink comes again, which does so after half
	// of mcp.DefaultMinBackoff at the soonest.
	dropPause = mcp.DefaultMinBackoff / 4
	// copyInterval is how often a replica that does not lead looks for modules that nodes need and it has not.
	copyInterval = 2 * time.Second
)

// replicas is this process's part in a distributor of several. It may be used concurrently.
type replicas struct {
	cfg    Config
	log    *slog.Logger
	lock   io.Closer
	client *clientv3.Client
	member *cluster.Member
	relay  *cluster.Relay
	// port is for other replicas; listener is what is made of it.
	port     net.Listener
	listener *cluster.Listener
	peers    *http.Transport
	// slow ends connections of clients.
	slow *patience
	// calls answers gRPC calls while this replica leads; nil: it does not.
	calls atomic.Pointer[cluster.Calls]
}

// openReplicas takes the data folder and the port for other replicas, and asks etcd whether it takes this one.
func openReplicas(ctx context.Context, cfg Config) (_ *replicas, err error) {
	r := &replicas{cfg: cfg, log: cfg.Log.With("part", "cluster")}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.lock, err = store.LockFolder(cfg.Data); err != nil {
		return nil, err
	}
	if r.client, err = store.Connect(cfg.Etcd, cfg.Log.With("part", "store")); err != nil {
		return nil, err
	}
	// What it refuses now it refuses later, too, and a log would be where nobody looks first.
	if err = store.Refused(ctx, r.client); err != nil {
		return nil, err
	}
	if r.port, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Peer); err != nil {
		return nil, portError("peer", cfg.Peer, err)
	}
	return r, nil
}

// close frees what openReplicas took. It may be called more than once, and of nil.
func (r *replicas) close() error {
	if r == nil {
		return nil
	}
	var err error
	if r.peers != nil {
		r.peers.CloseIdleConnections()
	}
	if r.port != nil {
		_ = r.port.Close() // it may be closed already
	}
	if r.client != nil {
		if closeErr := r.client.Close(); closeErr != nil && !errors.Is(closeErr, context.Canceled) {
			err = closeErr
		}
	}
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
		r.lock = nil
	}
	return err
}

// join makes the member, with these names of its registry.
func (r *replicas) join(names []string, metrics prometheus.Registerer) error {
	address := r.cfg.PeerName
	if address == "" {
		bound := r.port.Addr().(*net.TCPAddr)
		address = bound.String()
		if bound.IP.IsUnspecified() {
			host, err := os.Hostname()
			if err != nil {
				return model.Invalidf("", "peer-name", "name the address at which other replicas reach this one (--peer-name)", "this machine does not know its name: %v", err)
			}
			address = net.JoinHostPort(host, fmt.Sprint(bound.Port))
		}
	}
	name := r.cfg.Replica
	if name == "" {
		name = address
	}
	var err error
	r.member, err = cluster.Join(cluster.Config{Client: r.client, Self: cluster.Replica{Name: name, Address: address, Names: names}, Explain: store.Explain, Log: r.log})
	if err != nil {
		return err
	}
	r.peers = r.member.Transport()
	r.relay = cluster.NewRelay(r.member, max(api.MaxAnswerBytes, mcp.MaxResourcesBytes), r.peers.CloseIdleConnections, r.log)
	r.listener = r.member.Listen(r.port)
	return errors.Join(
		metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "waft_leader", Help: "1 while this replica leads."}, func() float64 {
			if r.leads() {
				return 1
			}
			return 0
		})),
		metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "waft_replicas", Help: "Replicas that etcd knows of, this one among them."}, func() float64 {
			view, _ := r.member.View()
			return float64(len(view.Replicas))
		})),
	)
}

func (r *replicas) leads() bool { return r.calls.Load() != nil }

// named says whether a host, HOST:PORT, is the name of another replica's registry.
func (r *replicas) named(host string) bool {
	if r.member == nil {
		return false
	}
	return slices.ContainsFunc(r.member.Others(), func(o cluster.Replica) bool { return slices.Contains(o.Names, host) })
}

// ready is nil when this replica serves: it leads, or knows who does and reaches it.
func (r *replicas) ready(t *terms) error {
	if r.leads() {
		return t.ready()
	}
	view, _ := r.member.View()
	if view.Leader.ID == "" {
		return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "no replica leads, or etcd does not say which", Next: "check etcd, then try again in a moment"}
	}
	if view.Leader.ID == r.member.Self().ID {
		return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "is starting to lead: it has not read its store yet", Next: "try again in a moment"}
	}
	if r.relay.Lost() {
		return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: fmt.Sprintf("the replica that leads, %s, is not reached at %s", view.Leader.Name, view.Leader.Address),
			Next: "let each replica reach the port of the others (--peer, --peer-name); until then ask another replica"}
	}
	return nil
}

// lead is what this replica does while it leads.
func (r *replicas) lead(ctx context.Context, t *terms, of cluster.Term) error {
	opening, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	st, err := store.Open(opening, r.client)
	if err != nil {
		return err
	}
	if err := noteStore(opening, filepath.Join(r.cfg.Data, registryFolder), st); err != nil {
		return err
	}
	one, err := t.make(st.Fenced(store.Fence{Key: of.Key, Revision: of.Revision}))
	if err != nil {
		return err
	}
	defer t.over(one)
	background, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- one.svc.Run(background) }()

	loaded := make(chan struct{})
	go func() {
		if await(ctx, one.svc.Ready) == nil {
			close(loaded)
		}
	}()
	select {
	case err := <-done:
		return err // it could not read the store
	case <-ctx.Done():
		stop()
		<-done
		return nil
	case <-loaded:
	}
	carried, abandon := context.WithCancel(context.Background())
	defer time.AfterFunc(lastAnswers, abandon)
	context.AfterFunc(ctx, func() { time.AfterFunc(lastAnswers, abandon) }) // what is put away after that may wait for an etcd that does not answer
	calls := &cluster.Calls{Until: carried}
	one.register(calls)
	t.begin(one)
	r.calls.Store(calls)
	dialled := make(chan struct{})
	go func() { defer close(dialled); one.sinks.serve(one.ended) }()
	go t.upkeep(one.ended, one, nil) // a member that is being defragmented keeps nobody

	select {
	case err = <-done: // it never does by itself
	case <-ctx.Done():
	}
	r.calls.Store(nil)
	t.over(one)
	stop()
	<-dialled
	if err == nil {
		err = <-done
	}
	if err != nil && ctx.Err() != nil {
		// What nodes said last may not be written: they say it again to the next leader.
		r.log.Warn("not all that nodes reported was written before the leadership ended", "error", err)
		return nil
	}
	return err
}

// relayedMetadata carries who makes a call, and by which replica it comes. Only what comes by the port for replicas is read; their certificates stand in etcd.
const relayedMetadata = "waft-relayed-bin"

// relayed is its value.
type relayed struct {
	Replica  string          `json:"replica"`
	Identity access.Identity `json:"identity"`
}

// call answers a gRPC call of a client: here where this replica leads, else by way of the one that does.
func (r *replicas) call(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	ctx := stream.Context()
	defer r.relay.Carry()()
	for {
		if calls := r.calls.Load(); calls != nil {
			err := calls.Handle(method, stream)
			if errors.Is(err, model.ErrUnavailable) || status.Code(err) == codes.Unavailable {
				if r.calls.Load() != calls {
					r.relay.HandedOver(ctx) // all streams hear at once that this replica leads no more
					r.sendAway(ctx)
				}
			}
			return err
		}
		said, err := json.Marshal(relayed{Replica: r.member.Self().Name, Identity: identityOf(ctx)})
		if err != nil {
			return err
		}
		md := metadata.Pairs(relayedMetadata, string(said))
		for _, passedOn := range [...]string{api.MetadataActor, mcp.MetadataModules} {
			md.Append(passedOn, metadata.ValueFromIncomingContext(ctx, passedOn)...)
		}
		if handled, err := r.relay.Handle(method, single(method), stream, md, r.leads); handled {
			if errors.Is(err, cluster.ErrNoLeader) {
				r.sendAway(ctx)
			}
			return err
		}
	}
}

// sendAway ends the connection that a call came over where etcd does not know this replica, or the one that leads is not reached: its client would try again by the
// same connection, for ever, and with a longer pause each time; by another one it may reach a replica that can help.
func (r *replicas) sendAway(ctx context.Context) {
	if !r.member.In() || r.relay.Lost() {
		time.AfterFunc(dropPause, func() { r.slow.drop(ctx) })
	}
}

// door is the port for clients, which takes nobody while the replica that leads is not reached: who knows other addresses tries the next one then, which one that has
// been let in, and is told at its first call, does not.
func (r *replicas) door(l net.Listener) net.Listener {
	if r == nil {
		return l
	}
	return &door{l, r.relay.Lost}
}

type door struct {
	net.Listener
	shut func() bool
}

// Accept is net.Listener's.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil || !d.shut() {
			return c, err
		}
		_ = c.Close() // before a word was said
	}
}

// single says whether a method has one answer to one message.
func single(method string) bool {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return false
	}
	of, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return false
	}
	m := of.Methods().ByName(protoreflect.Name(name))
	return m != nil && !m.IsStreamingClient() && !m.IsStreamingServer()
}

// callOfReplica answers a gRPC call that comes by another replica. It is not passed on: two replicas that take each other for the leader would do so for ever.
func (r *replicas) callOfReplica(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	waiting, cancel := context.WithTimeout(stream.Context(), loadWait)
	defer cancel()
	if err := awaitEvery(waiting, loadPause, func() error {
		if !r.leads() {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "the replica that was asked does not lead", Next: "try again in a moment"}
	}
	calls := r.calls.Load()
	if calls == nil {
		return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "the replica that was asked does not lead any more", Next: "try again in a moment"}
	}
	return calls.Handle(method, stream)
}

// fromReplica reads what another replica says of a call.
func fromReplica(ctx context.Context) relayed {
	var said relayed
	for _, value := range metadata.ValueFromIncomingContext(ctx, relayedMetadata) {
		if json.Unmarshal([]byte(value), &said) != nil {
			return relayed{} // nobody, who may do nothing
		}
	}
	return said
}

// calledByReplica is who makes a call that comes by another replica, which has found it out.
func calledByReplica(ctx context.Context) (access.Identity, error) {
	return fromReplica(ctx).Identity, nil
}

// vouched puts the replica by which a call comes into its context.
func vouched(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(srv, vouchedStream{stream, service.ByReplica(stream.Context(), fromReplica(stream.Context()).Replica)})
}

type vouchedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context is grpc.ServerStream's.
func (s vouchedStream) Context() context.Context { return s.ctx }

// ageGrace is how long the streams of a connection that is old go on while its client makes another one.
const ageGrace = 10 * time.Second

// server is the gRPC server for other replicas.
func (r *replicas) server(permitted *permissions) *grpc.Server {
	options := slices.Concat(api.ServerOptions(r.log), []grpc.ServerOption{grpc.ChainStreamInterceptor(vouched)}, permitted.interceptors(calledByReplica).options(),
		[]grpc.ServerOption{
			grpc.MaxConcurrentStreams(peerStreams), grpc.InitialConnWindowSize(peerWindow),
			grpc.KeepaliveParams(grpckeepalive.ServerParameters{Time: peerSilence, Timeout: peerAnswer}),
			grpc.ForceServerCodecV2(cluster.Codec{Messages: encoded.Codec{}}), grpc.UnknownServiceHandler(r.callOfReplica),
		})
	server := grpc.NewServer(options...)
	healthpb.RegisterHealthServer(server, health.NewServer()) // by which others know that they reach this one, whether it leads yet or not
	return server
}
