package filtertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waft-project/waft/envoy"
)

// Limits of the backend that is a real Envoy.
const (
	// envoyStart is how long one Envoy may take until it serves. Compiling a Go module takes seconds, and one of 10 MB minutes on a
	// busy machine.
	envoyStart = 5 * time.Minute
	// envoyAnswer is how long a request may take. A filter that pauses for ever is seen by it.
	envoyAnswer = 5 * time.Second
	// envoySettle is how long statistics and log may take to show what a request did.
	envoySettle = 5 * time.Second
	// envoyParallel is how many Envoys run at once.
	envoyParallel = 2
	// envoyBackoff is the longest time that must pass between two starts of a VM: a second, and by chance a half more.
	envoyBackoff = 1600 * time.Millisecond
	// envoyDeath is how long a process may take to be gone after its sockets are.
	envoyDeath = 2 * time.Second
	// envoyPoll is the time between two looks at the statistics.
	envoyPoll = 5 * time.Millisecond
)

// RunEnvoy runs scenario files on a module in real Envoy, one process for each file. What is wrong with the module or a scenario is in
// the report; the error is that of the machinery, or of ctx.
func RunEnvoy(ctx context.Context, binary envoy.Binary, module []byte, files []File, opts Options) (Report, error) {
	version, err := binary.Version(ctx)
	if err != nil {
		return Report{}, err
	}
	dir, err := os.MkdirTemp("", "waft-filtertest-")
	if err != nil {
		return Report{}, fmt.Errorf("run scenarios in Envoy: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	e := envoyRun{binary: binary, number: version.Number, dir: dir, module: filepath.Join(dir, "module.wasm"), opts: opts}
	if err := os.WriteFile(e.module, module, 0o600); err != nil {
		return Report{}, fmt.Errorf("run scenarios in Envoy: %w", err)
	}
	results := make([][]Result, len(files))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(envoyParallel)
	for i, f := range files {
		group.Go(func() (err error) {
			results[i], err = e.runFile(gctx, i, f)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Report{}, err
	}
	return Report{Backend: "envoy " + version.Number.String(), Scenarios: slices.Concat(results...)}, nil
}

// envoyRun is what the files of one run have in common.
type envoyRun struct {
	binary envoy.Binary
	number envoy.Number
	dir    string
	module string
	opts   Options
}

// bootstrap renders what one file's Envoy starts from.
func (e envoyRun) bootstrap(f File, upstream string, servers servers) ([]byte, error) {
	b, err := envoy.BootstrapConfig{
		NodeID: nodeID, Cluster: nodeCluster, Number: e.number,
		Inline:   true,
		Default:  []envoy.WasmFilter{{Name: e.opts.name(), ModulePath: e.module, Config: f.Config, Env: e.opts.metrics.env()}},
		Upstream: upstream,
		TCP:      f.TCP(),
		Clusters: servers.clusters(),
		// Nothing but the filter may end a stream.
		StreamIdleTimeout: -1, MaxStreamDuration: -1, WorkerKillTimeout: -1,
	}.Render()
	if err != nil {
		return nil, err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	// So that histograms can be read at any time, not only every five seconds.
	m["stats_flush_on_admin"] = true
	if err := servers.configure(m); err != nil {
		return nil, err
	}
	if f.TCP() {
		addBarrier(m)
	}
	return json.Marshal(m)
}

// runFile runs one file.
func (e envoyRun) runFile(ctx context.Context, index int, f File) ([]Result, error) {
	dir := filepath.Join(e.dir, fmt.Sprint(index))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("run scenarios in Envoy: %w", err)
	}
	if f.ConfigError != "" {
		r, err := e.runConfigError(ctx, dir, f)
		return []Result{r}, err
	}
	traffic, err := startTraffic(f)
	if err != nil {
		return nil, err
	}
	defer traffic.stop()
	servers, err := startServers(f.Clusters)
	if err != nil {
		return nil, err
	}
	defer servers.stop()
	bootstrap, err := e.bootstrap(f, traffic.address(), servers)
	if err != nil {
		return nil, err
	}
	var out []Result
	var s *envoySession
	for _, sc := range f.Scenarios {
		if s == nil {
			if s, err = e.open(ctx, dir, bootstrap, traffic, servers); err != nil {
				return nil, err
			}
			defer s.stop(ctx)
			if s.failure != nil {
				return failAll(f, s.failure, s.log), nil
			}
		}
		r, err := s.run(ctx, f, sc)
		if s.died(err) && ctx.Err() == nil {
			r, err, s = s.crashed(ctx, f, sc), nil, nil // the next scenario has a fresh Envoy
		}
		if err != nil {
			return nil, err
		}
		if len(out) == 0 && s != nil {
			r.Observed.StartLogs = s.startLogs
		}
		out = append(out, r)
	}
	return out, nil
}

// open starts an Envoy and waits until it serves. That it does not is the session's failure.
func (e envoyRun) open(ctx context.Context, dir string, bootstrap []byte, traffic traffic, servers servers) (*envoySession, error) {
	log := newEnvoyLog()
	process, err := envoy.Start(ctx, e.binary, envoy.ProcessConfig{
		Dir: dir, Bootstrap: bootstrap, ComponentLogLevel: "wasm:debug", Log: log, NoLogFile: true,
	})
	if err != nil {
		return nil, err
	}
	s := &envoySession{process: process, traffic: traffic, servers: servers, log: log}
	if s.failure = s.open(ctx); ctx.Err() != nil {
		s.stop(ctx)
		return nil, fmt.Errorf("run scenarios in Envoy: %w", context.Cause(ctx))
	}
	return s, nil
}

// stop ends the session's Envoy.
func (s *envoySession) stop(ctx context.Context) { _ = s.process.Stop(context.WithoutCancel(ctx)) }

// died says whether Envoy itself has ended. After an error it waits a little: a socket is closed before the process is gone.
func (s *envoySession) died(err error) bool {
	wait := time.Duration(0)
	if err != nil {
		wait = envoyDeath
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.process.Done():
		return true
	case <-timer.C:
		return false
	}
}

// crashed is the result of a scenario that ended Envoy itself.
func (s *envoySession) crashed(ctx context.Context, f File, sc Scenario) Result {
	err := fmt.Sprintf("Envoy itself crashed: %v", s.process.Wait(ctx))
	logs, _ := s.log.messages(0)
	return Result{File: f.Path, Name: sc.Name, Differences: []Difference{{"envoy", "alive", err}}, Observed: Observed{Error: err, Logs: logs}}
}

// failAll is the result of a file whose Envoy did not start.
func failAll(f File, err error, log *envoyLog) []Result {
	logs, _ := log.messages(0)
	var out []Result
	for _, s := range f.Scenarios {
		out = append(out, Result{File: f.Path, Name: s.Name, Differences: []Difference{
			{"config", "accepted", fmt.Sprintf("%v; logs: %s", err, quoteLines(logs))},
		}, Observed: Observed{Error: err.Error(), Logs: logs}})
	}
	return out
}

// runConfigError has Envoy validate a configuration that it must refuse. It is not envoy.Validate, which tells Envoy's reasons: a scenario
// may ask for any line that the guest logs.
func (e envoyRun) runConfigError(ctx context.Context, dir string, f File) (Result, error) {
	start := time.Now()
	bootstrap, err := envoy.ProbeBootstrap(e.number, []envoy.WasmFilter{{Name: e.opts.name(), ModulePath: e.module, Config: f.Config, Env: e.opts.metrics.env()}})
	if err != nil {
		return Result{}, err
	}
	log := newEnvoyLog()
	process, err := envoy.Start(ctx, e.binary, envoy.ProcessConfig{
		Dir: dir, Bootstrap: bootstrap, ComponentLogLevel: "wasm:debug", Log: log, NoLogFile: true, Args: []string{"--mode", "validate"},
	})
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = process.Kill() }()
	wait, cancel := context.WithTimeout(ctx, envoyStart)
	defer cancel()
	err = process.Wait(wait)
	if err != nil && !errors.Is(err, envoy.ErrExited) {
		return Result{}, fmt.Errorf("%s: validate the configuration: %w", f.Path, err)
	}
	o := Observed{ConfigRejected: err != nil}
	o.Logs, _ = log.messages(0)
	ds := judgeConfigError(f, o)
	return Result{File: f.Path, Name: configErrorName, Pass: len(ds) == 0, Differences: ds, Duration: time.Since(start), Observed: o}, nil
}

// traffic is what a file's scenarios send through Envoy to a scripted upstream: requests or connections.
type traffic interface {
	// address is the upstream's.
	address() string
	// script prepares the upstream for a scenario.
	script(sc Scenario)
	// exchange does once what the scenario says. No answer is no error.
	exchange(ctx context.Context, s *envoySession, sc Scenario) (Exchange, error)
	// finished is the histogram in which Envoy counts what it has finished with.
	finished() string
	stop()
}

// startTraffic starts the upstream of a file.
func startTraffic(f File) (traffic, error) {
	if f.TCP() {
		u, err := startTCPUpstream()
		return tcpTraffic{u}, err
	}
	u, err := startUpstream()
	return httpTraffic{u}, err
}

// httpTraffic are the requests of a file's scenarios.
type httpTraffic struct{ *upstream }

func (t httpTraffic) script(sc Scenario) {
	t.upstream.script(sc.Upstream)
	t.take()
}

func (httpTraffic) finished() string {
	return "http." + envoy.DefaultStatPrefix + ".downstream_rq_time"
}

func (t httpTraffic) exchange(ctx context.Context, s *envoySession, sc Scenario) (Exchange, error) {
	rctx, cancel := context.WithTimeout(ctx, envoyAnswer)
	defer cancel()
	var e Exchange
	if response, err := send(rctx, s.listener, sc.Request); err == nil {
		e.Response = response
	}
	if seen := t.take(); len(seen) > 0 {
		e.Upstream = &seen[0]
	}
	return e, nil
}

// envoySession is a running Envoy with its upstream.
type envoySession struct {
	process  *envoy.Process
	traffic  traffic
	servers  servers
	log      *envoyLog
	admin    string
	listener string
	// barrierAddress is that of barrierListener, of a file with connections.
	barrierAddress string
	finished       int64 // requests that Envoy has answered, or connections that it has closed
	failure        error // why it does not serve

	startLogs []string
	crashMark int // up to where the log was searched for crashes
}

// open waits until Envoy serves.
func (s *envoySession) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, envoyStart)
	defer cancel()
	if err := s.process.Ready(ctx); err != nil {
		return err
	}
	admin, err := s.process.Admin(ctx)
	if err != nil {
		return err
	}
	defer admin.Close()
	s.admin = admin.Address()
	listeners, err := admin.Listeners(ctx)
	if err != nil {
		return err
	}
	s.barrierAddress = listeners[barrierListener]
	if s.listener = listeners[envoy.DefaultStatPrefix]; s.listener == "" {
		return errors.New("the Envoy that was started has no listener")
	}
	if err := s.firstMetrics(ctx); err != nil {
		return err
	}
	s.startLogs, _ = s.log.messages(0)
	return nil
}

// firstMetrics waits until the metrics of the plugin's start are visible: Envoy's own histogram of its start is merged with them.
func (s *envoySession) firstMetrics(ctx context.Context) error {
	ticker := time.NewTicker(envoyPoll)
	defer ticker.Stop()
	for {
		stats, err := readStats(ctx, s.admin, url.Values{"format": {"json"}, "type": {"Histograms"}, "histogram_buckets": {"detailed"}})
		if err != nil {
			return err
		}
		if stats["server.initialization_time_ms"] > 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for statistics: %w", context.Cause(ctx))
		}
	}
}

