package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	real "github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/sdk/manifest"
)

// swap is what one rollout of a new module to one real Envoy cost, under load. Times are in milliseconds.
type swap struct {
	Envoy string `json:"envoy"`
	// CPUs is how many the machine has, for all that runs on it.
	CPUs int `json:"cpus"`
	// Rate is the requests a second of the open loop, half of Saturated.
	Rate      float64 `json:"rate"`
	Saturated float64 `json:"saturated"`
	// Total is from the start of the wave until the node serves. Probe and Beside are what Envoys took to load the module, and nothing else: the probe, a process
	// of its own, and the Envoy that serves, beside its chain. Beyond is Total without those two.
	Total  float64 `json:"total_ms"`
	Probe  float64 `json:"probe_ms"`
	Beside float64 `json:"beside_ms"`
	Beyond float64 `json:"beyond_loading_ms"`
	// What Beyond is made of. Delivery is from the start of the wave until the node has the chain, and its module; Idle, from there until the module is loaded, all in which
	// neither Envoy loads it: it is the agent's own. Swapping is from the loaded module to serving.
	Delivery float64 `json:"delivery_ms"`
	Idle     float64 `json:"agent_ms"`
	Swapping float64 `json:"swapping_ms"`
	// Alone is what an Envoy that does nothing else takes to load the same module under the same load, apart from the agent.
	Alone float64 `json:"alone_ms"`
	// Requests were due between the start of the wave and serving; Worst of them, P99 of them; and worst of those that were due while the chain was swapped, and in swapTail after.
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Worst    float64 `json:"worst_ms"`
	P99      float64 `json:"p99_ms"`
	// WorstAt is when the worst of them was due, after the start of the wave.
	WorstAt   float64 `json:"worst_at_ms"`
	WorstSwap float64 `json:"worst_swapping_ms"`
	// WorstSwapAt is when that was due, after the module was loaded.
	WorstSwapAt float64 `json:"worst_swapping_at_ms"`
	// SteadyWorst and SteadyP99 are of the steady state before the wave.
	SteadyWorst float64 `json:"steady_worst_ms"`
	SteadyP99   float64 `json:"steady_p99_ms"`
}

// What the load is.
const (
	loadConnections = 32
	saturateFor     = 3 * time.Second
	// defaultSteady is the steady state before each swap.
	defaultSteady = 8 * time.Second
	// settleFor is let pass before: the trial of the chain before, and the end of its VMs.
	settleFor = 3 * time.Second
	// swapTail is what belongs to a swap after the node serves: the VMs of the chain before end then.
	swapTail = time.Second
	// clockSlack is how far times that are written down may be off.
	clockSlack = 10 * time.Millisecond
)

// swapFilter is the filter that is rolled out, in builds of its own bytes.
const swapFilter = "headers"

// moduleFile is the build for a release, in the folder of builds.
func moduleFile(release string) string { return swapFilter + "-" + release + ".wasm" }

// swapsUnderLoad rolls new modules out to one node with a real Envoy, one after the other, while requests come.
func (b *bench) swapsUnderLoad(ctx context.Context, dir string) (rows []swap, err error) {
	binary, err := envoy.Find("")
	if err != nil {
		return nil, err
	}
	version, err := binary.Version(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	waft, err := filepath.Abs(b.waft)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	f := real.New(real.Config{Waft: waft, Envoy: binary.Path, Root: b.root, Dir: dir, AgentFlags: []string{"--trial", "1s", "--log-format", "json"}})
	defer func() { err = errors.Join(err, f.Stop()) }()
	if err := errors.Join(f.StartUpstream(ctx), f.StartServe(ctx)); err != nil {
		return nil, err
	}
	node, err := f.StartAgent("edge", "env=prod")
	if err != nil {
		return nil, err
	}
	if err := f.Connected(ctx); err != nil {
		return nil, err
	}
	dist := filepath.Join(dir, "dist")
	if _, err := f.Command(ctx, nil, "build", "--version", "1.0.0", "--out", dist, "./filters/"+swapFilter); err != nil {
		return nil, err
	}
	client, err := api.Dial(api.ClientConfig{Address: f.GRPC(), Insecure: true, Actor: "bench"})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	everything := []*waftv1.Wave{{Percent: 100}}
	if err := release(ctx, client, f.HTTP(), dist, "swap-0"); err != nil {
		return nil, err
	}
	if _, err := b.roll(ctx, client, "swap-0", everything, nil); err != nil {
		return nil, err
	}
	if err := pause(ctx, settleFor); err != nil {
		return nil, err
	}
	most, err := saturate(node.Listen, loadConnections, saturateFor)
	if err != nil {
		return nil, fmt.Errorf("saturate Envoy: %w", err)
	}
	for i := range b.swaps {
		name := fmt.Sprintf("swap-%d", i+1)
		if err := release(ctx, client, f.HTTP(), dist, name); err != nil {
			return nil, err
		}
		if err := pause(ctx, settleFor); err != nil {
			return nil, err
		}
		load := &openLoop{address: node.Listen, rate: most / 2, connections: loadConnections}
		loading, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			load.run(loading)
		}()
		err := pause(ctx, b.steady)
		var ended *waftv1.Rollout
		if err == nil {
			ended, err = b.roll(ctx, client, name, everything, nil)
		}
		if err == nil {
			err = pause(ctx, swapTail)
		}
		var shown *waftv1.Node
		if err == nil {
			shown, err = client.Nodes.GetNode(ctx, &waftv1.GetNodeRequest{Id: node.ID})
		}
		var took loads
		if err == nil {
			took, err = loadsOf(ctx, binary, node.Agent.Log(), dist, shown.GetLedger(), name)
		}
		stop()
		<-done
		if err != nil {
			return nil, err
		}
		row, err := swapRow(load, b.steady, ended, shown.GetLedger(), took)
		if err != nil {
			return nil, err
		}
		row.Envoy, row.CPUs, row.Saturated = version.Number.String(), runtime.NumCPU(), most
		rows = append(rows, row)
		if load.failed > 0 {
			return rows, fmt.Errorf("%d requests failed during a swap or in the steady state before it, the first with: %w", load.failed, load.first)
		}
	}
	return rows, nil
}

