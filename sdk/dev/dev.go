package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/build"
)

// DefaultListen is where Envoy serves when nobody says.
const DefaultListen = "127.0.0.1:10000"

// Times of a session.
const (
	// watchInterval is how often the source is looked at.
	watchInterval = 200 * time.Millisecond
	// settleTime is how long the source must stay as it is before it is built: editors write files in several steps.
	settleTime = 100 * time.Millisecond
	// metricsInterval is how often the filter's metrics are read.
	metricsInterval = time.Second
	// loadLimit is how long Envoy may take to load a module, on a busy machine.
	loadLimit = time.Minute
	// restartPause is the least time between two starts of an Envoy that dies by itself.
	restartPause = 3 * time.Second
	// stopLimit bounds the end of a session.
	stopLimit = 15 * time.Second
)

// Config says what to run. Dir, Binary and Out are required.
type Config struct {
	// Dir is the filter's folder.
	Dir string
	// Binary is the Envoy to run.
	Binary envoy.Binary
	// Listen is host:port where Envoy serves; empty: DefaultListen.
	Listen string
	// Scenarios is the scenario file whose configuration, upstream and clusters are used. Empty: the first one of DIR/scenarios with
	// a configuration that is accepted, or none.
	Scenarios string
	// ConfigFile holds the plugin configuration, raw; it wins over that of Scenarios.
	ConfigFile string
	// Upstream is host:port of a server that takes the requests. Empty: one of ours, that answers what the scenarios say.
	Upstream string
	// Clusters are servers that the filter can call, by cluster name; they win over those of Scenarios.
	Clusters map[string]string
	// Trace shows every call between Envoy and the guest.
	Trace bool
	// Out is where everything is shown.
	Out io.Writer
}

// Run runs a session until ctx ends, which is no error. An error is one of the start: no such directory, an address that is taken.
func Run(ctx context.Context, c Config) (err error) {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	version, err := c.Binary.Version(ctx)
	if err != nil {
		return err
	}
	if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: there is no such directory; name the directory of a filter", c.Dir)
	}
	temp, err := os.MkdirTemp("", "waft-dev-")
	if err != nil {
		return fmt.Errorf("make a folder for the session: %w", err)
	}
	s := &session{Config: c, name: filterName(c.Dir), number: version.Number, temp: temp, screen: newScreen(c.Out)}
	defer func() {
		// ctx may have ended; the end must not.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		err = errors.Join(err, s.stop(end), os.RemoveAll(temp))
	}()
	s.screen.sayf("dev", "Envoy %s, from %s; ends with Ctrl-C", version.Number, c.Binary.Path)
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.loop(ctx)
	return nil
}

// session is one Run. One goroutine uses it; the screen is shared.
type session struct {
	Config
	name   string
	number envoy.Number
	temp   string
	screen *screen
	places places
	dirs   map[string]bool // of the packages that are watched
	listed bool            // dirs are those of the present source
	seen   snapshot        // the source as it was before the last build
	good   candidate       // what serves; the zero value: nothing does yet
	runner *runner         // nil: no Envoy runs
	swaps  int             // makes the slots' versions differ
}

// start readies the servers and looks at the filter for the first time.
func (s *session) start(ctx context.Context) error {
	if err := free(s.Listen); err != nil {
		return err
	}
	scene, err := s.scene()
	if err != nil {
		return err
	}
	if err := s.places.open(scene, s.Upstream, s.Clusters); err != nil {
		return err
	}
	s.seen = s.snapshot(ctx)
	s.rebuild(ctx)
	return ctx.Err()
}

// loop rebuilds what changes until ctx ends.
func (s *session) loop(ctx context.Context) {
	watch, metrics := time.NewTicker(watchInterval), time.NewTicker(metricsInterval)
	defer watch.Stop()
	defer metrics.Stop()
	for {
		var died <-chan struct{}
		if s.runner != nil {
			died = s.runner.process.Done()
		}
		select {
		case <-ctx.Done():
			return
		case <-died:
			s.died(ctx)
		case <-metrics.C:
			s.showMetrics(ctx)
		case <-watch.C:
			now := s.snapshot(ctx)
			if now.equal(s.seen) {
				continue
			}
			s.seen = s.settled(ctx, now)
			s.rebuild(ctx)
		}
	}
}

