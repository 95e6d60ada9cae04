package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
	// Total is from the start of the wave until the node serves. Loading is the part in which Envoy loads the module: in the probe, a process
	// of its own, and then beside the chain that serves. Beyond is the rest: delivery, the swap, and its proof.
	Total   float64 `json:"total_ms"`
	Loading float64 `json:"loading_ms"`
	Beyond  float64 `json:"beyond_loading_ms"`
	// Swapping is from the loaded module to serving.
	Swapping float64 `json:"swapping_ms"`
	// Requests were due between the start of the wave and serving; Worst of them, P99 of them, and worst of those that were due while the chain was swapped.
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Worst    float64 `json:"worst_ms"`
	P99      float64 `json:"p99_ms"`
	// WorstAt is when the worst of them was due, after the start of the wave.
	WorstAt   float64 `json:"worst_at_ms"`
	WorstSwap float64 `json:"worst_swapping_ms"`
	// SteadyWorst and SteadyP99 are of steadyFor before the wave, however long that took.
	SteadyWorst float64 `json:"steady_worst_ms"`
	SteadyP99   float64 `json:"steady_p99_ms"`
}

// What the load is.
const (
	loadConnections = 32
	saturateFor     = 3 * time.Second
	// steadyFor is the steady state before each swap.
	steadyFor = 8 * time.Second
	// settleFor is let pass before: the trial of the chain before, and the end of its VMs.
	settleFor = 3 * time.Second
)

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
	f := real.New(real.Config{Waft: waft, Envoy: binary.Path, Root: b.root, Dir: dir, AgentFlags: []string{"--trial", "1s", "--log-level", "warn"}})
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
	if _, err := f.Command(ctx, nil, "build", "--version", "1.0.0", "--out", dist, "./filters/headers"); err != nil {
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
		err := pause(ctx, steadyFor)
		var ended *waftv1.Rollout
		if err == nil {
			ended, err = b.roll(ctx, client, name, everything, nil)
		}
		stop()
		<-done
		if err != nil {
			return nil, err
		}
		shown, err := client.Nodes.GetNode(ctx, &waftv1.GetNodeRequest{Id: node.ID})
		if err != nil {
			return nil, err
		}
		row, err := swapRow(load, ended, shown.GetLedger())
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

// swapRow holds what the load saw against what the distributor wrote down. All of it is on one machine's clock.
func swapRow(load *openLoop, ended *waftv1.Rollout, ledger *waftv1.LedgerEntry) (swap, error) {
	var wave time.Time
	for _, h := range ended.GetStatus().GetHistory() {
		if h.GetPhase() == "Moving" && wave.IsZero() {
			wave = h.GetAt().AsTime()
		}
	}
	fetched, loaded, serving := ledger.GetFetchedAt().AsTime(), ledger.GetLoadedAt().AsTime(), ledger.GetServingAt().AsTime()
	if wave.IsZero() || serving.Before(loaded) || loaded.Before(fetched) || fetched.Before(wave.Add(-time.Second)) {
		return swap{}, fmt.Errorf("the times of the swap make no sense: the wave began at %s, fetched %s, loaded %s, serving %s", wave, fetched, loaded, serving)
	}
	during, steady, swapping := load.between(wave, serving), load.between(wave.Add(-steadyFor), wave), load.between(loaded, serving)
	total, loading := serving.Sub(wave), loaded.Sub(fetched)
	return swap{
		Rate: load.rate, Total: ms(total), Loading: ms(loading), Beyond: ms(total - loading), Swapping: ms(serving.Sub(loaded)),
		Requests: during.requests, Failed: load.failed, Worst: ms(during.longest), P99: ms(during.p99), WorstAt: ms(during.at.Sub(wave)), WorstSwap: ms(swapping.longest),
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
	wasm, err := os.ReadFile(filepath.Join(dist, "headers.wasm"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dist, "headers.json"))
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
	fmt.Fprintln(w, "ENVOY\tREQ/S\tTOTAL MS\tLOADING\tBEYOND\tSWAPPING\tWORST MS\tAT\tP99\tWORST SWAPPING\tSTEADY WORST\tSTEADY P99\tREQUESTS\tFAILED\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%d\t%d\t\n", r.Envoy, r.Rate, r.Total, r.Loading, r.Beyond, r.Swapping,
			r.Worst, r.WorstAt, r.P99, r.WorstSwap, r.SteadyWorst, r.SteadyP99, r.Requests, r.Failed)
	}
	return w.Flush()
}

// The targets of swaps.
const (
	maxBeyondMS = 500
	maxAddedMS  = 15
)

// judgeSwaps says which targets the worst of the swaps has met. Times are told, and do not fail the run: a busy machine would.
func judgeSwaps(to io.Writer, rows []swap) {
	var beyond, added, addedSwap float64
	for _, r := range rows {
		beyond, added, addedSwap = max(beyond, r.Beyond), max(added, r.Worst-r.SteadyWorst), max(addedSwap, r.WorstSwap-r.SteadyWorst)
	}
	tell(to, "real Envoy", "from the start of a wave to serving, beyond loading, ms", beyond, maxBeyondMS)
	tell(to, "real Envoy", "worst latency from the start of a wave to serving, over the steady state's worst, ms", added, maxAddedMS)
	tell(to, "real Envoy", "worst latency while the chain is swapped, over the steady state's worst, ms", addedSwap, maxAddedMS)
}

// tell says whether a target was met.
func tell(to io.Writer, who, what string, have, most float64) {
	word := "met"
	if have > most {
		word = "missed"
	}
	fmt.Fprintf(to, "%s: %s: %.2f, at most %g: %s\n", who, what, have, most, word)
}
