package main

import (
	"fmt"
	"io"
	"slices"
)

// maxRatio is what waft's figures may be of go-control-plane's.
const maxRatio = 0.7

// judge says which targets were met. Nothing of it fails the run: a busy machine would.
func judge(to io.Writer, rows []row) {
	for _, r := range rows {
		if r.Server != waft {
			continue
		}
		beside := peerDialect(r.Dialect)
		i := slices.IndexFunc(rows, func(o row) bool { return o.Server == peer && o.Dialect == beside && o.Nodes == r.Nodes })
		if i < 0 {
			continue
		}
		for _, c := range []struct {
			what       string
			ours, peer float64
		}{
			{"p99 from the change to the ACK", r.P99, rows[i].P99},
			{"memory of the server per node", r.memory(), rows[i].memory()},
			{"CPU of the server per update", r.cpu(), rows[i].cpu()},
		} {
			tell(to, fmt.Sprintf("%d nodes, %s: %s, of %s's %s", r.Nodes, r.Dialect, c.what, peer, beside), c.ours/c.peer, maxRatio)
		}
	}
}

// peerDialect is what go-control-plane speaks that a dialect of waft's is compared with: it has no MCP, whose incremental streams are most like delta.
func peerDialect(d string) string {
	if d == "mcp" {
		return "delta"
	}
	return d
}

// tell says whether a target was met.
func tell(to io.Writer, what string, have, most float64) {
	word := "met"
	if !(have <= most) {
		word = "missed"
	}
	fmt.Fprintf(to, "%s: %.2f, at most %g: %s\n", what, have, most, word)
}