// settled waits until the source no longer changes.
func (s *session) settled(ctx context.Context, now snapshot) snapshot {
	for {
		select {
		case <-ctx.Done():
			return now
		case <-time.After(settleTime):
		}
		next := s.snapshot(ctx)
		if next.equal(now) {
			return now
		}
		now = next
	}
}

// candidate is a module with a configuration.
type candidate struct {
	module string // its file
	sha256 string
	config []byte
}

func (c candidate) same(o candidate) bool {
	return c.sha256 == o.sha256 && string(c.config) == string(o.config)
}

// rebuild builds the filter, and has it served. What fails is shown, and the last good one goes on.
func (s *session) rebuild(ctx context.Context) {
	s.listed = false // what it imports may have changed
	began := time.Now()
	next, err := s.build(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.failed("build", err)
		return
	}
	built := time.Since(began)
	if s.runner != nil && next.same(s.good) {
		s.screen.sayf("build", "nothing that Envoy sees has changed (%.1f s)", built.Seconds())
		return
	}
	began = time.Now()
	if s.runner == nil {
		err = s.launch(ctx, next)
	} else {
		err = s.swap(ctx, next)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.failed("envoy", err)
		return
	}
	s.forget(next)
	s.good = next
	s.screen.sayf("serve", "%s %s on http://%s (built in %.1f s, in Envoy after %.1f s more)", s.name, next.sha256[:12], s.Listen, built.Seconds(),
		time.Since(began).Seconds())
}

// forget removes the module that served before.
func (s *session) forget(next candidate) {
	if s.good.module != "" && s.good.module != next.module {
		_ = os.RemoveAll(filepath.Dir(s.good.module)) // the whole folder goes at the end
	}
}

// failed shows an error, and what it means for the requests.
func (s *session) failed(what string, err error) {
	s.screen.sayf(what, "%v", err)
	if s.good.module == "" {
		s.screen.sayf("dev", "nothing is served yet; waiting for a change")
		return
	}
	s.screen.sayf("dev", "%s %s goes on serving", s.name, s.good.sha256[:12])
}

// build makes a candidate of what is in the folder.
func (s *session) build(ctx context.Context) (candidate, error) {
	dir, err := os.MkdirTemp(s.temp, "module-")
	if err != nil {
		return candidate{}, err
	}
	scene, err := s.scene()
	if err == nil {
		var result build.Result
		if result, err = build.Build(ctx, s.Dir, build.Options{OutDir: dir, Name: s.name}); err == nil {
			return candidate{module: result.Module, sha256: result.Manifest.SHA256, config: scene.config}, nil
		}
	}
	_ = os.RemoveAll(dir) // it is below temp, too
	return candidate{}, err
}

// died tells of an Envoy that ended by itself, and starts another one with what served.
func (s *session) died(ctx context.Context) {
	s.screen.sayf("envoy", "%v", s.runner.process.Wait(ctx))
	young := time.Since(s.runner.process.Started()) < restartPause
	s.runner.close()
	s.runner = nil
	if s.good.module == "" {
		return
	}
	if young {
		s.screen.sayf("dev", "Envoy does not live with this filter; waiting for a change")
		return
	}
	if err := s.launch(ctx, s.good); err != nil && ctx.Err() == nil {
		s.screen.sayf("envoy", "%v; waiting for a change", err)
		return
	}
	s.screen.sayf("dev", "Envoy was started again")
}

// stop ends everything.
func (s *session) stop(ctx context.Context) error {
	var err error
	if s.runner != nil {
		err = s.runner.process.Stop(ctx)
		s.runner.close()
		s.runner = nil
	}
	s.places.close()
	return err
}
