// Command filters measures what filters cost a request in a real Envoy: CPU, and memory of the process, for the same work done
// natively, in Lua, in Rust, on the bare Go SDK and on waft's. `make bench-filters` runs it.
//
// Each row is an Envoy of its own with one worker; all of them run at once, and the load goes to one after the other, for so
// many rounds, so that what else happens on the machine happens to all rows alike. A row's CPU is the process's own time, from
// the kernel, divided by the requests that it answered; the table gives medians over the rounds, and those of the difference to the row
// "none" in the same round. Every other round goes through the rows backwards, so that a drift of the machine favours none. The load comes from a process of its own, over a few kept-alive connections, each of which sends its next request when
// it has the answer to the last. Compare rows of one run; never runs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/waft-project/waft/envoy"
)

// options are what the command line says.
type options struct {
	rounds      int
	duration    time.Duration
	warmUp      time.Duration
	connections int
	workers     int
	soak        int
	only        string
	also        string
	await       bool
	out         string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == loadCommand {
		os.Exit(loadMain(os.Args[2:]))
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 41, "how often each row is measured")
	flag.DurationVar(&o.duration, "duration", 500*time.Millisecond, "how long each measurement takes")
	flag.DurationVar(&o.warmUp, "warm-up", 2*time.Second, "how long each row is used before its first measurement")
	flag.IntVar(&o.connections, "connections", 4, "connections that send requests")
	flag.IntVar(&o.workers, "workers", 4, "workers of the Envoys that show what a further worker takes; 1 leaves that out")
	flag.IntVar(&o.soak, "soak", 1_000_000, "requests after which the memory of waft-headers is looked at again; 0 leaves that out")
	flag.StringVar(&o.only, "only", "", "rows to measure beside none, separated by commas (default: all)")
	flag.StringVar(&o.also, "also", "", "more modules to measure, as NAME=FILE, separated by commas; their configuration is the header's value")
	flag.BoolVar(&o.await, "await", false, "measure a callout that is waited for, beside the same with callbacks, instead of the other rows")
	flag.StringVar(&o.out, "out", "bench/out/filters.json", "the file for the figures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-filters:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	binary, err := envoy.FindVersion(envoy.Number{Major: 1, Minor: 40, Patch: 0})
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "waft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	callout := ""
	if o.await {
		address, end, err := serveCallouts()
		if err != nil {
			return err
		}
		defer func() { _ = end() }()
		callout = address
	}
	rows, err := prepare(ctx, temp, o.only, o.also, callout)
	if err != nil {
		return err
	}
	if err := measure(ctx, binary, temp, rows, o); err != nil {
		return err
	}
	drawTable(os.Stdout, rows, o)
	return writeJSON(o.out, rows)
}

// writeJSON writes the figures of all rows.
func writeJSON(path string, rows []*row) error {
	type figures struct {
		Name        string   `json:"name"`
		CPU         *float64 `json:"cpu_us,omitempty"`
		Added       *float64 `json:"added_us,omitempty"`
		RSS         *float64 `json:"rss_mb,omitempty"`
		Growth      *float64 `json:"growth_mb,omitempty"`
		Worker      *float64 `json:"worker_mb,omitempty"`
		Soak        *float64 `json:"soak_growth_mb,omitempty"`
		ModuleBytes int      `json:"module_bytes"`
		Note        string   `json:"note,omitempty"`
	}
	document := struct {
		Rows []figures `json:"rows"`
	}{Rows: []figures{}}
	for _, r := range rows {
		f := figures{Name: r.name, ModuleBytes: len(r.module), Note: r.missing}
		if r.missing == "" {
			cpu, added, rss, growth := r.cpu(), r.added(rows[0]), r.rss, r.rss-rows[0].rss
			f.CPU, f.Added, f.RSS, f.Growth, f.Worker, f.Soak = &cpu, &added, &rss, &growth, r.worker, r.soak
		}
		document.Rows = append(document.Rows, f)
	}
	data, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
