// Package symbolize makes an Envoy's log of a crashed filter readable: it puts Go functions in the place of numbers, and puts together
// what a Go module writes in pieces when it dies.
//
// It must not import anything of the distributor or the registry.
package symbolize

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/build"
)

// Limits of a log.
const (
	// maxLine is the longest line that is read, in bytes. A longer one is an error.
	maxLine = 1 << 20
	// maxPieces is how many pieces are put together at most.
	maxPieces = 100_000
)

// lastWords begin what the Go runtime writes when it gives up: it writes a line in pieces, and Envoy logs every piece as a line.
var lastWords = regexp.MustCompile(`^(?:panic: |fatal error: |runtime: |goroutine |unexpected fault|SIG)`)

// Log copies a log, with the functions of a module by their names. Whatever it does not know it copies as it is.
func Log(w io.Writer, r io.Reader, symbols build.Symbols) error {
	out := bufio.NewWriter(w)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var run pieces
	for lines.Scan() {
		line := lines.Text()
		parsed := envoy.ParseLogLine(line)
		if parsed.Guest && parsed.Level == "error" && len(run.texts) < maxPieces && (len(run.texts) == 0 || parsed.Filter == run.filter) {
			if len(run.texts) == 0 {
				run.first, run.filter = strings.TrimSuffix(line, parsed.Message), parsed.Filter
			}
			run.lines, run.texts = append(run.lines, line), append(run.texts, parsed.Message)
			continue
		}
		run.flush(out)
		fmt.Fprintln(out, symbols.Resolve(line))
	}
	run.flush(out)
	written := out.Flush() // what was read before a failure, too
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	if written != nil {
		return fmt.Errorf("write the log: %w", written)
	}
	return nil
}

// pieces are consecutive error lines of one filter.
type pieces struct {
	first  string // what stands before the message in the first one
	filter string
	lines  []string
	texts  []string
}

// flush writes them: from the runtime's first word on as the text that they are together, before that as they came.
func (p *pieces) flush(w io.Writer) {
	whole := slices.IndexFunc(p.texts, lastWords.MatchString)
	if whole < 0 {
		whole = len(p.texts)
	}
	for _, line := range p.lines[:whole] {
		fmt.Fprintln(w, line)
	}
	if whole < len(p.texts) {
		fmt.Fprint(w, p.first)
		text := strings.TrimRight(Join(p.texts[whole:]), "\n")
		fmt.Fprintln(w, text)
	}
	*p = pieces{}
}

// Join puts together what the Go runtime wrote in pieces: an empty piece is the end of a line.
func Join(texts []string) string {
	var b strings.Builder
	for _, t := range texts {
		if t == "" {
			t = "\n"
		}
		b.WriteString(t)
	}
	return b.String()
}
