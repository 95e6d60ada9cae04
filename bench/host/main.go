// Command host measures what a request costs in package wasmhost, and beside it, in the same run and with the same module, in the emulator
// of proxy-wasm-go-sdk (its proxytest, in Wasm mode). It prints a table and writes bench/out/host.json. The module is a filter written
// directly on that SDK, as waft build makes it, which adds a header to the request and one to the response; the emulator lacks host
// functions that filters/headers needs, so that one has a row of its own, in wasmhost alone. The rows "plain" are the same filter as the
// toolchain alone makes it: both hosts take longer for it.
//
// A request is what the emulator can do of one: a context, the headers of a request and of a response without bodies, the end. The row
// "exchange" is what a scenario's request costs: the work of Envoy's connection manager and router besides, and a body. Rounds of all rows
// take turns, so that a machine that is busy with something else is so for all of them; medians are taken over the rounds.
//
// Most of a request is the guest's own work, which is the same in every host, but for this: the emulator never calls proxy_on_done and
// proxy_on_delete, so the guest keeps every request that it has seen. The rows "nothing" show the hosts without a guest's work: a filter
// that only adds the two headers, in wasmhost, in the emulator, and in the engine alone, with neither of them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// The filters, and their configurations. Each adds one header to the request and one to the response.
const (
	bareFilter = "./sdk/wasmhost/testdata/headers"
	bareConfig = "1"

	waftFilter = "./filters/headers"
	waftConfig = `{"request":[{"op":"set","name":"x-request","value":"1"}],"response":[{"op":"set","name":"x-response","value":"1"}]}`
)

func main() {
	rounds := flag.Int("rounds", 9, "how often each row is measured")
	duration := flag.Duration("duration", 300*time.Millisecond, "how long a round of a row takes")
	starts := flag.Int("starts", 5, "how often each host is started")
	out := flag.String("out", filepath.Join("bench", "out", "host.json"), "where the figures go")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *out, *rounds, *starts, *duration); err != nil {
		fmt.Fprintln(os.Stderr, "bench-host:", err)
		os.Exit(1)
	}
}

// row is one way of running the module.
type row struct {
	Name string `json:"name"`
	// Request is the time of a request, and CPU the processor's time for it, in microseconds; 0 where there is no such row.
	Request float64 `json:"request_us,omitempty"`
	CPU     float64 `json:"cpu_us,omitempty"`
	// Start is the time from nothing to a configured plugin, in milliseconds: from the cache on disk, where there is one.
	Start float64 `json:"start_ms,omitempty"`

	request      func() error
	start        func() error
	wall, cpu    []float64
	startSamples []float64
}

