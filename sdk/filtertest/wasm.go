package filtertest

import (
	"context"
	"fmt"
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
}

func (o Options) name() string { return orDefault(o.Name, PluginName) }

// env are the VM's environment variables, as Envoy's configuration would give them.
func (o Options) env() map[string]string {
	return map[string]string{"WAFT_FILTER": o.name(), "WAFT_FAILURE_POLICY": wasmhost.FailReload.String()}
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
	vm, plugin, logs, err := startWasm(ctx, m, f, opts)
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
		r, serr := runWasmScenario(ctx, m.Profile(), plugin, f, s)
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

// startWasm starts a VM and configures the plugin. vm may be nil.
func startWasm(ctx context.Context, m *wasmhost.Module, f File, opts Options) (*wasmhost.VM, *wasmhost.Plugin, []string, error) {
	proxy := &wasmhost.Proxy{
		LogLevel: wasmhost.LogDebug, Node: wasmhost.Node{ID: nodeID, Cluster: nodeCluster},
		Clusters: map[string]wasmhost.Upstream{upstreamCluster: func(_ context.Context, r wasmhost.Request) (wasmhost.Response, error) {
			return wasmReply(m.Profile(), r, f.Upstream), nil
		}},
	}
	for _, c := range f.Clusters {
		proxy.Clusters[c.Name] = func(_ context.Context, r wasmhost.Request) (wasmhost.Response, error) {
			return wasmReply(m.Profile(), r, c.Reply), nil
		}
	}
	vm, err := m.NewVM(ctx, wasmhost.VMConfig{ID: opts.name(), Env: opts.env(), Proxy: proxy, Observe: opts.observe})
	if err != nil {
		return nil, nil, []string{err.Error()}, err
	}
	plugin, err := vm.Configure(ctx, wasmhost.PluginConfig{
		Name: opts.name(), Configuration: f.Config,
		ReloadBackoff: -1, // the other backend waits for it
	})
	logs, _ := vm.TakeLogs()
	return vm, plugin, messages(logs), err
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

func runWasmScenario(ctx context.Context, profile wasmhost.Profile, plugin *wasmhost.Plugin, f File, s Scenario) (Result, error) {
	start := time.Now()
	var o Observed
	before := plugin.VM().Proxy().Metrics()
	for range s.Repeat {
		out, err := plugin.Exchange(ctx, wasmRequest(profile, s.Request), func(_ context.Context, r wasmhost.Request) (wasmhost.Response, error) {
			return wasmReply(profile, r, s.Upstream), nil
		})
		if ctx.Err() != nil {
			return Result{}, fmt.Errorf("scenario %q: %w", s.Name, context.Cause(ctx))
		}
		if err != nil && o.Error == "" {
			o.Error = err.Error()
		}
		o.Exchanges = append(o.Exchanges, observed(out))
		o.Logs = append(o.Logs, messages(out.Logs)...)
	}
	o.Metrics = metricGrowth(before, plugin.VM().Proxy().Metrics())
	ds := judge(s, o)
	return Result{File: f.Path, Name: s.Name, Pass: len(ds) == 0, Differences: ds, Duration: time.Since(start), Observed: o}, nil
}

// wasmRequest is the request as Envoy's connection manager gives it to the first filter.
func wasmRequest(p wasmhost.Profile, r Request) wasmhost.Request {
	req := p.NewRequest(r.Method, r.Path, r.Authority, r.Headers, []byte(r.Body))
	req.Info = wasmhost.StreamInfo{ClusterName: upstreamCluster, VirtualHost: virtualHost}
	return req
}

// virtualHost is the name of the virtual host in the real Envoy's route.
const virtualHost = "all"

// wasmReply is the upstream's response as Envoy's router gives it to the last filter.
func wasmReply(p wasmhost.Profile, req wasmhost.Request, r Reply) wasmhost.Response {
	method, _ := req.Headers.Get(":method")
	return p.NewResponse(method, r.Status, r.Headers, []byte(r.Body))
}

// observed normalises what came of an exchange.
func observed(out wasmhost.Outcome) Exchange {
	var e Exchange
	if u := out.Upstream; u != nil {
		e.Upstream = &ObservedRequest{Headers: headerMap(u.Headers, ignoredUpstream), Body: string(u.Body)}
		e.Upstream.Method, _ = u.Headers.Get(":method")
		e.Upstream.Path, _ = u.Headers.Get(":path")
		e.Upstream.Authority, _ = u.Headers.Get(":authority")
	}
	if r := out.Response; r != nil {
		status, _ := r.Headers.Get(":status")
		n, _ := strconv.Atoi(status)
		e.Response = &ObservedResponse{Status: n, Headers: headerMap(r.Headers, ignoredResponse), Body: string(r.Body)}
	}
	return e
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
