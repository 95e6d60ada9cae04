package sdktest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/internal/abi"
)

// Filter is a configured filter and the host that it runs in. It is used from one goroutine.
type Filter struct {
	t     testing.TB
	host  *host
	guest abi.Guest
	next  uint32
}

// pluginID is the id of the one plugin context.
const pluginID = 1

// start is where the clock stands at first: 2026-01-01 00:00:00 UTC.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type options struct {
	env        map[string]string
	properties map[string]any
	now        time.Time

	clusters     map[string]func(sdk.FetchRequest) (*sdk.FetchResponse, error)
	grpcClusters map[string]func(sdk.GRPCRequest) ([]byte, error)
	foreign      map[string]func([]byte) []byte
}

// Option changes what the filter runs in.
type Option func(*options)

// Env sets an environment variable of the VM, such as WAFT_FAILURE_POLICY.
func Env(name, value string) Option { return func(o *options) { o.env[name] = value } }

// Property sets a property that is there outside of streams too, such as plugin_name; for values see [Request].
func Property(path string, value any) Option {
	return func(o *options) { o.properties[path] = value }
}

// Clock sets where the host's clock stands, 2026-01-01 00:00 UTC otherwise. It moves by [Filter.Advance] only.
func Clock(now time.Time) Option { return func(o *options) { o.now = now } }

// New configures a filter with a configuration in JSON. The test fails at once if the filter refuses it.
func New[C any](t testing.TB, configure func(*sdk.Plugin, *C) (sdk.Filter, error), config string, opts ...Option) *Filter {
	t.Helper()
	f, err := newFilter(t, sdk.NewGuest(configure), config, opts)
	if err != nil {
		t.Fatalf("configure with %s: %v", config, err)
	}
	return f
}

// Configure configures a filter and gives the error with which it refuses the configuration, nil if it does not. The error's
// text is what the filter logs.
func Configure[C any](t testing.TB, configure func(*sdk.Plugin, *C) (sdk.Filter, error), config string, opts ...Option) error {
	t.Helper()
	_, err := newFilter(t, sdk.NewGuest(configure), config, opts)
	return err
}

func newFilter(t testing.TB, newGuest func(abi.Host) abi.Guest, config string, opts []Option) (*Filter, error) {
	o := options{
		env: map[string]string{"WAFT_METRIC_DELAY_MS": "0"}, properties: map[string]any{}, now: start,
		clusters:     map[string]func(sdk.FetchRequest) (*sdk.FetchResponse, error){},
		grpcClusters: map[string]func(sdk.GRPCRequest) ([]byte, error){},
		foreign:      map[string]func([]byte) []byte{"clear_route_cache": func([]byte) []byte { return nil }},
	}
	for _, opt := range opts {
		opt(&o)
	}
	h := &host{env: o.env, properties: encodeProperties(o.properties), now: o.now, config: []byte(config), level: abi.LogTrace,
		clusters: o.clusters, grpcClusters: o.grpcClusters, foreign: o.foreign,
		streams: map[uint32]*stream{}, shared: map[string]sharedValue{}}
	f := &Filter{t: t, host: h, guest: newGuest(abi.NewHost(h)), next: pluginID + 1}
	f.guest.ContextCreate(pluginID, 0)
	return f, f.Reconfigure(config)
}

// Reconfigure gives the filter another configuration in the same VM. It gives the error of [Configure]; the filter then goes
// on with what it had.
func (f *Filter) Reconfigure(config string) error {
	f.host.config = []byte(config)
	before := len(f.host.logs)
	if f.guest.Configure(pluginID, uint32(len(config))) {
		f.pump()
		return nil
	}
	reasons := f.host.logs[before:]
	return errors.New(strings.Join(reasons, "\n"))
}

// Logs are all lines that the filter logged, as "level: message".
func (f *Filter) Logs() []string { return slices.Clone(f.host.logs) }

// Metric is what a counter or a gauge stands at; 0 when there is none of that name. Tags are part of the name; see
// [sdk.MetricName].
func (f *Filter) Metric(name string) uint64 {
	if m := f.host.metric(name); m != nil {
		return m.value
	}
	return 0
}

// Samples are what a histogram was given, in order; nil when there is none of that name.
func (f *Filter) Samples(name string) []uint64 {
	if m := f.host.metric(name); m != nil {
		return slices.Clone(m.samples)
	}
	return nil
}

// Metrics are the names of all metrics, sorted.
func (f *Filter) Metrics() []string {
	var names []string
	for _, m := range f.host.metrics {
		names = append(names, m.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func encodeProperties(properties map[string]any) map[string][]byte {
	encoded := make(map[string][]byte, len(properties))
	for path, value := range properties {
		encoded[path] = encodeProperty(value)
	}
	return encoded
}
