package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// cpu is the median over the rounds.
func (r *row) cpu() float64 { return median(r.samples) }

// added is the median, over the rounds, of what a request takes more than one to none in the same round: what made a round slow made it
// slow for both.
func (r *row) added(none *row) float64 {
	var differences []float64
	for i := range min(len(r.samples), len(none.samples)) {
		differences = append(differences, r.samples[i]-none.samples[i])
	}
	return median(differences)
}

func median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// spread is the least and the most of the rounds.
func (r *row) spread() (least, most float64) { return slices.Min(r.samples), slices.Max(r.samples) }

// peers are the rows that a row is compared with.
var peers = map[string]string{"gosdk-headers": "rust-headers", "waft-headers": "rust-headers", "waft-authz": "native-authz", "waft-await": "gosdk-callback"}

// drawTable writes the figures for a person.
func drawTable(to io.Writer, rows []*row, o options) {
	byName := map[string]*row{}
	for _, r := range rows {
		byName[r.name] = r
	}
	none := rows[0]
	t := tabwriter.NewWriter(to, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "FILTER\tCPU/REQUEST\tLEAST–MOST\tADDED\tMEMORY\tGROWTH\tPER WORKER\tMODULE\tAGAINST\tCPU\tMEMORY\t")
	for _, r := range rows {
		if r.missing != "" {
			fmt.Fprintf(t, "%s\t–\t–\t–\t–\t–\t–\t–\t–\t–\t–\t\n", r.name)
			continue
		}
		least, most := r.spread()
		fmt.Fprintf(t, "%s\t%.1f µs\t%.1f–%.1f\t%.2f µs\t%.0f MB\t%.0f MB\t%s\t%s\t", r.name, r.cpu(), least, most, r.added(none),
			r.rss, r.rss-none.rss, megabytes(r.worker), size(len(r.module)))
		if peer := byName[peers[r.name]]; peer != nil && peer.missing == "" {
			fmt.Fprintf(t, "%s\t%.2f ×\t%.2f ×\t\n", peer.name, r.added(none)/peer.added(none), (r.rss-none.rss)/(peer.rss-none.rss))
		} else {
			fmt.Fprintln(t, "\t\t\t")
		}
	}
	_ = t.Flush() // to a terminal or a file of the caller's
	for _, r := range rows {
		if r.missing != "" {
			fmt.Fprintf(to, "%s was not measured: %s\n", r.name, r.missing)
		}
		if r.soak != nil {
			fmt.Fprintf(to, "%s grew by %.1f MB over %d requests more\n", r.name, *r.soak, o.soak)
		}
	}
	fmt.Fprintf(to, "%d rounds of %v, medians; memory before the first of them\n", o.rounds, o.duration)
}

func megabytes(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.1f MB", *v)
}

func size(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f MB", float64(n)/1e6)
}
