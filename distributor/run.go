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
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/xds"
	"github.com/waft-project/waft/distributor/xds/istio"
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
	tlsConfig, err := cfg.TLS.server()
	if err != nil {
		return err
	}
	log := cfg.Log

	// Two contexts of our own, so that a stop goes in order: streams ends what clients hold open; background ends what
	// works for them, after the last call has been answered.
	streams, endStreams := context.WithCancel(context.Background())
	defer endStreams()
	background, endBackground := context.WithCancel(context.Background())
	defer endBackground()

	// 2. The data folder and the store in it. The folder is this process's from here on, and it has the certificates where no others are named.
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	etcd, err := store.StartEmbedded(starting, cfg.Data, log.With("part", "store"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	st, err := store.Open(starting, etcd.Client())
	if err != nil {
		return err
	}

	if cfg.makesCertificates() {
		if cfg, err = cfg.withCertificates(log.With("part", "access")); err != nil {
			return err
		}
		if tlsConfig, err = cfg.TLS.server(); err != nil {
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
	embedded, err := newRegistry(background, filepath.Join(cfg.Data, "registry"), log.With("part", "registry"))
	if err != nil {
		return err
	}
	cache, err := registry.OpenCache(filepath.Join(cfg.Data, "modules"))
	if err != nil {
		return err
	}
	names := ownNames(httpListener.Addr(), cfg.HTTP, cfg.Names)
	client, err := newClient(background, cfg, cache, names, embedded)
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
	courier.known, mods.evidence = mods.read, courier
	policy := &guard{file: cfg.TrustPolicy, evidence: courier}
	if cfg.TrustPolicy != nil {
		mods.guard = policy
	}

	// 5. The service: the use cases over the store and the modules, and the loop that drives rollouts.
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
	metrics, err := newMetrics(cfg.Version)
	if err != nil {
		return err
	}
	decided, err := newDecisions(metrics)
	if err != nil {
		return err
	}
	var roles service.Roles
	if permitted != nil {
		roles = permitted
	}
	svc, err := service.New(service.Config{
		Store: st, Modules: mods, Trust: policy, Roles: roles, Gates: gateReader, Expressions: expressions, Freeze: freeze.windows, Log: log.With("part", "service"), Replica: cfg.Replica,
		StatisticsInterval: cfg.StatisticsInterval, StartGrace: cfg.StartGrace, Decided: decided.observe,
		ForgetNodesAfter: cfg.ForgetNodesAfter, KeepReleases: cfg.KeepReleases,
	})
	if err != nil {
		return err
	}
	courier.release = svc.GetRelease

	// 6. The protocols over it.
	if err := metrics.Register(fleet{counts: svc.Counts}); err != nil {
		return err
	}
	mcpMetrics, err := mcp.NewMetrics(metrics)
	if err != nil {
		return err
	}
	apiServer := api.NewServer(streams, svc, cfg.Version)
	xdsMetrics, err := xds.NewMetrics(metrics)
	if err != nil {
		return err
	}
	discovery := xds.NewServer(streams, svc, xdsMetrics, log.With("part", "xds"))
	mods.served = discovery.Fetched
	source := mcp.NewSource(streams, svc, mcpMetrics, log.With("part", "mcp"))
	mesh := istio.NewServer(streams, svc, log.With("part", "istio"))
	sinks, err := openSinks(cfg, tlsConfig, source, log.With("part", "mcp"))
	if err != nil {
		return err
	}
	defer sinks.close()
	healthServer := health.NewServer()
	healthServer.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)

	options := api.ServerOptions(log.With("part", "grpc"))
	inside := grpc.NewServer(slices.Concat(options, permitted.interceptors(permitted.redeem))...) // for REST, inside the process
	apiServer.Register(inside)
	if tlsConfig != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(permitted.forGRPC(tlsConfig))))
	}
	outside := grpc.NewServer(slices.Concat(options, permitted.interceptors(permitted.calling))...)
	apiServer.Register(outside)
	source.Register(outside)
	xds.NewDialects(discovery, mesh).Register(outside)
	healthpb.RegisterHealthServer(outside, healthServer)
	reflection.Register(outside)

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
	httpServer := &http.Server{
		Handler: web{
			rest: gateway, registry: embedded, modules: mods, evidence: courier, metrics: metrics,
			permissions: permitted, certificate: cfg.TLS.ClientCA != "" && permitted == nil,
			alive: func() error { return storeRuns(etcd) }, ready: svc.Ready,
		}.handler(),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:    slog.NewLogLogger(log.With("part", "http").Handler(), slog.LevelDebug), // what strangers do is no error of ours
		BaseContext: func(net.Listener) context.Context { return background },
	}

	// 7. All of it together, until ctx ends or a part fails.
	running, failed := errgroup.WithContext(ctx)
	serviceDone := make(chan struct{})
	running.Go(func() error { defer close(serviceDone); return svc.Run(background) })
	running.Go(func() error { mods.check(failed); return nil })
	running.Go(func() error {
		if await(failed, svc.Ready) == nil {
			mods.keepBound(failed, cfg.CacheBytes, svc.Needed)
		}
		return nil
	})
	if mods.guard != nil {
		running.Go(func() error { mods.guard.watch(failed, log.With("part", "trust")); return nil })
	}
	if permitted != nil {
		running.Go(func() error { permitted.watch(failed); return nil })
	}
	running.Go(func() error { return serveErr("gRPC", outside.Serve(grpcListener)) })
	running.Go(func() error { return serveErr("REST", inside.Serve(insideListener)) })
	running.Go(func() error { return serveErr("HTTP", httpServer.Serve(httpTLS(httpListener, tlsConfig))) })
	running.Go(func() error {
		if await(failed, svc.Ready) == nil {
			sinks.serve(streams)
		}
		return nil
	})
	running.Go(func() error {
		select {
		case <-etcd.Stopped():
			return storeRuns(etcd)
		case <-failed.Done():
			return nil
		}
	})
	running.Go(func() error {
		if await(failed, svc.Ready) != nil {
			return nil // it stops before it has started
		}
		healthServer.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
		log.Info("serving", "grpc", grpcListener.Addr().String(), "http", httpListener.Addr().String(), "tls", tlsConfig != nil, "data", cfg.Data)
		if cfg.Started != nil {
			cfg.Started(Addresses{GRPC: grpcListener.Addr().String(), HTTP: httpListener.Addr().String()})
		}
		return nil
	})

	// 8. The stop, in order. Clients are told first, then let go; the service writes what it knows last.
	running.Go(func() error {
		<-failed.Done()
		log.Info("stopping", "drain", cfg.Drain)
		healthServer.Shutdown()
		endStreams()
		drain(cfg.Drain, outside, inside, httpServer)
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
func httpTLS(l net.Listener, cfg *tls.Config) net.Listener {
	if cfg == nil {
		return l
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.ClientCAs != nil {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return tls.NewListener(l, cfg)
}

func serveErr(port string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", port, err)
}

// storeRuns says that the store has stopped.
func storeRuns(etcd *store.Embedded) error {
	select {
	case <-etcd.Stopped():
		return &model.Error{Kind: model.ErrUnavailable, Object: "the store", Message: "has stopped", Next: "see the log for why, and restart waft serve"}
	default:
		return nil
	}
}

// drain lets calls that are under way finish, for so long, and then ends them.
func drain(limit time.Duration, outside, inside *grpc.Server, web *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// REST calls go through inside: it stops when HTTP has.
	if web.Shutdown(ctx) != nil {
		_ = web.Close()
	}
	for _, s := range []*grpc.Server{outside, inside} {
		stopped := make(chan struct{})
		go func() { s.GracefulStop(); close(stopped) }()
		select {
		case <-stopped:
		case <-ctx.Done():
			s.Stop()
			<-stopped
		}
	}
}
