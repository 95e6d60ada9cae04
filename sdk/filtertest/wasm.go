package filtertest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strconv"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// PluginName is the plugin's name and the filter's (WAFT_FILTER) while scenarios run, where the caller gives none.
const PluginName = "filter"

// Options say under which name a module runs. The zero value is usable.
type Options struct {
	// Name is the filter's name: plugin_name, the VM's id, and WAFT_FILTER. Empty: PluginName.
	Name string

	// observe is told of every call between host and guest in wazero. nil: nobody.
	observe func(*wasmhost.Crossing)
	// metrics: countAtOnce is the zero value.
	metrics metricMode
	// start is when time begins in wazero. Zero: now.
	start time.Time
	// random is where the guest's random numbers come from in wazero. nil: the system.
	random io.Reader
}

func (o Options) name() string { return orDefault(o.Name, PluginName) }

// env are the VM's environment variables, as Envoy's configuration would give them.
func (o Options) env() map[string]string {
	env := map[string]string{"WAFT_FILTER": o.name(), "WAFT_FAILURE_POLICY": wasmhost.FailReload.String()}
	maps.Copy(env, o.metrics.env())
	return env
}

// metricMode says when a filter on waft's sdk tells the host what it has counted.
type metricMode bool

const (
	// countAtOnce is for scenarios: their metrics are looked at when the exchange is over.
	countAtOnce metricMode = false
	// countLater is how filters run outside of tests.
	countLater metricMode = true
)

// env are the variables that say so.
func (m metricMode) env() map[string]string {
	if m == countLater {
		return nil
	}
	return map[string]string{"WAFT_METRIC_DELAY_MS": "0"}
}

// RunWasm runs scenario files on a module in wazero, one VM for each file. What is wrong with the module or a scenario is in the report;
// the error is the host's: the module cannot be loaded under the profile, or ctx ended.
func RunWasm(ctx context.Context, host *wasmhost.Host, module []byte, files []File, profile wasmhost.Profile, opts Options) (Report, error) {
	m, err := host.Load(ctx, module, profile)
	if err != nil {
		return Report{}, err
	}
	return runModule(ctx, m, files, opts)
}

// runModule runs scenario files on a loaded module.
func runModule(ctx context.Context, m *wasmhost.Module, files []File, opts Options) (Report, error) {
	report := Report{Backend: "wazero " + m.Profile().Name()}
	for _, f := range files {
		results, err := runWasmFile(ctx, m, f, opts)
		if err != nil {
			return Report{}, err
		}
		report.Scenarios = append(report.Scenarios, results...)
	}
	return report, nil
}

// runWasmFile runs one file on a VM of its own.
func runWasmFile(ctx context.Context, m *wasmhost.Module, f File, opts Options) ([]Result, error) {
	start := time.Now()
	name := opts.name()
	vm, plugin, script, logs, err := startWasm(ctx, m, f, opts)
	if vm != nil {
		defer func() { _ = vm.Close(context.WithoutCancel(ctx)) }()
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("scenarios of %s: %w", name, context.Cause(ctx))
	}
	if f.ConfigError != "" {
		o := Observed{ConfigRejected: err != nil, Logs: logs}
		ds := judgeConfigError(f, o)
		return []Result{{File: f.Path, Name: configErrorName, Pass: len(ds) == 0, Differences: ds, Duration: time.Since(start), Observed: o}}, nil
	}
	var out []Result
	for _, s := range f.Scenarios {
		if err != nil {
			o := Observed{Error: err.Error(), Logs: logs}
			out = append(out, Result{File: f.Path, Name: s.Name, Differences: []Difference{
				{"config", "accepted", fmt.Sprintf("%v; logs: %s", err, quoteLines(logs))},
			}, Observed: o})
			continue
		}
		r, serr := runWasmScenario(ctx, m.Profile(), plugin, script, f, s)
		if serr != nil {
			return nil, serr
		}
		if len(out) == 0 {
			r.Observed.StartLogs = logs
		}
		out = append(out, r)
	}
	return out, nil
}