func run(ctx context.Context, to io.Writer, out string, rounds, starts int, duration time.Duration) error {
	module, err := built(ctx, bareFilter)
	if err != nil {
		return err
	}
	plainModule, err := compile(ctx, bareFilter)
	if err != nil {
		return err
	}
	waftModule, err := built(ctx, waftFilter)
	if err != nil {
		return err
	}
	cache, err := os.MkdirTemp("", "bench-host-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(cache) }()

	ours, err := newOurs(ctx, cache, module, bareConfig)
	if err != nil {
		return err
	}
	defer ours.close(ctx)
	waft, err := newOurs(ctx, cache, waftModule, waftConfig)
	if err != nil {
		return err
	}
	defer waft.close(ctx)
	plain, err := newOurs(ctx, cache, plainModule, bareConfig)
	if err != nil {
		return err
	}
	defer plain.close(ctx)
	theirs, err := newTheirs(module)
	if err != nil {
		return err
	}
	defer theirs.close()
	empty, err := newOurs(ctx, cache, nothing(), "")
	if err != nil {
		return err
	}
	defer empty.close(ctx)
	alone, err := newEngine(ctx)
	if err != nil {
		return err
	}
	defer alone.close(ctx)
	rows := []*row{
		{Name: "wasmhost", request: func() error { return ours.stream(ctx) }, start: func() error { return startOurs(ctx, cache, module, bareConfig) }},
		{Name: "emulator", request: theirs.request, start: func() error { return startTheirs(module) }},
		{Name: "wasmhost-exchange", request: func() error { return ours.exchange(ctx) }},
		{Name: "filters/headers", request: func() error { return waft.stream(ctx) },
			start: func() error { return startOurs(ctx, cache, waftModule, waftConfig) }},
		{Name: "filters/headers-exchange", request: func() error { return waft.exchange(ctx) }},
	}
	if err := take(rows, rounds, duration); err != nil {
		return err
	}
	// Only one emulator can be at a time.
	theirs.close()
	theirPlain, err := newTheirs(plainModule)
	if err != nil {
		return err
	}
	unchanged := []*row{
		{Name: "plain", request: func() error { return plain.stream(ctx) }},
		{Name: "plain-emulator", request: theirPlain.request},
	}
	err = take(unchanged, rounds, duration)
	theirPlain.close()
	if err != nil {
		return err
	}
	idle, err := newTheirs(nothing())
	if err != nil {
		return err
	}
	bare := []*row{
		{Name: "nothing", request: func() error { return empty.stream(ctx) }},
		{Name: "nothing-emulator", request: idle.request},
		{Name: "nothing-engine", request: func() error { return alone.request(ctx) }},
	}
	err = take(bare, rounds, duration)
	idle.close()
	if err != nil {
		return err
	}
	for range starts {
		for _, r := range rows {
			if r.start == nil {
				continue
			}
			began := time.Now()
			if err := r.start(); err != nil {
				return fmt.Errorf("start %s: %w", r.Name, err)
			}
			r.startSamples = append(r.startSamples, float64(time.Since(began))/float64(time.Millisecond))
		}
	}
	all := slices.Concat(rows, unchanged, bare)
	for _, r := range all {
		r.Request, r.CPU, r.Start = median(r.wall), median(r.cpu), median(r.startSamples)
	}
	rep := report{
		Module: bareFilter, Bytes: len(module), Rows: all,
		Faster: rows[1].CPU / rows[0].CPU, PlainFaster: unchanged[1].CPU / unchanged[0].CPU, HostFaster: bare[1].CPU / bare[0].CPU,
		Guest: rows[0].CPU - bare[0].CPU, Host: bare[0].CPU - bare[2].CPU, Engine: bare[2].CPU,
	}
	rep.draw(to)
	data, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o644)
}

// report is what is written. Times are the processor's, in microseconds a request.
type report struct {
	Module string `json:"module"`
	Bytes  int    `json:"module_bytes"`
	Rows   []*row `json:"rows"`
	// Faster is by how much wasmhost takes less of the processor's time than the emulator, with the guest's own work, PlainFaster the same
	// with the module that the toolchain alone makes, and HostFaster without a guest's work.
	Faster      float64 `json:"faster_than_emulator"`
	PlainFaster float64 `json:"plain_faster_than_emulator"`
	HostFaster  float64 `json:"host_faster_than_emulator"`
	// Guest, Host and Engine are the parts of wasmhost's time: the guest's own work, the host's, and the engine's way in and out.
	Guest  float64 `json:"guest_us"`
	Host   float64 `json:"host_us"`
	Engine float64 `json:"engine_us"`
}

// take measures rows in turns.
func take(rows []*row, rounds int, duration time.Duration) error {
	for round := range rounds + 1 {
		for _, r := range rows {
			wall, cpu, err := measure(r.request, duration)
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			if round > 0 { // the first is for warming up
				r.wall, r.cpu = append(r.wall, wall), append(r.cpu, cpu)
			}
		}
	}
	return nil
}

// built is the filter as waft build makes it.
func built(ctx context.Context, filter string) ([]byte, error) {
	return aside(func(dir string) (string, error) {
		result, err := build.Build(ctx, filter, build.Options{OutDir: dir})
		if err != nil {
			return "", fmt.Errorf("build %s: %w", filter, err)
		}
		return result.Module, nil
	})
}

// compile builds the filter with the toolchain alone.
func compile(ctx context.Context, filter string) ([]byte, error) {
	return aside(func(dir string) (string, error) {
		path := filepath.Join(dir, "filter.wasm")
		cmd := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", path, filter)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", filter, err, text)
		}
		return path, nil
	})
}