// run runs one scenario.
func (s *envoySession) run(ctx context.Context, f File, sc Scenario) (Result, error) {
	if err := pass(ctx, sc.After); err != nil {
		return Result{}, err
	}
	start := time.Now()
	s.traffic.script(sc)
	s.servers.script(sc.Clusters)
	s.servers.take()
	before, err := s.metrics(ctx)
	if err != nil {
		return Result{}, err
	}
	mark := s.log.mark()
	var o Observed
	for range sc.Repeat {
		if err := s.reloadable(ctx); err != nil {
			return Result{}, err
		}
		e, err := s.exchange(ctx, sc)
		if err != nil {
			return Result{}, err
		}
		o.Exchanges = append(o.Exchanges, e)
	}
	after, err := s.metrics(ctx)
	if err != nil {
		return Result{}, err
	}
	o.Metrics = before.growth(after)
	o.Clusters = s.servers.take()
	if o.Logs, err = s.logs(ctx, mark, sc.Want.Logs); err != nil {
		return Result{}, err
	}
	o.Error = crash(o.Logs)
	ds := judge(sc, o)
	o.mask(sc.Want)
	return Result{File: f.Path, Name: sc.Name, Pass: len(ds) == 0, Differences: ds, Duration: time.Since(start), Observed: o}, nil
}

