// Command registry measures what fetching and publishing a module costs, and beside it, in the same run, on the same loopback registry
// (distribution v3) and with the same bytes, what oras, crane and curl need. It prints a table and writes bench/out/registry.json.
//
// Each command is timed as a process of its own, from its start until its files are on the disk (fsync of file and folder), less the time
// that the same program needs to start and do nothing. Rounds of all rows take turns, so that a machine that is busy with something else is
// so for all of them; medians are taken over the rounds.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

func main() {
	if len(os.Args) > 3 && os.Args[1] == measureWord {
		if err := measure(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var b bench
	flag.StringVar(&b.waft, "waft", filepath.Join("bin", "waft"), "the program waft")
	flag.StringVar(&b.tools, "tools", filepath.Join(".cache", "tools"), "the folder with oras and crane")
	flag.IntVar(&b.rounds, "rounds", 15, "how often each row is measured")
	flag.IntVar(&b.agents, "agents", 200, "how many agents ask one distributor at once")
	out := flag.String("out", filepath.Join("bench", "out", "registry.json"), "where the figures go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, os.Stdout, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench-registry:", err)
		os.Exit(1)
	}
}

// The sizes of modules, in bytes.
const (
	moduleBytes = 10 << 20
	largeBytes  = 200 << 20
)

// maxRSS is what moving a large module may take, in MB.
const maxRSS = 64

// row is one figure.
type row struct {
	Name string `json:"name"`
	// Seconds is the median time, less the program's start-up, which is Start.
	Seconds float64 `json:"seconds"`
	Start   float64 `json:"start_seconds,omitempty"`
	// RSS is the median of the largest resident memory, in MB; 0 where no process of its own was measured.
	RSS float64 `json:"rss_mb,omitempty"`
	// Blobs is how many blobs moved between client and registry in one round.
	Blobs int `json:"blobs_moved"`
}

type bench struct {
	waft, tools    string
	rounds, agents int

	dir      string
	upstream *upstream
	oras     string
	crane    string
	rows     []row
}

func (b *bench) run(ctx context.Context, to io.Writer, out string) (err error) {
	if b.waft, err = filepath.Abs(b.waft); err != nil {
		return err
	}
	for tool, path := range map[string]*string{"oras": &b.oras, "crane": &b.crane} {
		if *path, err = filepath.Abs(filepath.Join(b.tools, tool)); err != nil {
			return err
		}
	}
	for _, path := range []string{b.waft, b.oras, b.crane} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w; run `make bench-registry`, which builds it", err)
		}
	}
	if _, err := exec.LookPath("curl"); err != nil {
		return err
	}
	// In the checkout, not in a folder of temporary files, which may be in memory.
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(filepath.Dir(out), "registry-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if b.upstream, err = startUpstream(ctx, filepath.Join(b.dir, "upstream")); err != nil {
		return err
	}
	defer b.upstream.close()

	stages := []func(context.Context) error{b.pulls, b.pushes, b.warm, b.large, b.fleet}
	for _, stage := range stages {
		if err := stage(ctx); err != nil {
			return err
		}
	}
	if err := b.print(to); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"rows": b.rows}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return b.judge(to)
}

func (b *bench) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 4, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "ROW\tMS\tSTART MS\tRSS MB\tBLOBS\t")
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%d\t\n", r.Name, 1000*r.Seconds, 1000*r.Start, r.RSS, r.Blobs)
	}
	return w.Flush()
}

func (b *bench) row(name string) row {
	return b.rows[slices.IndexFunc(b.rows, func(r row) bool { return r.Name == name })]
}

// judge says which targets were missed. Times are told and do not fail the run: a busy machine would.
func (b *bench) judge(to io.Writer) error {
	cold, push := b.row("waft-cold").Seconds, b.row("waft-push").Seconds
	for _, t := range []struct {
		what       string
		have, most float64
	}{
		{"cold pull, of curl's", cold / b.row("curl-cold").Seconds, 1.2},
		{"cold pull, of the faster of oras's and crane's", cold / min(b.row("oras-cold").Seconds, b.row("crane-cold").Seconds), 1},
		{"push, of oras's that attaches a manifest, too", push / b.row("oras-push-attach").Seconds, 1},
		{"push, of oras's of the module alone", push / b.row("oras-push").Seconds, 1},
	} {
		word := "met"
		if t.have > t.most {
			word = "missed"
		}
		fmt.Fprintf(to, "%s: %.2f, at most %.2f: %s\n", t.what, t.have, t.most, word)
	}
	if n := b.row("waft-warm").Blobs; n != 0 {
		return fmt.Errorf("a warm pull moved %d blobs", n)
	}
	if n := b.row("agents").Blobs; n != 1 {
		return fmt.Errorf("%d agents made %d downloads from upstream, want 1", b.agents, n)
	}
	for _, name := range []string{"waft-pull-200MB", "waft-push-200MB"} {
		if rss := b.row(name).RSS; rss > maxRSS {
			return fmt.Errorf("%s took %.0f MB of memory, over %d", name, rss, maxRSS)
		}
	}
	return nil
}
