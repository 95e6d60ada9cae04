package distributor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/cluster"
	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/registry"
)

// Run runs a distributor until ctx ends, then stops it in order: streams are ended, calls that are under way get Drain to
// finish, what nodes reported is written, the store is closed. It returns nil then, and an error when something could not
// be started or has failed. A data folder that another process uses is a model.ErrConflict that names both.
func Run(ctx context.Context, cfg Config) (err error) {
	// 1. The configuration, whole, before anything is touched.
	cfg, err = cfg.withDefaults()
	if err != nil {
		return err
	}
	shown, err := openCertificates(cfg, cfg.Log.With("part", "tls"))
	if err != nil {
		return err
	}
	log := cfg.Log

	// A context of our own, so that a stop goes in order: it ends what works for clients, after the last call has been answered. What they hold open ends
	// before, with the term.
	background, endBackground := context.WithCancel(context.Background())
	defer endBackground()

	// 2. The data folder and the store in it. The folder is this process's from here on, and it has the certificates where no others are named.
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var etcd *store.Embedded
	var st *store.Store
	var crowd *replicas // nil: this process is the whole distributor
	if cfg.Etcd.Used() {
		if crowd, err = openReplicas(ctx, cfg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, crowd.close()) }()
	} else {
		if etcd, err = store.StartEmbedded(starting, cfg.Data, log.With("part", "store")); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, etcd.Close()) }()
		if st, err = store.Open(starting, etcd.Client()); err != nil {
			return err
		}
	}

	if cfg.makesCertificates() {
		if cfg, err = cfg.withCertificates(log.With("part", "access")); err != nil {
			return err
		}
		if shown, err = openCertificates(cfg, log.With("part", "tls")); err != nil {
			return err
		}
	}
	permitted := newPermissions(cfg.Access, log.With("part", "access"))

	// 3. The ports, before anything that needs to know them; they answer when stage 7 serves them.
	grpcListener, httpListener, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer grpcListener.Close()
	defer httpListener.Close()

	// 4. The embedded registry, and the modules that come out of it and of others.
	pushed := filepath.Join(cfg.Data, registryFolder)
	if st == nil {
		err = sweepReplica(starting, pushed, crowd.client, log.With("part", "registry"))
	} else if err = sweepUnneeded(starting, pushed, st, log.With("part", "registry")); errors.Is(err, model.ErrUnavailable) {
		return err
	}
	if err != nil {
		log.Warn("it cannot be found out which inline modules no release names, or they cannot be removed", "error", err)
	}
	served, err := newRegistry(background, pushed, log.With("part", "registry"))
	if err != nil {
		return err
	}
	embedded, uses := served, retention.NewUses(served)
	if cfg.collects() {
		embedded = uses // whoever reads it or pushes to it does so by way of what knows that it is used
	}
	cache, err := registry.OpenCache(filepath.Join(cfg.Data, "modules"))
	if err != nil {
		return err
	}
	names := ownNames(httpListener.Addr(), cfg.HTTP, cfg.Names)
	metrics, err := newMetrics(cfg.Version)
	if err != nil {
		return err
	}
	if crowd != nil {
		if err := crowd.join(names, metrics); err != nil {
			return err
		}
	}
	collecting, err := newCollection(cfg, pushed, uses, metrics, log.With("part", "registry"))
	if err != nil {
		return err
	}
	client, err := newClient(background, cfg, cache, names, embedded, crowd)
	if err != nil {
		return err
	}
	mods, err := openModules(client, filepath.Join(cfg.Data, "modules"), names, log.With("part", "modules"))
	if err != nil {
		return err
	}
	courier, err := openEvidence(client, filepath.Join(cfg.Data, "modules"), names[0], log.With("part", "trust"))
	if err != nil {
		return err
	}
	if len(cfg.Names) > 0 {
		mods.inlineHost = names[len(names)-len(cfg.Names)] // which others know, such as a mesh that pulls it
	}
	courier.known, mods.evidence, mods.copies = mods.read, courier, crowd != nil
	policy := &guard{file: cfg.TrustPolicy, evidence: courier}
	if cfg.TrustPolicy != nil {
		mods.guard = policy
	}

	// 5. The service, the use cases over the store and the modules with the loop that drives rollouts, and the protocols over it: one for the life of this
	// process, or one for each time that it leads others.
	gateReader, err := cfg.gateReader()
	if err != nil {
		return err
	}
	expressions, err := gates.NewExpressions()
	if err != nil {
		return err
	}
	freeze, err := newFreezeFile(cfg.FreezeFile, log)
	if err != nil {
		return err
	}
	if err = registerCertificates(metrics, shown.lives()); err != nil {
		return err
	}
	if shown != nil {
		go certfile.Warn(background, log.With("part", "tls"), shown.lives())
	}
	decided, err := newDecisions(metrics)
	if err != nil {
		return err
	}
	var roles service.Roles
	var labels service.Labels
	if permitted != nil {
		roles, labels = permitted, permitted
	}
	keys, err := cfg.keyring(starting, st, log.With("part", "secrets"))
	if err != nil {
		return err
	}
	led, err := newTerms(cfg, shown, service.Config{
		Modules: mods, Keys: keys, Trust: policy, Roles: roles, Labels: labels, Messages: messages{}, InlineSecrets: cfg.AllowInlineSecrets, Snapshots: &snapshot.Checker{}, Gates: gateReader, Expressions: expressions, Freeze: freeze.windows, MaxNotServing: cfg.MaxNotServing, Log: log.With("part", "service"), Replica: cfg.Replica,
		StatisticsInterval: cfg.StatisticsInterval, StartGrace: cfg.StartGrace, Decided: decided.observe,
		Artifacts: collecting, ForgetNodesAfter: cfg.ForgetNodesAfter, KeepReleases: cfg.KeepReleases, KeepRollouts: cfg.KeepRollouts, CollectEvery: cfg.CollectEvery,
	}, metrics)
	if err != nil {
		return err
	}
	courier.release, courier.descriptors, mods.served = led.release, led.descriptors, led.fetched
	collecting.modules = mods
	collecting.store, collecting.record = func(context.Context) (*store.Store, error) { return st, nil }, led.recordCollected(cfg.Replica)
	if crowd != nil {
		collecting.store = func(ctx context.Context) (*store.Store, error) { return store.Look(ctx, crowd.client) }
		collecting.record = crowd.recordCollected(led)
	}
	defer collecting.keep() // when nobody is served any more
	var only *term          // nil: others may lead
	if crowd == nil {
		if only, err = led.make(st); err != nil {
			return err
		}
		defer led.over(only)
		led.begin(only)
	}

	// 6. The ports' servers.
	healthServer := newChecks()

	slow := newPatience(cfg.Patience)
	if err := slow.register(metrics); err != nil {
		return err
	}
	if crowd != nil {
		crowd.slow = slow
	}
	options, open := api.ServerOptions(log.With("part", "grpc")), portConfig(log.With("part", "grpc"))
	if crowd != nil {
		open.Codec, open.Unknown = cluster.Codec{Messages: encoded.Codec{}}, crowd.call
		options = append(options, grpc.ForceServerCodecV2(open.Codec), grpc.UnknownServiceHandler(crowd.call))
		// A replica that was away has its part of the clients again after a while.
		open.Age, open.Grace = cfg.ConnectionAge, ageGrace
	}
	inside := grpc.NewServer(slices.Concat(options, permitted.interceptors(permitted.redeem).options())...) // for REST, inside the process
	limits, err := newThrottle(cfg.RequestsPerSecond, cfg.StreamsPerClient, metrics)
	if err != nil {
		return err
	}
	admitted, err := newAdmission(metrics)
	if err != nil {
		return err
	}
	outside := newPort(shown, open, slow, permitted, limits, admitted)
	if only != nil {
		only.api.Register(inside)
		only.register(outside)
	}
	healthpb.RegisterHealthServer(outside, healthServer)
	registerReflection(outside, only == nil)

	insideListener := bufconn.Listen(insideBuffer)
	conn, err := grpc.NewClient("passthrough:inside",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxAnswerBytes)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return insideListener.DialContext(ctx) }))
	if err != nil {
		return err
	}
	defer conn.Close()
	gateway, err := api.NewGateway(background, conn, onTicket)
	if err != nil {
		return err
	}
	port := web{
		rest: gateway, registry: embedded, modules: mods, evidence: courier, metrics: metrics,
		permissions: permitted, throttle: limits, certificate: cfg.TLS.ClientCA != "" && permitted == nil,
		alive: func() error { return storeRuns(etcd) }, ready: led.ready,
	}
	needed, lookAgain := led.needed, settleInterval
	var peerGRPC *grpc.Server
	var peerHTTP *http.Server
	if crowd != nil {
		peerGRPC = crowd.server(permitted)
		peerHTTP = &http.Server{
			Handler:           crowd.peerHandler(led, mods, embedded, port.forReplicas()),
			ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
			ErrorLog:    slog.NewLogLogger(log.With("part", "peer").Handler(), slog.LevelDebug),
			BaseContext: func(net.Listener) context.Context { return background },
		}
		port.registry, port.modules, port.evidence = crowd.onLeader(embedded), crowd.modules(mods), crowd.onLeader(courier)
		port.ready = func() error { return crowd.ready(led) }
		needed = func(ctx context.Context) ([]model.Module, error) { return crowd.needed(ctx, led) }
		lookAgain = copyInterval
	}
	httpServer := &http.Server{
		Handler:           slow.bodies(port.handler()),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:    slog.NewLogLogger(log.With("part", "http").Handler(), slog.LevelDebug), // what strangers do is no error of ours
		BaseContext: func(net.Listener) context.Context { return background },
		ConnContext: withConnection,
		ConnState:   admitted.connState,
	}

	// 7. All of it together, until ctx ends or a part fails.
	running, failed := errgroup.WithContext(ctx)
	serviceDone := make(chan struct{})
	if only != nil {
		running.Go(func() error { defer close(serviceDone); return only.svc.Run(background) })
		running.Go(func() error { only.serveSinks(failed); return nil })
		running.Go(func() error { led.upkeep(failed, only, etcd); return nil })
	} else {
		running.Go(func() error {
			defer close(serviceDone)
			return crowd.member.Run(failed, func(ctx context.Context, of cluster.Term) error { return crowd.lead(ctx, led, of) })
		})
		running.Go(func() error { crowd.relay.Run(background); return nil })
		running.Go(func() error { return serveErr("peer", crowd.listener.Serve()) })
		running.Go(func() error { return serveErr("peer gRPC", peerGRPC.Serve(crowd.listener.GRPC())) })
		running.Go(func() error { return serveErr("peer HTTP", peerHTTP.Serve(crowd.listener.HTTP())) })
	}
	running.Go(func() error { mods.check(failed); return nil })
	running.Go(func() error {
		if await(failed, port.ready) == nil {
			mods.keepBound(failed, cfg.CacheBytes, lookAgain, needed)
		}
		return nil
	})
	running.Go(func() error {
		if await(failed, port.ready) == nil {
			collecting.run(failed)
		}
		return nil
	})
	if mods.guard != nil {
		running.Go(func() error { mods.guard.watch(failed, log.With("part", "trust")); return nil })
	}
	if permitted != nil {
		running.Go(func() error { permitted.watch(failed); return nil })
	}
	running.Go(func() error { return serveErr("gRPC", outside.Serve(crowd.door(grpcListener))) })
	running.Go(func() error { return serveErr("REST", inside.Serve(insideListener)) })
	running.Go(func() error {
		return serveErr("HTTP", httpServer.Serve(httpTLS(slow.listener(httpListener), shown)))
	})
	if etcd != nil {
		running.Go(func() error {
			select {
			case <-etcd.Stopped():
				return storeRuns(etcd)
			case <-failed.Done():
				return nil
			}
		})
	}
	running.Go(func() error {
		if await(failed, port.ready) != nil {
			return nil // it stops before it has started
		}
		healthServer.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
		log.Info("serving", "grpc", grpcListener.Addr().String(), "http", httpListener.Addr().String(), "tls", shown != nil, "data", cfg.Data)
		if cfg.Started != nil {
			cfg.Started(Addresses{GRPC: grpcListener.Addr().String(), HTTP: httpListener.Addr().String()})
		}
		healthServer.follow(failed, port.ready)
		return nil
	})

	// 8. The stop, in order. Clients are told first, then let go; the service writes what it knows last.
	running.Go(func() error {
		<-failed.Done()
		log.Info("stopping", "drain", cfg.Drain)
		healthServer.stop()
		if only != nil {
			only.end()
		} else {
			crowd.relay.Drain()
		}
		drain(cfg.Drain, outside, inside, httpServer)
		if crowd != nil {
			<-serviceDone // others hear from this replica until it does not lead
			peerGRPC.Stop()
			_ = peerHTTP.Close()
			_ = crowd.listener.Close()
		}
		endBackground()
		<-serviceDone
		return nil
	})
	return running.Wait()
}