// swapRow holds what the load saw against what the distributor wrote down, and what Envoys took to load. All of it is on one machine's clock.
func swapRow(load *openLoop, steadyFor time.Duration, ended *waftv1.Rollout, ledger *waftv1.LedgerEntry, took loads) (swap, error) {
	var wave time.Time
	for _, h := range ended.GetStatus().GetHistory() {
		if h.GetPhase() == "Moving" && wave.IsZero() {
			wave = h.GetAt().AsTime()
		}
	}
	// What is reported is so only after the next step has begun, and that the module is loaded, after the swap has.
	fetched, loaded, serving := ledger.GetFetchedAt().AsTime(), took.ended, ledger.GetServingAt().AsTime()
	if took.began.Before(fetched) {
		fetched = took.began
	}
	loading := took.probe + took.beside
	if wave.IsZero() || serving.Before(loaded) || fetched.Before(wave.Add(-time.Second)) || loaded.Sub(fetched) < loading-clockSlack {
		return swap{}, fmt.Errorf("the times of the swap make no sense: the wave began at %s, fetched %s, loaded %s, serving %s; loading took %s and %s", wave, fetched, loaded, serving,
			took.probe, took.beside)
	}
	during, steady, swapping := load.between(wave, serving), load.between(wave.Add(-steadyFor), wave), load.between(loaded, serving.Add(swapTail))
	total := serving.Sub(wave)
	return swap{
		Rate: load.rate, Total: ms(total), Probe: ms(took.probe), Beside: ms(took.beside), Beyond: ms(total - loading), Alone: ms(took.alone),
		Delivery: ms(fetched.Sub(wave)), Idle: ms(loaded.Sub(fetched) - loading), Swapping: ms(serving.Sub(loaded)),
		Requests: during.requests, Failed: load.failed, Worst: ms(during.longest), P99: ms(during.p99), WorstAt: ms(during.at.Sub(wave)), WorstSwap: ms(swapping.longest), WorstSwapAt: ms(swapping.at.Sub(loaded)),
		SteadyWorst: ms(steady.longest), SteadyP99: ms(steady.p99),
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// release publishes the filter headers with bytes of its own, so that nothing of it is loaded already, and makes a release of it.
func release(ctx context.Context, client *api.Client, host, dist, name string) error {
	wasm, err := os.ReadFile(filepath.Join(dist, swapFilter+".wasm"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dist, swapFilter+".json"))
	if err != nil {
		return err
	}
	m, err := manifest.Decode(text)
	if err != nil {
		return err
	}
	content := append([]byte{1, 'x'}, name...)
	wasm = slices.Concat(wasm, []byte{0, byte(len(content))}, content) // a custom section, which changes nothing but the digest
	sum := sha256.Sum256(wasm)
	if err := os.WriteFile(filepath.Join(dist, moduleFile(name)), wasm, 0o600); err != nil {
		return err
	}
	m.SHA256, m.Size = hex.EncodeToString(sum[:]), int64(len(wasm))
	raw, err := m.Encode()
	if err != nil {
		return err
	}
	pusher, err := registry.NewClient(registry.Config{PlainHTTP: []string{host}})
	if err != nil {
		return err
	}
	ref, err := registry.ParseReference(host + "/filters/headers:" + name)
	if err != nil {
		return err
	}
	if _, err := pusher.Push(ctx, ref, registry.Module{
		Content: bytes.NewReader(wasm), Size: int64(len(wasm)), Name: m.Name, Version: m.Version, ABIVersions: []string{m.ABI}, Manifest: raw,
	}, nil); err != nil {
		return err
	}
	document, err := api.DecodeDocument(fmt.Appendf(nil, "apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n  filters:\n  - name: headers\n    module: '%s'\n    config: {response: [{op: set, name: x-swap, value: %s}]}\n", name, ref, name))
	if err != nil {
		return err
	}
	_, err = client.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: document.(*waftv1.Release)})
	return err
}