// aside reads a module that is made in a folder of its own, and removes that.
func aside(make func(dir string) (module string, err error)) ([]byte, error) {
	dir, err := os.MkdirTemp("", "bench-host-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path, err := make(dir)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// checkEvery is how many requests pass between two looks at the clock.
const checkEvery = 64

// measure repeats a request for a while, and gives the time of one, by the clock and by the processor, in microseconds.
func measure(request func() error, duration time.Duration) (wall, cpu float64, err error) {
	began, used := time.Now(), processorTime()
	n := 0
	for n == 0 || time.Since(began) < duration {
		for range checkEvery {
			if err := request(); err != nil {
				return 0, 0, err
			}
		}
		n += checkEvery
	}
	per := func(d time.Duration) float64 { return float64(d) / float64(n) / float64(time.Microsecond) }
	return per(time.Since(began)), per(processorTime() - used), nil
}

// median is 0 for no samples.
func median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// draw writes the figures for a person.
func (rep *report) draw(to io.Writer) {
	t := tabwriter.NewWriter(to, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "HOST\tREQUEST\tCPU/REQUEST\tLEAST–MOST\tSTART\t")
	for _, r := range rep.Rows {
		start := "–"
		if r.Start > 0 {
			start = fmt.Sprintf("%.0f ms", r.Start)
		}
		fmt.Fprintf(t, "%s\t%.1f µs\t%.1f µs\t%.1f–%.1f\t%s\t\n", r.Name, r.Request, r.CPU, slices.Min(r.cpu), slices.Max(r.cpu), start)
	}
	_ = t.Flush() // to a terminal or a file of the caller's
	fmt.Fprintf(to, "wasmhost is %.1f × as fast as the emulator, by processor time, %.1f × with the plain module, and %.1f × without the guest's own work\n", rep.Faster, rep.PlainFaster, rep.HostFaster)
	fmt.Fprintf(to, "of a request in wasmhost the guest takes %.1f µs, the host %.1f µs, the engine's way in and out %.1f µs\n", rep.Guest, rep.Host, rep.Engine)
}

// ours is a plugin in wasmhost.
type ours struct {
	host              *wasmhost.Host
	plugin            *wasmhost.Plugin
	request, response wasmhost.Headers
	whole             wasmhost.Request
	upstream          wasmhost.Upstream
}

// benchProfile is the Envoy that is copied.
const benchProfile = "envoy-1.40"

func newOurs(ctx context.Context, cache string, module []byte, config string) (*ours, error) {
	profile, err := wasmhost.ProfileByName(benchProfile)
	if err != nil {
		return nil, err
	}
	o := &ours{
		request:  wasmhost.NewHeaders(requestHeaders...),
		response: wasmhost.NewHeaders(responseHeaders...),
		whole:    profile.NewRequest("GET", "/", "waft.test", wasmhost.NewHeaders("user-agent", "bench", "accept", "*/*"), nil),
	}
	answer := profile.NewResponse("GET", 200, wasmhost.NewHeaders("content-type", "text/plain"), []byte("ok\n"))
	o.upstream = func(context.Context, wasmhost.Request) (wasmhost.Response, error) { return answer, nil }
	if o.host, err = wasmhost.NewHost(ctx, wasmhost.Config{CacheDir: cache}); err != nil {
		return nil, err
	}
	m, err := o.host.Load(ctx, module, profile)
	if err != nil {
		return nil, err
	}
	vm, err := m.NewVM(ctx, wasmhost.VMConfig{})
	if err != nil {
		return nil, err
	}
	o.plugin, err = vm.Configure(ctx, wasmhost.PluginConfig{Name: "bench", Configuration: []byte(config)})
	return o, err
}

func (o *ours) close(ctx context.Context) { _ = o.host.Close(ctx) }

// stream is the request that the emulator can do too.
func (o *ours) stream(ctx context.Context) error {
	s := o.plugin.NewStream(ctx, wasmhost.StreamInfo{})
	if err := s.RequestHeaders(ctx, o.request, true); err != nil {
		return err
	}
	if err := s.ResponseHeaders(ctx, o.response, true); err != nil {
		return err
	}
	if _, ok := s.Upstream().Headers.Get("x-request"); !ok {
		return errNoHeader
	}
	if _, ok := s.Downstream().Headers.Get("x-response"); !ok {
		return errNoHeader
	}
	err := s.Close(ctx)
	s.Release()
	return err
}

func (o *ours) exchange(ctx context.Context) error {
	_, err := o.plugin.Exchange(ctx, o.whole, o.upstream)
	return err
}

func startOurs(ctx context.Context, cache string, module []byte, config string) error {
	o, err := newOurs(ctx, cache, module, config)
	if err == nil {
		o.close(ctx)
	}
	return err
}
