package demo

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// redrawEvery is how often the running step's line is drawn again on a terminal.
const redrawEvery = 120 * time.Millisecond

// progress prints each step as it happens: on a terminal one line that moves while the step runs, elsewhere plain lines.
// It may be used by several goroutines.
type progress struct {
	out   io.Writer
	live  bool
	start time.Time

	mu     sync.Mutex
	title  string
	detail string
	began  time.Time
	stop   chan struct{}
}

func newProgress(out io.Writer) *progress {
	file, ok := out.(*os.File)
	return &progress{out: out, live: ok && term.IsTerminal(int(file.Fd())), start: time.Now()}
}

// step runs f under a title, and says how it ended and how long it took.
func (p *progress) step(title string, f func() error) error {
	p.begin(title)
	err := f()
	p.end(err)
	return err
}

func (p *progress) begin(title string) {
	p.mu.Lock()
	p.title, p.detail, p.began, p.stop = title, "", time.Now(), make(chan struct{})
	stop := p.stop
	p.mu.Unlock()
	if !p.live {
		return
	}
	go func() {
		ticker := time.NewTicker(redrawEvery)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-ticker.C:
				p.draw(i)
			}
		}
	}()
}

func (p *progress) draw(frame int) {
	const frames = `|/-\`
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop == nil {
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%c %s %s  %s", frames[frame%len(frames)], p.title, seconds(time.Since(p.began)), p.detail)
}

// note says what is going on within the step.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if text == p.detail {
		return
	}
	p.detail = text
	if p.live {
		fmt.Fprintf(p.out, "\r\x1b[K    %s\n", text)
		return
	}
	fmt.Fprintf(p.out, "    %s\n", text)
}

func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.stop)
	p.stop = nil
	mark := "ok  "
	if err != nil {
		mark = "FAIL"
	}
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "%s %s  %s\n", mark, p.title, seconds(time.Since(p.began)))
}

func seconds(d time.Duration) string {
	return fmt.Sprintf("%.1fs", d.Seconds())
}
