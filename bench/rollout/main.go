// Command rollout measures what a rollout costs the distributor, by the size of the fleet. It runs bin/waft serve, with its embedded etcd,
// as a process of its own; this process is the fleet: nodes that each have a connection with a real MCP sink and a real report stream, and no
// Envoy. It prints a table and writes bench/out/rollout.json.
//
// Each size gets a distributor with an empty data folder. A first rollout gives every node a release; the one that is measured moves them to
// another in ten equal waves, while somebody watches it. What the distributor did is read from its own /metrics, before and after.
//
// Before, modules are rolled out to one node with a real Envoy and its agent, while requests come at a fixed rate (swap.go).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	b := bench{steady: defaultSteady}
	sizes := flag.String("nodes", "100,1000,10000", "the sizes of fleets, separated by commas; may be empty")
	flag.IntVar(&b.swaps, "swaps", 5, "how many modules to roll out to a real Envoy under load")
	flag.BoolVar(&b.document, "document", false, "print the figures of those modules as docs/bench-rollout.md has them, too")
	flag.StringVar(&b.root, "root", ".", "the checkout, which has the filters")
	flag.StringVar(&b.waft, "waft", filepath.Join("bin", "waft"), "the program waft")
	flag.DurationVar(&b.soak, "soak", 3*time.Second, "how long each wave soaks; statistics come once a second")
	flag.DurationVar(&b.step, "step", 500*time.Millisecond, "how long a node takes to load a chain, and again to swap to it")
	flag.DurationVar(&b.alone, "alone", 2*time.Minute, "for how long to see what a fleet costs that does nothing; a garbage collection comes each two minutes at the latest")
	flag.StringVar(&b.profiles, "profile", "", "write profiles of the distributor in the measured rollout to this folder; they make it slower")
	out := flag.String("out", filepath.Join("bench", "out", "rollout.json"), "where the figures go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for size := range strings.FieldsFuncSeq(*sizes, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(size)
		if err != nil || n < waves {
			fmt.Fprintf(os.Stderr, "bench-rollout: -nodes: %q is no size of a fleet: give numbers from %d on\n", size, waves)
			os.Exit(1)
		}
		b.sizes = append(b.sizes, n)
	}
	if err := b.run(ctx, os.Stdout, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench-rollout:", err)
		os.Exit(1)
	}
}

// waves is how many waves the measured rollout has, each of the same share.
const waves = 10

// bench is one run.
type bench struct {
	waft string
	// root is the checkout, and swaps how many modules are rolled out to a real Envoy.
	root  string
	swaps int
	// steady is how long requests come before each of them.
	steady time.Duration
	// document: their table is written as the documentation has it.
	document bool
	sizes    []int
	soak     time.Duration
	// step is how long a node takes from FETCHED to LOADED, and from there to SERVING.
	step time.Duration
	// alone is for how long it is seen what a fleet costs that does nothing.
	alone time.Duration
	// profiles is the folder of the distributor's profiles; empty: none are made.
	profiles string
}

// row is what one fleet cost.
type row struct {
	Nodes int `json:"nodes"`
	// DecisionMS is the 99th percentile of the time of one decision, without the store; DecisionMeanMS the mean of Decisions of them.
	DecisionMS     float64 `json:"decision_ms"`
	DecisionMeanMS float64 `json:"decision_mean_ms"`
	Decisions      int     `json:"decisions"`
	// StoreMS is the 99th percentile of the time that the store took to keep the rollout.
	StoreMS float64 `json:"store_ms"`
	// Writes is the keys that etcd wrote, for whatever reason, for each node; a node is in one wave. Transactions is in how many
	// proposals of etcd.
	Writes       float64 `json:"etcd_writes_per_node_wave"`
	Transactions int     `json:"etcd_transactions"`
	// OwnSeconds is from the start to the end of the rollout, without the soaks, and without the time that nodes take by themselves; Parts is what it
	// is made of.
	OwnSeconds float64 `json:"own_seconds"`
	Parts      parts   `json:"parts"`
	// StatusMS is the median time of reading the whole rollout: the greater one of while it runs and after its end.
	StatusMS float64 `json:"status_ms"`
	// CPU is the distributor's for each node, in ms.
	CPU float64 `json:"cpu_ms_per_node"`
	// RSS is the distributor's resident memory at the end, and Disk etcd's database, in MB.
	RSS  float64 `json:"rss_mb"`
	Disk float64 `json:"etcd_mb"`
	// IdleShare is the distributor's share of a core after it, while the fleet is connected and nothing is rolled out, and Again what a fleet of that size costs
	// that connects at once.
	IdleShare float64 `json:"idle_share"`
	Again     again   `json:"again"`
}