// startWasm starts a VM and configures the plugin. vm may be nil. Time is the VM's own: it passes when something waits for it.
func startWasm(ctx context.Context, m *wasmhost.Module, f File, opts Options) (*wasmhost.VM, *wasmhost.Plugin, *wasmScript, []string, error) {
	begin := opts.start
	if begin.IsZero() {
		begin = time.Now()
	}
	proxy := &wasmhost.Proxy{
		Clock: wasmhost.NewVirtualClock(begin), LogLevel: wasmhost.LogDebug, Node: wasmhost.Node{ID: nodeID, Cluster: nodeCluster},
	}
	script := newWasmScript(m.Profile(), proxy, f)
	vm, err := m.NewVM(ctx, wasmhost.VMConfig{ID: opts.name(), Env: opts.env(), Proxy: proxy, Random: opts.random, Observe: opts.observe})
	if err != nil {
		return nil, nil, nil, []string{err.Error()}, err
	}
	plugin, err := vm.Configure(ctx, wasmhost.PluginConfig{
		Name: opts.name(), Configuration: f.Config,
		ReloadBackoff: -1, // the other backend waits for it
	})
	logs, _ := vm.TakeLogs()
	return vm, plugin, script, messages(logs), err
}

// The simulated and the real Envoy's identity.
const (
	nodeID      = "filtertest"
	nodeCluster = "filtertest"
)

func messages(logs []wasmhost.Log) []string {
	out := make([]string, len(logs))
	for i, l := range logs {
		out[i] = l.Message
	}
	return out
}

