package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// fuzzFlags are those of `waft test --fuzz`.
type fuzzFlags struct {
	on   bool
	seed uint64
	runs int
}

func (f *fuzzFlags) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.on, "fuzz", false, "instead of the scenarios, send the filter random requests or connections, chunks, callouts and hang-ups made from them")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "with --fuzz: the seed of the first run (default: a random one, which is printed)")
	cmd.Flags().IntVar(&f.runs, "runs", filtertest.DefaultFuzzRuns, "with --fuzz: how many runs, each on a VM of its own")
}

// check refuses flags that mean nothing together.
func (f *fuzzFlags) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	if !f.on && (changed("seed") || changed("runs")) {
		return usagef("--seed and --runs are for --fuzz")
	}
	if f.on && changed("envoy") {
		return usagef("--fuzz runs in wazero, not in Envoy: leave out --envoy")
	}
	if f.runs < 1 || f.runs > filtertest.MaxFuzzRuns {
		return usagef("--runs %d: give a number between 1 and %d", f.runs, filtertest.MaxFuzzRuns)
	}
	if f.on && !changed("seed") {
		f.seed = uint64(rand.Uint32())
	}
	return nil
}

// fuzzed is what came of one filter.
type fuzzed struct {
	Filter  string                `json:"filter"`
	Report  filtertest.FuzzReport `json:"report"`
	Seconds float64               `json:"seconds"`
}

// fuzzSummary is what -o json prints.
type fuzzSummary struct {
	Filters []fuzzed `json:"filters"`
	Failed  int      `json:"failed"`
}

// fuzzDeadline is the time that one call into a filter may take. Each run configures a filter anew, which takes a large one seconds, and more on a machine that does something
// else: that is no finding, and a call that does not end is one all the same.
const fuzzDeadline = time.Minute

// fuzz runs `waft test --fuzz`.
func fuzz(ctx context.Context, w io.Writer, dirs []filterDir, flags fuzzFlags, out output) error {
	host, err := wasmhost.NewHost(ctx, wasmhost.Config{Deadline: fuzzDeadline})
	if err != nil {
		return err
	}
	defer func() { _ = host.Close(context.WithoutCancel(ctx)) }()
	profile, err := wasmhost.ProfileByName(newestProfile())
	if err != nil {
		return err
	}
	var summary fuzzSummary
	for _, dir := range dirs {
		started := time.Now()
		files, err := filtertest.Load(dir.path)
		if err != nil {
			return err
		}
		module, err := buildModule(ctx, dir.path)
		if err != nil {
			return err
		}
		report, err := filtertest.Fuzz(ctx, host, module, files, profile, filtertest.FuzzOptions{
			Options: filtertest.Options{Name: filepath.Base(mustAbs(dir.path))}, Seed: flags.seed, Runs: flags.runs,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", dir.path, err)
		}
		f := fuzzed{Filter: dir.path, Report: report, Seconds: time.Since(started).Seconds()}
		summary.Filters = append(summary.Filters, f)
		if report.Finding != nil {
			summary.Failed++
		}
		if out.format == "table" {
			f.draw(w)
		}
	}
	if out.format == "table" {
		fmt.Fprintf(w, "%d passed, %d failed\n", len(summary.Filters)-summary.Failed, summary.Failed)
	} else if err := out.print(w, summary, nil); err != nil {
		return err
	}
	if summary.Failed > 0 {
		return errSaid
	}
	return nil
}

func (f fuzzed) draw(w io.Writer) {
	r := f.Report
	if r.Finding == nil {
		fmt.Fprintf(w, "ok   %s on %s: seed %d, %d runs, %d streams, %d steps, at most %.1f MiB\n", f.Filter, r.Profile, r.Seed, r.Runs, r.Streams, r.Steps,
			float64(r.Memory)/(1<<20))
		return
	}
	found := r.Finding
	fmt.Fprintf(w, "FAIL %s on %s: %s does not hold, with the configuration of %s\n", f.Filter, r.Profile, found.Property, found.File)
	fmt.Fprintf(w, "     %s\n", printable(found.Detail))
	for _, s := range found.Steps {
		fmt.Fprintf(w, "       %s\n", s)
	}
	for _, l := range found.Logs {
		fmt.Fprintf(w, "     log: %s\n", printable(l))
	}
	fmt.Fprintf(w, "     once more: waft test --fuzz --seed %d --runs 1 %s\n", found.Seed, f.Filter)
}