func (b *bench) run(ctx context.Context, to io.Writer, out string) error {
	if _, err := os.Stat(b.waft); err != nil {
		return fmt.Errorf("%w; run `make bench-rollout`, which builds it", err)
	}
	// In the checkout, not in a folder of temporary files, which may be in memory.
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), "rollout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var swaps []swap
	if b.swaps > 0 {
		swaps, err = b.swapsUnderLoad(ctx, filepath.Join(dir, "swaps"))
		if err := errors.Join(err, drawSwaps(to, swaps)); err != nil {
			return err
		}
	}
	rows := []row{}
	for _, n := range b.sizes {
		r, err := b.measure(ctx, filepath.Join(dir, strconv.Itoa(n)), n)
		if err != nil {
			return errors.Join(fmt.Errorf("%d nodes: %w", n, err), draw(to, rows)) // what was measured took minutes
		}
		rows = append(rows, r)
	}
	if len(rows) > 0 {
		if err := draw(to, rows); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(map[string]any{"rows": rows, "swaps": swaps}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	if len(swaps) > 0 {
		judgeSwaps(to, swaps)
		if b.document {
			documentSwaps(to, swaps)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return judge(to, rows)
}

func draw(to io.Writer, rows []row) error {
	w := tabwriter.NewWriter(to, 0, 4, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "NODES\tDECISION MS\tMEAN\tDECISIONS\tSTORE MS\tWRITES/NODE\tTXNS\tOWN S\tSTATUS MS\tCPU MS/NODE\tRSS MB\tETCD MB\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%.1f\t%.1f\t%d\t%.1f\t%.2f\t%d\t%.2f\t%.1f\t%.2f\t%.0f\t%.0f\t\n", r.Nodes, r.DecisionMS, r.DecisionMeanMS, r.Decisions,
			r.StoreMS, r.Writes, r.Transactions, r.OwnSeconds, r.StatusMS, r.CPU, r.RSS, r.Disk)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "NODES\tIDLE %\tAGAIN S\tREFUSED\tBEFORE MB\tPEAK MB\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%.2f\t%.1f\t%d\t%.0f\t%.0f\t\n", r.Nodes, 100*r.IdleShare, r.Again.Seconds, r.Again.Refused, r.Again.Before, r.Again.Peak)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "NODES\tBEGIN S\tFETCH S\tDELIVER S\tNOTICE S\tOWN S\tFLEET S\tCPU S\tFLEET CPU S\tWAITED S\t")
	for _, r := range rows {
		p := r.Parts
		fmt.Fprintf(w, "%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", r.Nodes, p.Begin, p.Fetch, p.Deliver, p.Notice, r.OwnSeconds, p.Fleet,
			p.Distributor, p.Clients, p.Waited)
	}
	return w.Flush()
}

// The targets.
const (
	maxDecisionMS = 50
	maxWrites     = 4
	// maxWaveWrites is what the rollout itself may write in a wave, whatever its size: its own row, history and audit. In a wave of few nodes, such as those of a
	// fleet smaller than leastNodes, that is more than what the nodes have written.
	maxWaveWrites = 20
	leastNodes    = 100
	maxOwnSeconds = 5
	maxStatusMS   = 200
	// maxGrowth is how many times the CPU for each node of the smallest fleet that of the largest may be.
	maxGrowth = 1.2
	// maxIdle is of one core.
	maxIdle   = 0.02
	maxAgainS = 10
)

// judge says which targets were missed by the largest fleet. Times are told and do not fail the run: a busy machine would.
func judge(to io.Writer, rows []row) error {
	small, large := rows[0], rows[len(rows)-1]
	for _, t := range []struct {
		what       string
		have, most float64
	}{
		{"a decision, ms", large.DecisionMS, maxDecisionMS},
		{"the rollout's own time, s", large.OwnSeconds, maxOwnSeconds},
		{"its status, ms", large.StatusMS, maxStatusMS},
		{"share of a core while nothing happens", large.IdleShare, maxIdle},
		{"all at once, until the last was served, s", large.Again.Seconds, maxAgainS},
		{fmt.Sprintf("CPU for each node, of that with %d nodes", small.Nodes), large.CPU / small.CPU, maxGrowth},
	} {
		tell(to, fmt.Sprintf("%d nodes", large.Nodes), t.what, t.have, t.most)
	}
	for _, r := range rows {
		most := float64(maxWrites)
		if r.Nodes < leastNodes {
			most += maxWaveWrites * waves / float64(r.Nodes)
		}
		if r.Writes > most {
			return fmt.Errorf("%d nodes: etcd wrote %.2f keys for each node in its wave, over %.2f", r.Nodes, r.Writes, most)
		}
	}
	return nil
}
