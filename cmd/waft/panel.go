package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// panel is some lines at the end of a terminal that are drawn again and again, below lines that stay. Elsewhere only those that stay are
// written.
type panel struct {
	w io.Writer
	// columns and rows are the terminal's; 0 is no terminal.
	columns, rows int
	// drawn is how many lines stand there now.
	drawn int
}

func newPanel(w io.Writer) *panel {
	columns, rows := terminalSize(w)
	return &panel{w: w, columns: columns, rows: rows}
}

// update writes lines that stay, and below them those of the moment, in one go so that nothing flickers.
func (p *panel) update(stay, moment []string) {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", p.drawn)
	}
	for _, line := range stay {
		b.WriteString(printable(line) + "\n")
	}
	p.drawn = 0
	if p.columns > 0 {
		// More lines than the terminal has could not be drawn over.
		for _, line := range moment[:min(len(moment), p.rows-1)] {
			b.WriteString(clipLine(printable(line), p.columns) + "\n")
			p.drawn++
		}
	}
	_, _ = io.WriteString(p.w, b.String())
}

// standing are the states of a node in a rollout, in the order in which a panel tells of them, with its sign in a bar.
var standing = []struct {
	state string
	sign  rune
	words string
}{
	{"Serving", '█', "serving"}, {"RolledBack", '◄', "gone back"}, {"Moving", '▒', "moving"}, {"RollingBack", '‹', "going back"},
	{"Fetching", '░', "fetching"}, {"Away", '·', "away"}, {"Waiting", '·', "waiting"}, {"Failed", 'x', "failed"}, {"Skipped", '-', "left out"},
}

// barCells is how wide a wave's bar is.
const barCells = 20

// rolloutPanel is a rollout at a moment: why it stands where it does, its waves with their nodes, and the gates of the wave it is in.
func rolloutPanel(r *waftv1.Rollout, now time.Time) []string {
	s := r.GetStatus()
	lines := []string{fmt.Sprintf("%s  %s: %s", r.GetMetadata().GetName(), s.GetPhase(), s.GetMessage())}
	states := map[string]string{}
	for _, n := range s.GetNodes() {
		states[n.GetNode()] = n.GetState()
	}
	for i, spec := range r.GetSpec().GetWaves() {
		name := fmt.Sprintf("wave %d  ", i+1)
		if i >= len(s.GetWaves()) {
			lines = append(lines, name+strings.Repeat(" ", barCells)+"  "+reachOf(spec))
			continue
		}
		w := s.GetWaves()[i]
		line := name + waveBar(w.GetNodes(), states) + "  " + waveWords(w, states, s.GetPhase() == "Soaking" && int(s.GetWave()) == i+1, now)
		if of := cohortText(spec.GetCohort()); of != "" {
			line += "; " + of
		}
		lines = append(lines, line)
	}
	if wave := int(s.GetWave()); wave > 0 && wave <= len(s.GetWaves()) {
		for _, g := range lastReadings(s.GetWaves()[wave-1]) {
			lines = append(lines, fmt.Sprintf("gate    %s: %s: %s", g.GetGate(), g.GetVerdict(), g.GetDetail()))
		}
	}
	return lines
}

// waveBar shows nodes by their states, each state with at least one cell.
func waveBar(nodes []string, states map[string]string) string {
	counts := map[string]int{}
	for _, n := range nodes {
		counts[states[n]]++
	}
	var bar []rune
	widest := rune(' ')
	most := 0
	for _, s := range standing {
		n := counts[s.state]
		if n == 0 {
			continue
		}
		if n > most {
			widest, most = s.sign, n
		}
		bar = append(bar, []rune(strings.Repeat(string(s.sign), max(n*barCells/len(nodes), 1)))...)
	}
	// What was rounded goes to the widest part, or comes from it.
	for len(bar) < barCells {
		bar = slices.Insert(bar, max(slices.Index(bar, widest), 0), widest)
	}
	for len(bar) > barCells {
		bar = slices.Delete(bar, slices.Index(bar, widest), slices.Index(bar, widest)+1)
	}
	return string(bar)
}

func waveWords(w *waftv1.WaveStatus, states map[string]string, soaking bool, now time.Time) string {
	counts := map[string]int{}
	for _, n := range w.GetNodes() {
		counts[states[n]]++
	}
	words := []string{}
	for _, s := range standing {
		if n := counts[s.state]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, s.words))
		}
	}
	text := strings.Join(words, ", ")
	switch left := w.GetSoakUntil().AsTime().Sub(now); {
	case len(w.GetNodes()) == 0:
		return "no nodes"
	case w.GetEndedAt().AsTime().Unix() > 0:
		return text + "; complete"
	case soaking && left > 0:
		return text + "; soaks for another " + left.Round(time.Second).String()
	}
	return text
}

// reachOf is how far a wave reaches that has not begun.
func reachOf(w *waftv1.Wave) string {
	text := "then all"
	switch {
	case w.GetNodes() > 0:
		text = fmt.Sprintf("then %d nodes in all", w.GetNodes())
	case w.GetSelector() != "":
		text = "then those with " + w.GetSelector()
	case w.GetPercent() < 100:
		text = fmt.Sprintf("then %d %% in all", w.GetPercent())
	}
	if of := cohortText(w.GetCohort()); of != "" {
		text += ", " + of
	}
	if w.GetSoak() != "" {
		text += ", soak " + w.GetSoak()
	}
	return text
}

// lastReadings are the latest of each gate of a wave, whether anything was decided by it or not, in the order in which the gates were first read.
func lastReadings(w *waftv1.WaveStatus) []*waftv1.GateReading {
	var out []*waftv1.GateReading
	at := map[string]int{}
	for _, r := range slices.Concat(w.GetReadings(), w.GetLatest()) {
		if i, seen := at[r.GetGate()]; seen {
			out[i] = r
			continue
		}
		at[r.GetGate()] = len(out)
		out = append(out, r)
	}
	return out
}