func runWasmScenario(
	ctx context.Context, profile wasmhost.Profile, plugin *wasmhost.Plugin, script *wasmScript, f File, s Scenario,
) (Result, error) {
	start := time.Now()
	proxy := plugin.VM().Proxy()
	if err := proxy.Advance(ctx, s.After); err != nil {
		return Result{}, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	script.play(s.Clusters)
	var o Observed
	before := proxy.Metrics()
	for range s.Repeat {
		e, logs, err := exchange(ctx, profile, plugin, s)
		if ctx.Err() != nil {
			return Result{}, fmt.Errorf("scenario %q: %w", s.Name, context.Cause(ctx))
		}
		if err != nil && o.Error == "" {
			o.Error = err.Error()
		}
		o.Exchanges = append(o.Exchanges, e)
		o.Logs = append(o.Logs, messages(logs)...)
	}
	o.Metrics = metricGrowth(before, proxy.Metrics())
	o.Clusters = script.take()
	ds := judge(s, o)
	o.mask(s.Want)
	return Result{File: f.Path, Name: s.Name, Pass: len(ds) == 0, Differences: ds, Duration: time.Since(start), Observed: o}, nil
}

// exchange does once what a scenario says.
func exchange(ctx context.Context, profile wasmhost.Profile, plugin *wasmhost.Plugin, s Scenario) (Exchange, []wasmhost.Log, error) {
	if s.Connection != nil {
		return converse(ctx, plugin, s)
	}
	request := wasmRequest(profile, s.Request)
	if s.Request.Leave > 0 {
		return abandon(ctx, profile, plugin, request, s)
	}
	out, err := plugin.Exchange(ctx, request, func(_ context.Context, r wasmhost.Request) (wasmhost.Response, error) {
		if s.Upstream.Fault == FaultNever {
			return wasmhost.Response{}, wasmhost.ErrNoAnswer
		}
		return wasmReply(profile, r, s.Upstream), nil
	})
	return observed(out), out.Logs, err
}

// abandon sends a request whose client goes away. An upstream that is slower than that never gets to answer.
func abandon(
	ctx context.Context, profile wasmhost.Profile, plugin *wasmhost.Plugin, request wasmhost.Request, s Scenario,
) (e Exchange, logs []wasmhost.Log, err error) {
	slow := s.Upstream.Fault == FaultNever || s.Upstream.Delay > s.Request.Leave
	vm := plugin.VM()
	stream := plugin.NewStream(ctx, request.Info)
	err = feed(ctx, stream, request)
	if err == nil {
		err = vm.Proxy().Advance(ctx, s.Request.Leave)
	}
	if up := stream.Upstream(); up.Complete {
		seen := observedRequest(wasmhost.Request{Headers: up.Headers, Body: up.Body, Trailers: up.Trailers})
		e.Upstream = &seen
		if !slow && err == nil {
			err = fmt.Errorf("leave: the request reached the upstream, which answers before the client leaves: give it a longer delay")
		}
	}
	if made, _ := stream.LocalReply(); made {
		down := stream.Downstream()
		e.Response = observedResponse(wasmhost.Response{Headers: down.Headers, Body: down.Body, Trailers: down.Trailers})
	}
	if cerr := stream.Close(ctx); err == nil {
		err = cerr
	}
	logs, _ = vm.TakeLogs()
	return e, logs, err
}

// feed gives a stream a whole request.
func feed(ctx context.Context, stream *wasmhost.Stream, r wasmhost.Request) error {
	body, trailers := len(r.Body) > 0, len(r.Trailers) > 0
	err := stream.RequestHeaders(ctx, r.Headers, !body && !trailers)
	if body && err == nil {
		err = stream.RequestBody(ctx, r.Body, !trailers)
	}
	if trailers && err == nil {
		err = stream.RequestTrailers(ctx, r.Trailers)
	}
	return err
}

// wasmRequest is the request as Envoy's connection manager gives it to the first filter.
func wasmRequest(p wasmhost.Profile, r Request) wasmhost.Request {
	req := p.NewRequest(r.Method, r.Path, r.Authority, r.Headers, []byte(r.Body))
	if len(r.Trailers) > 0 {
		req.Headers, req.Trailers = without(req.Headers, "content-length"), r.Trailers
	}
	req.Info = wasmhost.StreamInfo{ClusterName: upstreamCluster, VirtualHost: virtualHost}
	return req
}

// virtualHost is the name of the virtual host in the real Envoy's route.
const virtualHost = "all"

// wasmReply is the upstream's response as Envoy's router gives it to the last filter. One with trailers has no length; its framing shows.
func wasmReply(p wasmhost.Profile, req wasmhost.Request, r Reply) wasmhost.Response {
	method, _ := req.Headers.Get(":method")
	response := p.NewResponse(method, r.Status, r.Headers, []byte(r.Body))
	if response.Delay = r.Delay; len(r.Trailers) > 0 {
		for i := range response.Headers {
			if h := &response.Headers[i]; h.Name == "content-length" {
				*h = wasmhost.Header{Name: "transfer-encoding", Value: "chunked"}
			}
		}
		response.Trailers = r.Trailers
	}
	return response
}

// observed normalises what came of an exchange.
func observed(out wasmhost.Outcome) Exchange {
	var e Exchange
	if out.Upstream != nil {
		seen := observedRequest(*out.Upstream)
		e.Upstream = &seen
	}
	if out.Response != nil {
		e.Response = observedResponse(*out.Response)
	}
	return e
}

func observedRequest(r wasmhost.Request) ObservedRequest {
	o := ObservedRequest{Headers: headerMap(r.Headers, ignoredUpstream), Body: string(r.Body), Trailers: trailerMap(r.Trailers)}
	o.Method, _ = r.Headers.Get(":method")
	o.Path, _ = r.Headers.Get(":path")
	o.Authority, _ = r.Headers.Get(":authority")
	return o
}

func observedResponse(r wasmhost.Response) *ObservedResponse {
	status, _ := r.Headers.Get(":status")
	n, _ := strconv.Atoi(status)
	return &ObservedResponse{Status: n, Headers: headerMap(r.Headers, ignoredResponse), Body: string(r.Body), Trailers: trailerMap(r.Trailers)}
}

// metricGrowth is the difference between two lists of metrics.
func metricGrowth(before, after []wasmhost.Metric) map[string]Metric {
	old := map[string]wasmhost.Metric{}
	for _, m := range before {
		old[m.Name+"/"+m.Type.String()] = m
	}
	out := map[string]Metric{}
	for _, m := range after {
		b := old[m.Name+"/"+m.Type.String()]
		g := Metric{Type: m.Type.String()}
		switch m.Type {
		case wasmhost.MetricCounter:
			g.Value = int64(m.Value - b.Value)
		case wasmhost.MetricGauge:
			g.Value = int64(m.Value)
		case wasmhost.MetricHistogram:
			g.Value = int64(m.Count - b.Count)
		}
		if g.Value != 0 || m.Type == wasmhost.MetricGauge {
			out[m.Name] = g
		}
	}
	return out
}
