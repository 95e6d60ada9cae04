package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
)

// reconnectMax bounds the pause between two attempts to reach the distributor, for the connection and for each stream on
// it. A rollout waits for nodes after a restart of the distributor, so it is short; jitter spreads the nodes over it.
const reconnectMax = 5 * time.Second

// Run is the agent: it looks after one Envoy until ctx ends, and returns nil then. An Envoy that it started is drained and
// stopped. Errors are of the configuration or of this machine; a distributor that is away is none.
func Run(ctx context.Context, config Config) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	if err := config.check(); err != nil {
		return err
	}

	// Nothing is logged before what must not be.
	redactor := new(redactor)
	config.Log = slog.New(redactor.handler(config.Log.Handler()))

	// What an earlier life left on disk.
	version, err := envoyVersion(ctx, config)
	if err != nil && ctx.Err() != nil {
		return nil // it was told to end before it had begun
	}
	if err != nil {
		return err
	}
	state, err := readState(config)
	if err != nil {
		return err
	}
	defer func() { _ = state.close() }() // the process's end would give the lock back as well
	left := state.read()
	redactor.learnFrom(left.Good, left.Before, left.Trial)
	verdicts, err := openVerdicts(state.path(verdictsFile))
	if err != nil {
		config.Log.Warn("verdicts of the probe are damaged, and will be found again", "error", err)
	}
	if config.Slots != nil && !version.Number.HasFilterChain() && !slices.Equal(config.Slots, left.Slots) {
		if err := state.change(func(r *record) { r.Slots = config.Slots }); err != nil {
			return err
		}
	}
	cache, err := registry.OpenCache(state.path(modulesFolder))
	if err != nil {
		return err
	}

	// The two ways to the distributor. Neither connects yet.
	conn, err := dial(config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all its streams have ended
	modules, err := moduleClient(config, cache)
	if err != nil {
		return err
	}

	guard, err := newGuard(config, state.path(trustFolder))
	if err != nil {
		return err
	}

	// The stages, and what joins them.
	inbox := openInbox(config.Node, state, config.Log)
	secrets, err := newSecrets(config, redactor, state.path(secretKeyFile), inbox)
	if err != nil {
		return err
	}
	kept := &kept{dir: state.path(keptFolder), cache: cache}
	reserve := &reserve{path: state.path(reserveFile)}
	fetcher := newFetcher(fetchModule(config, modules, kept))
	host := newHost(config)
	reporter := newReporter(conn, config.Log, redactor.redact, func() *waftv1.Hello {
		return &waftv1.Hello{
			Node: config.Node, Labels: config.Labels, AgentVersion: config.Version, Generation: state.read().Generation,
			EnvoyVersion: version.Number.String(), EnvoyBuild: version.Build, Splits: version.Number.HasFilterChain(), Resources: true, Secrets: true, KeptSecrets: true,
		}
	})
	sink, err := mcp.NewSink(mcp.SinkConfig{
		Conn: conn, Node: config.Node, Labels: config.Labels,
		Collections: collections[:], More: inbox.more, FetchesModules: true, Held: inbox.held(), Apply: inbox.apply, Log: config.Log, MaxBackoff: reconnectMax,
		OnState: func(s mcp.SinkState) {
			if s.Connected {
				fetcher.hurry() // the modules come from the same distributor
				guard.hurry()
			}
		},
	})
	if err != nil {
		return err
	}
	driver := &driver{
		config: config, log: config.Log, version: version, state: state, inbox: inbox,
		files: &files{config: config, number: version.Number, cache: cache, kept: kept}, cache: cache,
		fetcher: fetcher, verdicts: verdicts, host: host, reporter: reporter, guard: guard, secrets: secrets,
		refusals: map[string]*refusalCount{}, results: make(chan result), reserve: reserve,
	}

	// The order is that of the data: sink → fetcher → driver → Envoy → reporter.
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = sink.Run(ctx) }) // ends with ctx only
	running.Go(func() { fetcher.run(ctx) })
	running.Go(func() { guard.run(ctx) })
	running.Go(func() { secrets.run(ctx) })
	running.Go(func() {
		checkModules(ctx, cache, config.Log)
		tend(ctx, state, kept, reserve, fetcher, config.Log)
	})
	running.Go(func() { host.watch(ctx) })
	running.Go(func() { reporter.run(ctx) })
	if config.Beside && config.EnvoyLog != "" {
		running.Go(func() { host.followLog(ctx, config.EnvoyLog) })
	}
	return driver.run(ctx)
}

// checkModules verifies every module on the disk once. What is damaged is dropped, and fetched again when it is asked for.
func checkModules(ctx context.Context, cache *registry.Cache, log *slog.Logger) {
	dropped, err := cache.Check(ctx)
	if err != nil && ctx.Err() == nil {
		log.Error("the modules on the disk cannot be checked", "error", err)
	}
	for _, digest := range dropped {
		log.Error("a module was damaged on the disk and was dropped; check the disk", "module", string(digest))
	}
}

// tendEvery is how often the modules are verified that an Envoy which starts by itself would load.
const tendEvery = time.Minute

