package filtertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Limits of fuzzing.
const (
	// DefaultFuzzRuns is how many runs there are when nobody says.
	DefaultFuzzRuns = 100
	// MaxFuzzRuns is the most runs.
	MaxFuzzRuns = 10_000_000
	// DefaultFuzzMemory is by how much a VM's memory may grow in one run over what it has once it is configured, when nobody says, in bytes.
	DefaultFuzzMemory = 48 << 20

	fuzzStreams  = 12               // streams, or connections, of one run
	fuzzOpen     = 4                // how many of them are open at once, at most
	fuzzSteps    = 4000             // steps of one run, at most
	fuzzPatience = 10 * time.Minute // how long a stream that has everything may wait for the filter
	fuzzRecord   = 200              // steps that a finding tells, the last ones
)

// FuzzOptions say what to try. The zero value is usable.
type FuzzOptions struct {
	Options

	// Seed of the first run; the next one has the next number. A run does the same whenever it has the same seed.
	Seed uint64
	// Runs is how many runs there are. 0: DefaultFuzzRuns.
	Runs int
	// Memory is what a VM's memory may grow to in one run, in bytes. 0: what it has once it is configured, and DefaultFuzzMemory more.
	Memory int64
}

// Property is what must hold in every run.
type Property string

// The properties.
const (
	// NoTrap: the guest never crashes, whatever it is sent.
	NoTrap Property = "no trap"
	// NoMisuse: the filter never does what Envoy does not survive whole.
	NoMisuse Property = "no misuse"
	// NoStuckStream: a stream that has got everything from the client, the upstream and all clusters comes to its end.
	NoStuckStream Property = "no stuck stream"
	// BoundedMemory: the VM's memory stays below the limit.
	BoundedMemory Property = "bounded memory"
)

// Finding is a property that did not hold.
type Finding struct {
	Property Property `json:"property"`
	Detail   string   `json:"detail"`
	// Seed replays it: a run with this seed under the same profile and module.
	Seed uint64 `json:"seed"`
	// File is the scenario file whose configuration the run had.
	File string `json:"file"`
	// Steps are what was done, in order, the last ones of many.
	Steps []string `json:"steps"`
	// Logs are the last lines that the filter logged.
	Logs []string `json:"logs,omitempty"`
}

// FuzzReport is what came of fuzzing a module.
type FuzzReport struct {
	Profile string `json:"profile"`
	Seed    uint64 `json:"seed"`
	Runs    int    `json:"runs"`
	Streams int    `json:"streams"` // and connections
	Steps   int    `json:"steps"`
	// Memory is the largest that any VM's memory became, in bytes.
	Memory int64 `json:"memory_bytes"`
	// Finding is the first that was found, which ended it; nil: everything held.
	Finding *Finding `json:"finding,omitempty"`
}

// Fuzz sends a module, under configurations of its scenario files, what clients, upstreams and clusters may send: headers made from
// those in the scenarios, damaged and mixed; bodies in pieces of any size; trailers; callouts that are answered in any order, late,
// broken, or never; clients that go away; several streams at once, and ticks between them. It stops at the first property that does not
// hold. Under the configurations of files whose scenarios are connections it makes connections, whose ends say what those in the scenarios
// do, as damaged and mixed, in any order, and break off. The error is the host's, or ErrBench's kind: no configuration is accepted.
func Fuzz(ctx context.Context, host *wasmhost.Host, module []byte, files []File, profile wasmhost.Profile, opts FuzzOptions) (FuzzReport, error) {
	if opts.Runs == 0 {
		opts.Runs = DefaultFuzzRuns
	}
	report := FuzzReport{Profile: profile.Name(), Seed: opts.Seed}
	if opts.Runs < 1 || opts.Runs > MaxFuzzRuns {
		return report, fmt.Errorf("%d runs: give a number between 1 and %d", opts.Runs, MaxFuzzRuns)
	}
	var sound []File
	for _, f := range files {
		if f.ConfigError == "" {
			sound = append(sound, f)
		}
	}
	if len(sound) == 0 {
		return report, fmt.Errorf("%w: every scenario file has a configError; give one with a configuration that is accepted", ErrNoScenarios)
	}
	m, err := host.Load(ctx, module, profile)
	if err != nil {
		return report, err
	}
	words := newVocabulary(sound)
	for range opts.Runs {
		r := &fuzzRun{seed: opts.Seed + uint64(report.Runs), words: words, memory: opts.Memory, profile: profile}
		r.rng = rand.New(rand.NewPCG(r.seed, fuzzStream))
		finding, err := r.run(ctx, m, sound, opts.Options)
		report.Runs++
		report.Streams += r.opened
		report.Steps += r.taken
		report.Memory = max(report.Memory, r.largest)
		if err != nil || finding != nil {
			report.Finding = finding
			return report, err
		}
	}
	return report, nil
}

