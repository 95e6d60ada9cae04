// Command run carries out schedules of faults, checks what they left behind, and writes the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/waft-project/waft/e2e/chaos"
	"github.com/waft-project/waft/envoy"
)

func main() {
	if member, err := chaos.RunMember(); member {
		if err != nil {
			fmt.Fprintln(os.Stderr, "chaos: member of etcd:", err)
			os.Exit(1)
		}
		return
	}
	first := flag.Uint64("seed", 1, "the first seed")
	schedules := flag.Int("schedules", 10, "how many seeds, one after the other")
	out := flag.String("json", "bench/out/chaos.json", "where the figures go")
	merge := flag.Bool("merge", false, "run nothing: put together the figures of the files that are named")
	keep := flag.String("keep", "", "keep the histories and logs of schedules that violate something in this folder")
	all := flag.Bool("keep-all", false, "keep those of all schedules")
	waft := flag.String("waft", "", "the program under test, whose clock does not jump; empty: one is built, whose clock does")
	verbose := flag.Bool("v", false, "print what happens")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := func() error {
		return run(ctx, *first, *schedules, *waft, *out, chaos.Keeping{Dir: *keep, All: *all}, *verbose)
	}
	if *merge {
		do = func() error { return mergeFiles(*out, flag.Args()) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, first uint64, schedules int, waft, out string, keep chaos.Keeping, verbose bool) error {
	binary, err := envoy.Find("")
	if err != nil {
		return fmt.Errorf("%w; run `make envoy`", err)
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	built, err := os.MkdirTemp("", "waft-chaos-modules-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(built)
	fixed := waft != ""
	if waft == "" {
		waft, err = chaos.Build(ctx, root, built, nil)
	} else {
		waft, err = filepath.Abs(waft)
	}
	if err != nil {
		return err
	}
	programs := chaos.Programs{Waft: waft, Envoy: binary.Path, Root: root, Fixed: fixed}
	if err := chaos.Prepare(ctx, built, &programs); err != nil {
		return err
	}
	result := chaos.Result{Seed: first}
	for seed := first; seed < first+uint64(schedules); seed++ {
		note := func(string, ...any) {}
		begun := time.Now()
		if verbose {
			note = func(format string, args ...any) {
				fmt.Fprintf(os.Stderr, "%7.2f  %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
			}
		}
		h, violations, err := chaos.RunSeed(ctx, seed, programs, keep, note)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		result.Add(h, violations)
		fmt.Printf("seed %d: %d faults, %d in a wave, %d requests, %d violations, %.0f s\n", seed, len(h.Faults), chaos.InWave(h), len(h.Requests),
			len(violations), time.Since(begun).Seconds())
		for _, v := range violations {
			fmt.Printf("  %s: %s\n", v.Rule, v.Text)
		}
		for _, f := range h.Faults {
			if f.Void {
				fmt.Printf("  void: %s: %s\n", f.Fault, f.Note)
			}
		}
		// After each, so that a run that is ended early has its figures.
		if err := result.Write(out); err != nil {
			return err
		}
	}
	show(&result)
	return result.Err()
}

// show prints the figures of all schedules.
func show(r *chaos.Result) {
	fmt.Printf("%d schedules, %d faults of %d kinds, %d in a wave, %d requests, %d violations\n", r.Schedules, r.Faults, len(r.Kinds), r.InWave, r.Requests, len(r.Violations))
	for _, kind := range slices.Sorted(maps.Keys(r.Impossible)) {
		fmt.Printf("left out: %s: %s\n", kind, r.Impossible[kind])
	}
}

func mergeFiles(out string, files []string) error {
	if len(files) == 0 {
		return errors.New("name the files to put together")
	}
	merged, err := chaos.Merge(files)
	if err != nil {
		return err
	}
	if err := merged.Write(out); err != nil {
		return err
	}
	show(merged)
	return merged.Err()
}