// tend verifies, again and again until ctx ends, both copies of the modules of the good chain, and makes the one anew that is damaged; a
// module that has no whole copy is fetched again.
func tend(ctx context.Context, state *stateFolder, kept *kept, reserve *reserve, fetcher *fetcher, log *slog.Logger) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		if good := state.read().Good; good != nil {
			for _, f := range good.Filters {
				if _, err := kept.cache.Path(registry.Digest(f.Digest)); err != nil {
					log.Error("a module of the good chain is damaged or gone; check the disk", "module", f.Digest, "error", err)
					fetcher.lost(f.Digest)
				}
			}
			if err := kept.hold(good); err != nil {
				log.Warn("the second copy of a module cannot be made", "error", err)
			}
			if err := reserve.keep(); err != nil {
				log.Warn("the room for going back to the good chain on a full disk cannot be kept; make room on the disk of the state folder", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// WriteBootstrap writes the bootstrap for an Envoy that others run, to config.BootstrapOut, with everything that it names, so that Envoy can be
// started with it right away. It serves the last good chain of config.StateDir; while there is none, it does not listen
// until Run has brought it one. No agent may run on that folder meanwhile.
func WriteBootstrap(ctx context.Context, config Config) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	config.Beside = true
	if config.Server == "" {
		config.Server = envoy.DefaultAddress // neither is spoken to
	}
	if config.Modules == "" {
		config.Modules = envoy.DefaultAddress
	}
	if err := config.check(); err != nil {
		return err
	}
	version, err := envoyVersion(ctx, config)
	if err != nil {
		return err
	}
	state, err := readState(config)
	if err != nil {
		return err
	}
	defer func() { _ = state.close() }() // the process's end would give the lock back as well
	cache, err := registry.OpenCache(state.path(modulesFolder))
	if err != nil {
		return err
	}
	r := state.read()
	if r.Slots == nil {
		r.Slots = config.Slots
	}
	kept := &kept{dir: state.path(keptFolder), cache: cache}
	return prepareFiles(&files{config: config, number: version.Number, cache: cache, kept: kept}, r, true)
}

// readState opens what an earlier life left on disk. A damaged part of it is logged, and no reason to stop.
func readState(config Config) (*stateFolder, error) {
	state, damaged, err := openState(config.StateDir)
	if err != nil {
		return nil, err
	}
	if damaged != nil {
		config.Log.Error("a part of the agent's state is damaged; going on with what is left", "error", damaged)
	}
	return state, nil
}

// envoyVersion asks the binary, and checks what of the configuration depends on the answer.
func envoyVersion(ctx context.Context, config Config) (envoy.Version, error) {
	version, err := config.Envoy.Version(ctx)
	if err != nil {
		return envoy.Version{}, err
	}
	if version.Number.Compare(envoy.OldestSupported) < 0 {
		return envoy.Version{}, fmt.Errorf("%w: envoy: %s is %s; waft needs %s or later", ErrInvalid, config.Envoy.Path, version.Number, envoy.OldestSupported)
	}
	// Whatever else is wrong with the bootstrap is better told now than with the first chain.
	if !config.SlotOnly {
		if _, err := config.bootstrap(version.Number).Render(); err != nil {
			return envoy.Version{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	switch whole := version.Number.HasFilterChain(); {
	case whole && len(config.Slots) > 0:
		return envoy.Version{}, fmt.Errorf("%w: slots: Envoy %s has one slot for the whole chain; leave them out", ErrInvalid, version.Number)
	case !whole && config.Beside && len(config.Slots) == 0:
		return envoy.Version{}, fmt.Errorf("%w: slots: Envoy %s has one slot a filter; name the filters in their order", ErrInvalid, version.Number)
	}
	return version, nil
}

// dial makes the connection for MCP and reports; it is made when the first stream opens, and again for ever.
func dial(config Config) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if !config.Insecure {
		settings := config.TLS
		if settings == nil {
			settings = func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
		}
		creds = certfile.Transport(settings)
	}
	target, options := mcp.Connection(config.Server, reconnectMax)
	conn, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		return nil, fmt.Errorf("%w: server: %q: %w", ErrInvalid, config.Server, err)
	}
	return conn, nil
}

// moduleClient fetches modules from the distributor. No credentials are looked for: the distributor takes none for these.
func moduleClient(config Config, cache *registry.Cache) (*registry.Client, error) {
	settings := registry.Config{
		Cache: cache, UserAgent: "waft-agent/" + config.Version,
		Credentials: func(context.Context, string) (registry.Credential, error) { return registry.Credential{}, nil },
	}
	if config.Insecure {
		settings.PlainHTTP = []string{config.Modules}
	} else if config.TLS != nil {
		transport, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			return nil, errors.New("agent: the default transport is not of package net/http")
		}
		transport = transport.Clone()
		transport.DialTLSContext = certfile.DialTLS(config.TLS)
		transport.Proxy = nil // the dialler asks for one
		transport.ResponseHeaderTimeout = registry.HeaderTimeout
		settings.Transport = transport
	}
	return registry.NewClient(settings)
}
