package main

import (
	"context"
	"crypto/tls"
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
)

func main() {
	b := bench{}
	sizes := flag.String("nodes", "1000,5000,10000", "the sizes of fleets, separated by commas; may be empty")
	speak := flag.String("dialects", "mcp,ads,delta", "what nodes speak, of mcp, ads and delta, separated by commas")
	flag.StringVar(&b.server, "server", filepath.Join("bin", "fanoutserver"), "the program fanoutserver")
	flag.IntVar(&b.bytes, "bytes", 2048, "the size of the resource, encoded")
	flag.IntVar(&b.changes, "changes", 0, "how many changes to measure; 0: by the size of the fleet")
	flag.IntVar(&b.rounds, "rounds", 5, "how often each fleet is measured, both servers by turns; figures are the medians")
	flag.IntVar(&b.perNode, "per-node", 0, "how many nodes have a snapshot of their own in go-control-plane's cache; 0: all share one, which costs it less")
	flag.StringVar(&b.only, "only", "", "measure this server alone, waft or go-control-plane")
	flag.StringVar(&b.profile, "profile", "", "have the server write a profile of its processor to this file, and of its memory beside it; with one fleet, one dialect and -only")
	flag.BoolVar(&b.extremes, "extremes", true, "measure the large resource, the fleet that connects at once, and the idle one, too")
	out := flag.String("out", filepath.Join("bench", "out", "fanout.json"), "where the figures go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := b.read(*sizes, *speak)
	if err == nil {
		err = b.run(ctx, os.Stdout, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-fanout:", err)
		os.Exit(1)
	}
}

// The servers.
const (
	waft = "waft"
	peer = "go-control-plane"
)

// bench is one run.
type bench struct {
	server   string
	sizes    []int
	dialects []string
	bytes    int
	changes  int
	rounds   int
	perNode  int
	only     string
	profile  string
	extremes bool

	// dir has the certificates, tls is the nodes' side, and sessions are what nodes resume by it; nil: nothing.
	dir      string
	tls      *tls.Config
	sessions []tls.ClientSessionCache
	fleets   int
}

// read takes the lists.
func (b *bench) read(sizes, speak string) error {
	comma := func(r rune) bool { return r == ',' }
	for size := range strings.FieldsFuncSeq(sizes, comma) {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 {
			return fmt.Errorf("-nodes: %q is no size of a fleet: give numbers from 1 on", size)
		}
		b.sizes = append(b.sizes, n)
	}
	for d := range strings.FieldsFuncSeq(speak, comma) {
		if _, known := dialects[d]; !known {
			return fmt.Errorf("-dialects: %q is none of mcp, ads and delta", d)
		}
		b.dialects = append(b.dialects, d)
	}
	return nil
}

func (b *bench) run(ctx context.Context, to io.Writer, out string) error {
	if _, err := os.Stat(b.server); err != nil {
		return fmt.Errorf("%w; run `make bench-fanout`, which builds it", err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), "fanout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if b.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if b.tls, err = certify(b.dir); err != nil {
		return err
	}
	rows, err := b.rows(ctx)
	if err := errors.Join(err, draw(to, rows)); err != nil {
		return err // what was measured took minutes
	}
	var beyond *extremes
	if b.extremes {
		if beyond, err = b.beyond(ctx); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(map[string]any{"rows": rows, "extremes": beyond}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	judge(to, rows)
	if beyond != nil {
		beyond.judge(to)
	}
	return nil
}

func draw(to io.Writer, rows []row) error {
	w := tabwriter.NewWriter(to, 0, 4, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "NODES\tDIALECT\tSERVER\tP50 MS\tP99 MS\tRSS MB\tPEAK MB\tKB/NODE\tCPU S\tUPDATES\tµS/UPDATE\tGOROUTINES/NODE\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%s\t%s\t%.1f\t%.1f\t%.0f\t%.0f\t%.1f\t%.2f\t%d\t%.1f\t%.1f\t\n", r.Nodes, r.Dialect, r.Server, r.P50, r.P99, r.RSS, r.Peak,
			r.memory(), r.CPU, r.Updates, r.cpu(), r.Goroutines)
	}
	return w.Flush()
}
