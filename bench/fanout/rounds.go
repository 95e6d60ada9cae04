package main

import (
	"context"
	"fmt"
	"slices"
)

// rows measures every fleet, round by round, and in each round both servers one after the other in each dialect: what else the machine does meets both. What one
// round says of the slowest hundredth differs more from the next than the servers do from each other, so each figure is the median of the rounds.
func (b *bench) rows(ctx context.Context) ([]row, error) {
	rows := []row{}
	for _, n := range b.sizes {
		var cells [][]row
		for i := range max(b.rounds, 1) {
			one, err := b.round(ctx, n, i%2 == 1)
			if err != nil {
				return rows, err
			}
			if cells == nil {
				cells = make([][]row, len(one))
			}
			for i, r := range one {
				cells[i] = append(cells[i], r)
			}
		}
		for _, rounds := range cells {
			rows = append(rows, medianOf(rounds))
		}
	}
	return rows, nil
}

// round measures one fleet once, in each dialect; back: waft before its peer.
func (b *bench) round(ctx context.Context, nodes int, back bool) ([]row, error) {
	var rows []row
	for _, d := range b.dialects {
		first := len(rows)
		servers := []string{peer, waft}
		if back {
			slices.Reverse(servers)
		}
		for _, server := range servers {
			if b.only != "" && server != b.only || server == peer && d == "mcp" {
				continue
			}
			r, err := b.measure(ctx, server, d, nodes)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, %d nodes: %w", server, d, nodes, err)
			}
			rows = append(rows, r)
		}
		if back {
			slices.Reverse(rows[first:]) // in the table each stands where it does in every round
		}
	}
	return rows, nil
}

// medianOf is one row of what several rounds gave for one server, one fleet and one dialect: of each figure the median, by itself; updates are those of all rounds
// together, and so is the processor time that goes with them.
func medianOf(rounds []row) row {
	r := rounds[0]
	r.Rounds = len(rounds)
	r.P99Rounds = figures(rounds, func(r row) float64 { return r.P99 })
	r.CPURounds = figures(rounds, row.cpu)
	for _, figure := range []func(*row) *float64{
		func(r *row) *float64 { return &r.P50 },
		func(r *row) *float64 { return &r.P99 },
		func(r *row) *float64 { return &r.RSS },
		func(r *row) *float64 { return &r.Empty },
		func(r *row) *float64 { return &r.Peak },
		func(r *row) *float64 { return &r.Goroutines },
	} {
		*figure(&r) = median(figures(rounds, func(r row) float64 { return *figure(&r) }))
	}
	r.CPU, r.Updates = 0, 0
	for _, one := range rounds {
		r.CPU += one.CPU
		r.Updates += one.Updates
	}
	return r
}

func figures(rounds []row, of func(row) float64) []float64 {
	out := make([]float64, 0, len(rounds))
	for _, r := range rounds {
		out = append(out, of(r))
	}
	return out
}

// median is the middle of some figures, or the mean of the two in the middle.
func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
