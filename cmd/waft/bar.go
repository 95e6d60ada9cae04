package main

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	// drawEvery is the shortest time between two drawings of a bar.
	drawEvery = 100 * time.Millisecond
	// sayEvery is the time between two lines where nothing can be drawn: what is done sooner says so by its result alone.
	sayEvery = 5 * time.Second
	// fewestColumns is how narrow a terminal is taken to be at most; one that does not tell its size is defaultColumns wide and defaultRows high.
	fewestColumns  = 20
	defaultColumns = 80
	defaultRows    = 24
)

// bar shows how far a transfer has come: on a terminal a line that is drawn again and taken away in the end, elsewhere a plain line now and then.
// Its progress is a registry.Progress: called from one goroutine at a time.
type bar struct {
	w     io.Writer
	title string
	// columns is the terminal's width; 0 is no terminal.
	columns int
	now     func() time.Time
	last    time.Time
}

// newBar begins a bar. w is where a command's messages go, never its result.
func newBar(w io.Writer, title string) *bar {
	b := &bar{w: w, title: printable(title), now: time.Now}
	if b.columns, _ = terminalSize(w); b.columns == 0 {
		b.last = b.now()
	}
	return b
}

// terminalSize is how large the terminal is that w writes to; 0 and 0 where it is none.
func terminalSize(w io.Writer) (columns, rows int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0
	}
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		columns = defaultColumns
	}
	if err != nil || rows <= 0 {
		rows = defaultRows
	}
	return max(columns, fewestColumns), rows
}

// clipLine is a line that fits into so many columns, so that it can be drawn over.
func clipLine(line string, columns int) string {
	text := []rune(line)
	return string(text[:min(len(text), columns-1)])
}

func (b *bar) progress(done, total int64) {
	now := b.now()
	switch {
	case b.columns > 0 && now.Sub(b.last) >= drawEvery:
		// A line that is wider than the terminal could not be drawn over.
		fmt.Fprint(b.w, "\r\x1b[K"+barLine(b.title, done, total, b.columns-1))
	case b.columns == 0 && now.Sub(b.last) >= sayEvery:
		fmt.Fprintln(b.w, barLine(b.title, done, total, 0))
	default:
		return
	}
	b.last = now
}

// say shows what is being done, where that has no measure.
func (b *bar) say(what string) {
	if b.columns > 0 {
		fmt.Fprint(b.w, "\r\x1b[K"+clipLine(b.title+"  "+what, b.columns))
	}
}

// done takes the bar away.
func (b *bar) done() {
	if b.columns > 0 {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

// barLine is what a bar says, in at most so many columns: the title gives way. 0 is any number of columns, and total is 0 while it is not
// known.
func barLine(title string, done, total int64, columns int) string {
	figures := fmt.Sprintf("  %.1f MB", megabytes(done))
	if total > 0 {
		figures = fmt.Sprintf("  %.1f of %.1f MB  %d%%", megabytes(done), megabytes(total), int64(100*float64(done)/float64(total)))
	}
	if room := columns - len(figures); columns > 0 && utf8.RuneCountInString(title) > room {
		title = string([]rune(title)[:max(room-1, 0)]) + "…"
	}
	return title + figures
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