// insideBuffer is the buffer of the connection from REST to the API inside the process, in bytes.
const insideBuffer = 256 << 10

// listen takes both ports.
func listen(ctx context.Context, cfg Config) (forGRPC, forHTTP net.Listener, err error) {
	var lc net.ListenConfig
	if forGRPC, err = lc.Listen(ctx, "tcp", cfg.GRPC); err != nil {
		return nil, nil, portError("gRPC", cfg.GRPC, err)
	}
	if forHTTP, err = lc.Listen(ctx, "tcp", cfg.HTTP); err != nil {
		forGRPC.Close()
		return nil, nil, portError("HTTP", cfg.HTTP, err)
	}
	switch {
	case cfg.Access != nil:
	case cfg.TLS.ClientCA != "":
		cfg.Log.Warn("there is no access policy: everybody with a certificate of the client authorities may do everything (--access)")
	default:
		cfg.Log.Warn("there is no access policy: everybody who reaches the ports may do everything (--access)")
	}
	if cfg.Insecure && !(loopback(forGRPC) && loopback(forHTTP)) {
		cfg.Log.Warn("TLS is off and other machines can reach this distributor: whoever does may change what nodes run",
			"grpc", forGRPC.Addr().String(), "http", forHTTP.Addr().String())
	}
	return forGRPC, forHTTP, nil
}

