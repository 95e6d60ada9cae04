package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// drawEvery is the shortest time between two drawings of a bar.
const drawEvery = 100 * time.Millisecond

// bar shows how far a transfer has come: on a terminal a line that is drawn again, elsewhere nothing, since the command's
// result says that it is done.
type bar struct {
	w     io.Writer
	title string
	live  bool
	last  time.Time
}

func newBar(w io.Writer, title string) *bar {
	f, ok := w.(*os.File)
	return &bar{w: w, title: title, live: ok && term.IsTerminal(int(f.Fd()))}
}

func (b *bar) progress(done, total int64) {
	if !b.live || time.Since(b.last) < drawEvery {
		return
	}
	b.last = time.Now()
	if total <= 0 {
		fmt.Fprintf(b.w, "\r\x1b[K%s  %.1f MB", b.title, megabytes(done))
		return
	}
	fmt.Fprintf(b.w, "\r\x1b[K%s  %.1f of %.1f MB  %d%%", b.title, megabytes(done), megabytes(total), 100*done/total)
}

func (b *bar) done() {
	if b.live {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
