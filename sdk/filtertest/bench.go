package filtertest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Limits of a benchmark.
const (
	// DefaultBenchRequests is how many requests of each scenario are measured when nobody says.
	DefaultBenchRequests = 1000
	// MaxBenchRequests is the most requests of one scenario.
	MaxBenchRequests = 1_000_000
	// benchBatch is how many requests are sent at a time; their outcomes are kept for so long.
	benchBatch = 100
)

// Cost is what one request of a scenario, or one connection, costs. All but Memory and Growth are medians over the requests, the first tenth left out.
type Cost struct {
	File     string `json:"file"`     // base name of the scenario file, without .yaml
	Scenario string `json:"scenario"` // its name
	Requests int    `json:"requests"` // how many were measured

	// Time is what the guest and the host functions that it called took in wazero. Envoy's engine is another one: compare times of one
	// machine and one engine only.
	Time time.Duration `json:"time_ns"`
	// TimeP99 is the 99th percentile.
	TimeP99 time.Duration `json:"time_p99_ns"`
	// HostCalls are calls of proxy-wasm's host functions.
	HostCalls int `json:"host_calls"`
	// Callbacks are calls of the guest's exports.
	Callbacks int `json:"callbacks"`
	// GuestBytes are the bytes that the host put into memory that it took from the guest's allocator.
	GuestBytes int `json:"guest_bytes"`
	// Memory is the size of the VM's memory at the end, in bytes. It is the VM's, not the request's: it never shrinks.
	Memory int64 `json:"memory_bytes"`
	// Growth is by how much the memory grew during the second half of the requests, in bytes. Of a filter that keeps nothing it is 0 in a
	// long run.
	Growth int64 `json:"growth_bytes"`
}

// Name names the scenario in a budget: FILE/SCENARIO.
func (c Cost) Name() string { return c.File + "/" + c.Scenario }

// ErrBench says that a scenario cannot be measured: its configuration is refused, or the guest crashes in it.
var ErrBench = errors.New("cannot be measured")

// Bench sends the request of every scenario, or makes its connection, so many times through a module in wazero, and says what each costs. Files with a configError
// are passed over. What scenarios want is not looked at: run them first.
func Bench(ctx context.Context, host *wasmhost.Host, module []byte, files []File, profile wasmhost.Profile, opts Options, requests int) ([]Cost, error) {
	opts.metrics = countLater
	if requests == 0 {
		requests = DefaultBenchRequests
	}
	if requests < 1 || requests > MaxBenchRequests {
		return nil, fmt.Errorf("%d requests: give a number between 1 and %d", requests, MaxBenchRequests)
	}
	m, err := host.Load(ctx, module, profile)
	if err != nil {
		return nil, err
	}
	var costs []Cost
	for _, f := range files {
		if f.ConfigError != "" {
			continue
		}
		for _, s := range f.Scenarios {
			cost, err := benchScenario(ctx, m, f, s, opts, requests)
			if err != nil {
				return nil, err
			}
			costs = append(costs, cost)
		}
	}
	if len(costs) == 0 {
		return nil, fmt.Errorf("%w: there is no scenario with a request", ErrBench)
	}
	return costs, nil
}

// benchScenario measures one scenario on a VM of its own.
func benchScenario(ctx context.Context, m *wasmhost.Module, f File, s Scenario, opts Options, requests int) (Cost, error) {
	var meter meter
	opts.observe = meter.observe
	s.Want = Want{}
	s.Repeat = min(requests, benchBatch)
	f.Scenarios = nil
	for left := requests; left > 0; left -= benchBatch {
		s.Repeat = min(left, benchBatch)
		f.Scenarios = append(f.Scenarios, s)
	}
	results, err := runWasmFile(ctx, m, f, opts)
	if err != nil {
		return Cost{}, err
	}
	for _, r := range results {
		if r.Observed.Error != "" {
			return Cost{}, fmt.Errorf("%s: scenario %q %w: %s", f.Path, s.Name, ErrBench, r.Observed.Error)
		}
	}
	cost := meter.cost()
	cost.File, cost.Scenario = strings.TrimSuffix(filepath.Base(f.Path), filepath.Ext(f.Path)), s.Name
	if cost.Requests == 0 {
		return Cost{}, fmt.Errorf("%s: scenario %q %w: no request reached the filter", f.Path, s.Name, ErrBench)
	}
	return cost, nil
}

// sample is what one request cost so far.
type sample struct {
	time             time.Duration
	calls, callbacks int
	bytes            int
	memory           int64 // at its last callback
}

// meter divides what crosses the border between host and guest among requests: one begins when its context is created, and
// has everything until the next one begins.
type meter struct {
	samples []sample
	depth   int       // of callbacks that run
	began   time.Time // the outermost one
}

func (m *meter) observe(c *wasmhost.Crossing) {
	if c.Kind == wasmhost.CallbackBegins && c.Function == "proxy_on_context_create" && uint32(c.Args[1]) != 0 {
		m.samples = append(m.samples, sample{})
	}
	if len(m.samples) == 0 {
		return // the plugin's start, whose callbacks are over when the first request begins
	}
	now := &m.samples[len(m.samples)-1]
	now.bytes += c.Given()
	proxy := strings.HasPrefix(c.Function, "proxy_")
	switch c.Kind {
	case wasmhost.HostCallEnds:
		if proxy {
			now.calls++
		}
	case wasmhost.CallbackBegins:
		if proxy {
			now.callbacks++
		}
		if m.depth++; m.depth == 1 {
			m.began = time.Now()
		}
	case wasmhost.CallbackEnds:
		if m.depth--; m.depth == 0 {
			now.time += time.Since(m.began)
			now.memory = c.Memory()
		}
	}
}

// warmUp is the share of the requests, at their beginning, that does not count: one in so many.
const warmUp = 10

func (m *meter) cost() Cost {
	n := len(m.samples)
	if n == 0 {
		return Cost{}
	}
	counted := m.samples[n/warmUp:]
	times := sorted(counted, func(s sample) int { return int(s.time) })
	middle := func(of func(sample) int) int { return sorted(counted, of)[len(counted)/2] }
	last := m.samples[n-1].memory
	return Cost{
		Requests:   len(counted),
		Time:       time.Duration(times[len(times)/2]),
		TimeP99:    time.Duration(times[len(times)*99/100]),
		HostCalls:  middle(func(s sample) int { return s.calls }),
		Callbacks:  middle(func(s sample) int { return s.callbacks }),
		GuestBytes: middle(func(s sample) int { return s.bytes }),
		Memory:     last,
		Growth:     last - m.samples[n/2].memory,
	}
}

func sorted(samples []sample, of func(sample) int) []int {
	values := make([]int, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values
}