// fuzzStream is the second half of the generator's seed: it keeps the order of random numbers apart from other users of the seed.
const fuzzStream = 0x77616674

// fuzzed is something that a run has open, and what is still to come to it: a stream or a connection.
type fuzzed interface {
	// String names it: "stream 3".
	String() string
	// more says whether something can be sent now.
	more() bool
	// advance sends the next piece.
	advance(ctx context.Context) error
	// stuck says whether it waits for the filter.
	stuck() bool
	// where says what the filter holds.
	where() string
	// patience takes away time from what it may wait, and says whether some is left.
	patience(d time.Duration) bool
	// misuse is what the filter did that Envoy does not survive whole.
	misuse() error
	close(ctx context.Context) error
}

// fuzzItem is what streams and connections have in common.
type fuzzItem struct {
	run    *fuzzRun
	id     int
	waited time.Duration
}

func (i *fuzzItem) patience(d time.Duration) bool {
	i.waited += d
	return i.waited <= fuzzPatience
}

// fuzzRun is one run: a VM of its own and some streams.
type fuzzRun struct {
	seed    uint64
	rng     *rand.Rand
	words   vocabulary
	memory  int64
	profile wasmhost.Profile

	file    File
	vm      *wasmhost.VM
	plugin  *wasmhost.Plugin
	streams []fuzzed
	opened  int
	taken   int
	largest int64
	steps   []string
}

// run makes one run. The finding is nil where everything held.
func (r *fuzzRun) run(ctx context.Context, m *wasmhost.Module, files []File, opts Options) (*Finding, error) {
	r.file = files[r.rng.IntN(len(files))]
	proxy := &wasmhost.Proxy{
		Clock: wasmhost.NewVirtualClock(fuzzEpoch), LogLevel: wasmhost.LogDebug, Node: wasmhost.Node{ID: nodeID, Cluster: nodeCluster},
		Clusters: map[string]wasmhost.Upstream{}, GRPC: map[string]wasmhost.GRPCServer{},
	}
	for _, name := range r.words.clusters {
		proxy.Clusters[name], proxy.GRPC[name] = r.answer, r.call
	}
	var err error
	r.vm, err = m.NewVM(ctx, wasmhost.VMConfig{
		ID: opts.name(), Env: opts.env(), Proxy: proxy, Random: rand.NewChaCha8([32]byte{byte(r.seed), byte(r.seed >> 8), byte(r.seed >> 16)}),
		Observe: opts.observe,
	})
	if err == nil {
		defer func() { _ = r.vm.Close(context.WithoutCancel(ctx)) }()
		r.plugin, err = r.vm.Configure(ctx, wasmhost.PluginConfig{Name: opts.name(), Configuration: r.file.Config, ReloadBackoff: -1})
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("fuzz: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: its configuration is refused: %w; run the scenarios first", r.file.Path, err)
	}
	if r.memory == 0 {
		r.memory = r.vm.Memory() + DefaultFuzzMemory
	}
	err = r.drive(ctx)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("fuzz: %w", context.Cause(ctx))
	}
	if err == nil {
		return nil, nil
	}
	finding := &Finding{Property: NoTrap, Detail: err.Error(), Seed: r.seed, File: r.file.Path, Steps: r.steps}
	var broken *brokenError
	if errors.As(err, &broken) {
		finding.Property = broken.property
	}
	logs, _ := r.vm.TakeLogs()
	finding.Logs = messages(logs[max(0, len(logs)-fuzzRecord):])
	return finding, nil
}

