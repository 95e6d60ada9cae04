package envoy

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Limits of a Log.
const (
	// logLines is how many lines a Log keeps.
	logLines = 2000
	// logLineBytes is how much of a line a Log keeps; Envoy prints whole configurations on one line.
	logLineBytes = 16 << 10
)

// Log keeps the last lines that Envoy wrote. It is an io.Writer that never fails, and may be used concurrently. The zero
// value is ready to use.
type Log struct {
	mu      sync.Mutex
	lines   []string // a ring once it holds logLines
	written int64    // lines ever written; the next one has this position
	partial []byte
}

// Write takes bytes as Envoy wrote them; a line counts once it has ended.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := p
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			l.grow(rest)
			return len(p), nil
		}
		l.grow(rest[:i])
		l.end()
		rest = rest[i+1:]
	}
}

func (l *Log) grow(p []byte) {
	if room := logLineBytes - len(l.partial); room < len(p) {
		p = p[:room]
	}
	l.partial = append(l.partial, p...)
}

func (l *Log) end() {
	line := string(l.partial)
	l.partial = l.partial[:0]
	if len(l.lines) < logLines {
		l.lines = append(l.lines, line)
	} else {
		l.lines[l.written%logLines] = line
	}
	l.written++
}

// Position is the position behind the last line; give it to Since to read what is written from now on.
func (l *Log) Position() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// Since returns the lines from a position on, as far as they are still kept, and the position behind them.
func (l *Log) Since(position int64) ([]string, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.written - int64(len(l.lines))
	position = max(position, oldest)
	lines := make([]string, 0, max(0, l.written-position))
	for at := position; at < l.written; at++ {
		lines = append(lines, l.lines[at%logLines])
	}
	return lines, l.written
}

// Await waits until a line from a position on matches, and says whether one did before ctx ended. Envoy's log comes through
// a pipe or a file, so it can be behind what Envoy's statistics say already.
func (l *Log) Await(ctx context.Context, position int64, matches func(line string) bool) bool {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		lines, next := l.Since(position)
		if slices.ContainsFunc(lines, matches) {
			return true
		}
		position = next
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
}

// Lines returns all lines that are kept.
func (l *Log) Lines() []string {
	lines, _ := l.Since(0)
	return lines
}

// logPrefix is Envoy's default format: [date time][thread][level][logger] [file:line] message.
var logPrefix = regexp.MustCompile(`^\[[^\]]+\]\[[^\]]+\]\[([a-z]+)\]\[([a-z0-9_]+)\] (?:\[[^\]]+\] )?(.*)$`)

// guestLine is how Envoy writes what a module logged: "wasm log FILTER: message", and "wasm log: message" while the VM
// starts and has no filter yet.
var guestLine = regexp.MustCompile(`^wasm log(?: ([a-z0-9-]+)[^:]*)?:(?: (.*))?$`)

// LogLine is one line in its parts. Level and Logger are empty when the line does not have Envoy's default format.
type LogLine struct {
	// Level: trace, debug, info, warning, error or critical.
	Level string
	// Logger: wasm, config, main, …
	Logger string
	// Guest says that a module wrote the line, Filter for which filter; empty while its VM starts.
	Guest   bool
	Filter  string
	Message string
}

// ParseLogLine takes a line apart.
func ParseLogLine(line string) LogLine {
	match := logPrefix.FindStringSubmatch(line)
	if match == nil {
		return LogLine{Message: line}
	}
	parsed := LogLine{Level: match[1], Logger: match[2], Message: match[3]}
	if parsed.Logger == "wasm" {
		if guest := guestLine.FindStringSubmatch(parsed.Message); guest != nil {
			parsed.Guest, parsed.Filter, parsed.Message = true, guest[1], guest[2]
		}
	}
	return parsed
}