// reloadable waits after a crash until Envoy may start the VM again, which it does with the next request but not at any time.
func (s *envoySession) reloadable(ctx context.Context) error {
	messages, _ := s.log.messages(s.crashMark)
	if crash(messages) == "" {
		return nil
	}
	s.crashMark = s.log.mark()
	return pass(ctx, envoyBackoff)
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("run scenarios in Envoy: %w", context.Cause(ctx))
	}
}

// exchange does once what a scenario says.
func (s *envoySession) exchange(ctx context.Context, sc Scenario) (Exchange, error) {
	e, err := s.traffic.exchange(ctx, s, sc)
	if ctx.Err() != nil {
		return Exchange{}, fmt.Errorf("run scenarios in Envoy: %w", context.Cause(ctx))
	}
	if s.died(nil) {
		return Exchange{}, fmt.Errorf("run scenarios in Envoy: %w", s.process.Wait(ctx))
	}
	s.finished++
	return e, err
}

// metrics reads the guests' metrics once Envoy has finished with all requests.
func (s *envoySession) metrics(ctx context.Context) (envoyMetrics, error) {
	wait, cancel := context.WithTimeout(ctx, envoySettle)
	defer cancel()
	ticker := time.NewTicker(envoyPoll)
	defer ticker.Stop()
	for {
		m, finished, err := readMetrics(ctx, s.admin, s.traffic.finished())
		if err != nil {
			return nil, err
		}
		if finished >= s.finished {
			return m, nil
		}
		select {
		case <-ticker.C:
		case <-wait.Done():
			if ctx.Err() != nil {
				return nil, fmt.Errorf("run scenarios in Envoy: %w", context.Cause(ctx))
			}
			// A stream hangs: what there is must do, now and from now on.
			s.finished = finished
			return m, nil
		}
	}
}

// logs gives the guests' messages since a mark, once all that are wanted are there, or will not come.
func (s *envoySession) logs(ctx context.Context, mark int, want []string) ([]string, error) {
	wait, cancel := context.WithTimeout(ctx, envoySettle)
	defer cancel()
	for {
		messages, more := s.log.messages(mark)
		missing := slices.ContainsFunc(want, func(part string) bool {
			return !slices.ContainsFunc(messages, func(m string) bool { return strings.Contains(m, part) })
		})
		if !missing {
			return messages, nil
		}
		select {
		case <-more:
		case <-wait.Done():
			if ctx.Err() != nil {
				return nil, fmt.Errorf("run scenarios in Envoy: %w", context.Cause(ctx))
			}
			return messages, nil
		}
	}
}

// crash finds what Envoy says of a VM that failed.
func crash(logs []string) string {
	for _, l := range logs {
		if strings.HasPrefix(l, "Function: ") && strings.Contains(l, " failed: ") {
			return l
		}
	}
	return ""
}