// fuzzEpoch is where the clock of a run stands at its beginning.
var fuzzEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// brokenError is a property that did not hold, of those that the guest does not tell by a crash.
type brokenError struct {
	property Property
	detail   string
}

func (e *brokenError) Error() string { return e.detail }

func broken(p Property, format string, args ...any) error {
	return &brokenError{p, fmt.Sprintf(format, args...)}
}

// note keeps what is done next.
func (r *fuzzRun) note(format string, args ...any) {
	r.taken++
	if len(r.steps) >= fuzzRecord {
		r.steps = append(r.steps[:0], r.steps[1:]...)
	}
	r.steps = append(r.steps, fmt.Sprintf(format, args...))
}

// drive takes steps at random until all streams have had everything, then lets time pass and looks at what became of them.
func (r *fuzzRun) drive(ctx context.Context) error {
	for range fuzzSteps {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.opened == fuzzStreams && len(r.streams) == 0 {
			break
		}
		if err := r.step(ctx); err != nil {
			return err
		}
		if err := r.holds(); err != nil {
			return err
		}
	}
	r.note("%s pass", fuzzPatience)
	if err := r.pass(ctx, fuzzPatience); err != nil {
		return err
	}
	// Waiting may have let through what the upstream has not answered yet.
	for _, s := range r.streams {
		for s.more() {
			if err := s.advance(ctx); err != nil {
				return err
			}
		}
	}
	if err := r.pass(ctx, fuzzPatience); err != nil {
		return err
	}
	for len(r.streams) > 0 {
		s := r.streams[0]
		if s.stuck() {
			return broken(NoStuckStream, "%s waits for ever: it has got everything, and all callouts were answered or ran into their timeout; %s", s, s.where())
		}
		if err := r.close(ctx, s); err != nil {
			return err
		}
	}
	return r.holds()
}

// holds checks what must hold after every step.
func (r *fuzzRun) holds() error {
	r.largest = max(r.largest, r.vm.Memory())
	if r.largest > r.memory {
		return broken(BoundedMemory, "the VM's memory grew to %d bytes, over %d", r.largest, r.memory)
	}
	for _, s := range r.streams {
		if err := s.misuse(); err != nil {
			return broken(NoMisuse, "%s: %v", s, err)
		}
	}
	return r.vm.Failed()
}

// step does one thing.
func (r *fuzzRun) step(ctx context.Context) error {
	if len(r.streams) == 0 || r.opened < fuzzStreams && len(r.streams) < fuzzOpen && r.one(4) {
		if err := r.open(ctx); err != nil {
			return err
		}
	}
	s := r.streams[r.rng.IntN(len(r.streams))]
	switch {
	case r.one(4):
		d := time.Duration(r.rng.Int64N(int64(2 * time.Second)))
		r.note("%s pass", d)
		return r.pass(ctx, d)
	case r.one(60):
		r.note("%s: the client goes away", s)
		return r.close(ctx, s)
	case s.more():
		return s.advance(ctx)
	case s.stuck():
		// It waits for the filter, and the filter for a callout or a timer.
		d := time.Duration(r.rng.Int64N(int64(10 * time.Second)))
		if !s.patience(d) {
			return broken(NoStuckStream, "%s waits for ever; %s", s, s.where())
		}
		r.note("%s pass", d)
		return r.pass(ctx, d)
	default:
		return r.close(ctx, s)
	}
}

// pass lets time pass: what falls due meanwhile happens.
func (r *fuzzRun) pass(ctx context.Context, d time.Duration) error {
	r.vm.RunEvents(ctx)
	if err := r.vm.Proxy().Advance(ctx, d); err != nil {
		return err
	}
	r.vm.RunEvents(ctx)
	return nil
}

// one is true once in n times.
func (r *fuzzRun) one(n int) bool { return r.rng.IntN(n) == 0 }

func (r *fuzzRun) close(ctx context.Context, s fuzzed) error {
	for i, o := range r.streams {
		if o == s {
			r.streams = append(r.streams[:i], r.streams[i+1:]...)
			break
		}
	}
	return s.close(ctx)
}