func drawSwaps(to io.Writer, rows []swap) error {
	w := tabwriter.NewWriter(to, 0, 4, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "ENVOY\tREQ/S\tTOTAL MS\tPROBE\tBESIDE\tBEYOND\tDELIVERY\tAGENT\tSWAPPING\tALONE\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", r.Envoy, r.Rate, r.Total, r.Probe, r.Beside, r.Beyond, r.Delivery, r.Idle, r.Swapping, r.Alone)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "WORST MS\tAT\tP99\tWORST SWAPPING\tAT\tSTEADY WORST\tSTEADY P99\tREQUESTS\tFAILED\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%.1f\t%.0f\t%.1f\t%.1f\t%.0f\t%.1f\t%.1f\t%d\t%d\t\n", r.Worst, r.WorstAt, r.P99, r.WorstSwap, r.WorstSwapAt, r.SteadyWorst, r.SteadyP99, r.Requests, r.Failed)
	}
	return w.Flush()
}

// The targets of swaps.
const (
	maxBeyondMS = 500
	maxAddedMS  = 15
	// maxAgentMS is what of that may be the agent's own, between what Envoys do.
	maxAgentMS = 100
	// maxLoadTimes is how many times as long as alone Envoy may take to load a module with the agent: what is subtracted is to be loading, and not waiting.
	maxLoadTimes = 2
)

// swapFigures are what docs/bench-rollout.md tells of swaps; those with a target are judged by the worst of them.
var swapFigures = []struct {
	what string
	// most it may be; 0: there is no target.
	most float64
	of   func(swap) float64
}{
	{"from the start of the wave to serving, ms", 0, func(s swap) float64 { return s.Total }},
	{"the probe loads the module, ms", 0, func(s swap) float64 { return s.Probe }},
	{"the Envoy that serves loads it, ms", 0, func(s swap) float64 { return s.Beside }},
	{"from the start of the wave to serving, beyond these two, ms", maxBeyondMS, func(s swap) float64 { return s.Beyond }},
	{"of that the agent's own, ms", maxAgentMS, func(s swap) float64 { return s.Idle }},
	{"an Envoy loads the module alone, ms", 0, func(s swap) float64 { return s.Alone }},
	{"the longer of the two loads, of that", maxLoadTimes, func(s swap) float64 { return max(s.Probe, s.Beside) / s.Alone }},
	{"from the start of the wave to serving, beyond one such load, ms", 0, func(s swap) float64 { return s.Total - s.Alone }},
	{"worst latency in the steady state, ms", 0, func(s swap) float64 { return s.SteadyWorst }},
	{"worst latency during the swap (from loaded to a second after it serves), ms", 0, func(s swap) float64 { return s.WorstSwap }},
	{"over that of the steady state, ms", maxAddedMS, func(s swap) float64 { return s.WorstSwap - s.SteadyWorst }},
	{"worst latency during the whole wave (from its start to serving, loading included), ms", 0, func(s swap) float64 { return s.Worst }},
	{"over that of the steady state, loading included, ms", maxAddedMS, func(s swap) float64 { return s.Worst - s.SteadyWorst }},
}

// judgeSwaps says which targets the worst of the swaps has met. Times are told, and do not fail the run: a busy machine would.
func judgeSwaps(to io.Writer, rows []swap) {
	for _, f := range swapFigures {
		if f.most > 0 {
			tell(to, "real Envoy", f.what, worstOf(rows, f.of), f.most)
		}
	}
}

func worstOf(rows []swap, of func(swap) float64) float64 {
	worst := of(rows[0])
	for _, r := range rows[1:] {
		worst = max(worst, of(r))
	}
	return worst
}

// short is a number with as many digits as say something.
func short(n float64) string {
	if math.Abs(n) < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// documentSwaps writes the table of the documentation.
func documentSwaps(to io.Writer, rows []swap) {
	fmt.Fprintf(to, "| figure | target |%s |\n| --- | --- |%s --- |\n", strings.Repeat(" |", len(rows)), strings.Repeat(" --- |", len(rows)))
	for _, f := range swapFigures {
		target, judged := "", ""
		if f.most > 0 {
			target, judged = fmt.Sprintf("%g", f.most), verdict(worstOf(rows, f.of), f.most)
		}
		fmt.Fprintf(to, "| %s | %s |", f.what, target)
		for _, r := range rows {
			fmt.Fprintf(to, " %s |", short(f.of(r)))
		}
		fmt.Fprintf(to, " %s |\n", judged)
	}
}

// tell says whether a target was met.
func tell(to io.Writer, who, what string, have, most float64) {
	fmt.Fprintf(to, "%s: %s: %.2f, at most %g: %s\n", who, what, have, most, verdict(have, most))
}

func verdict(have, most float64) string {
	if have > most {
		return "missed"
	}
	return "met"
}