func loopback(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

func portError(port, address string, err error) error {
	return &model.Error{Kind: model.ErrUnavailable, Object: "the " + port + " port", Message: fmt.Sprintf("cannot listen on %s: %v", address, err),
		Next: "stop what listens there, or choose another address", Cause: err}
}

// httpTLS puts TLS before the listener. Health is asked without a certificate, so TLS takes one that is given, and
// web.needCertificate asks for it.
func httpTLS(l net.Listener, shown *certificates) net.Listener {
	if shown == nil {
		return l
	}
	return tls.NewListener(l, shown.server(true, "http/1.1"))
}

func serveErr(port string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", port, err)
}

// storeRuns says that the store has stopped.
func storeRuns(etcd *store.Embedded) error {
	if etcd == nil {
		return nil // it runs elsewhere
	}
	select {
	case <-etcd.Stopped():
		return &model.Error{Kind: model.ErrUnavailable, Object: "the store", Message: "has stopped", Next: "see the log for why, and restart waft serve"}
	default:
		return nil
	}
}

// stopper is a server that stops at once, or when the calls that are under way have ended.
type stopper interface {
	GracefulStop()
	Stop()
}

// drain lets calls that are under way finish, for so long, and then ends them.
func drain(limit time.Duration, outside, inside stopper, web *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stop := func(s stopper) {
		stopped := make(chan struct{})
		go func() { s.GracefulStop(); close(stopped) }()
		select {
		case <-stopped:
		case <-ctx.Done():
			s.Stop()
			<-stopped
		}
	}
	// At once, so that nobody whose stream ends opens it here again.
	var ports sync.WaitGroup
	ports.Go(func() { stop(outside) })
	// REST calls go through inside: it stops when HTTP has.
	if web.Shutdown(ctx) != nil {
		_ = web.Close()
	}
	stop(inside)
	ports.Wait()
}
