package filtertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TraceSuffix ends the name of a pinned trace: scenarios/FILE.yaml is pinned by scenarios/FILE.yaml.trace.
const TraceSuffix = ".trace"

// traceStart is when every trace begins: a date header, and a time that a filter keeps in shared data, are part of what it shows. It is
// late enough for scenarios that were written to pass today.
var traceStart = time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC)

// traceSeed is where the random numbers in every trace come from.
const traceSeed = "the same numbers in every trace."

// Trace runs a scenario file in wazero and gives every call between host and guest, a line each: callbacks with > and <, the host calls
// that were made in them under them. WASI and the guest's allocator are left out, since they are the language's business and change from
// run to run, and so are times and ids. Every trace begins at the same time, with the same random numbers: two of one module are the same.
func Trace(ctx context.Context, host *wasmhost.Host, module []byte, f File, profile wasmhost.Profile, opts Options) ([]byte, error) {
	m, err := host.Load(ctx, module, profile)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	opts.start, opts.random = traceStart, rand.NewChaCha8([32]byte([]byte(traceSeed)))
	opts.metrics = countAtOnce // a trace shows a count where it is made
	opts.observe = func(c *wasmhost.Crossing) {
		switch {
		case !strings.HasPrefix(c.Function, "proxy_"):
		case c.Kind == wasmhost.CallbackBegins:
			fmt.Fprintf(&b, "> %s\n", c)
		case c.Kind == wasmhost.CallbackEnds:
			fmt.Fprintf(&b, "< %s\n", c)
		default:
			fmt.Fprintf(&b, "    %s\n", c)
		}
	}
	if _, err := runWasmFile(ctx, m, f, opts); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// CheckTraces compares the traces of those files that are pinned, and lists what differs; with update it writes what it sees into them
// instead.
func CheckTraces(
	ctx context.Context, host *wasmhost.Host, module []byte, files []File, profile wasmhost.Profile, opts Options, update bool,
) ([]Difference, error) {
	var differences []Difference
	for _, f := range files {
		path := f.Path + TraceSuffix
		want, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pinned trace: %w", err)
		}
		got, err := Trace(ctx, host, module, f, profile, opts)
		if err != nil {
			return nil, err
		}
		switch line, was, is, same := firstDifference(string(want), string(got)); {
		case same:
		case update:
			if err := os.WriteFile(path, got, 0o644); err != nil {
				return nil, fmt.Errorf("pinned trace: %w", err)
			}
		default:
			differences = append(differences, Difference{fmt.Sprintf("%s:%d", path, line), was, is + "; refresh it with `waft test --update`"})
		}
	}
	return differences, nil
}

// firstDifference finds the first line in which two texts differ.
func firstDifference(want, got string) (line int, was, is string, same bool) {
	if want == got {
		return 0, "", "", true
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	at := func(lines []string, i int) string {
		if i < len(lines) {
			return strings.TrimSpace(lines[i])
		}
		return "the end"
	}
	for line = 1; at(w, line-1) == at(g, line-1); line++ {
		if line > len(w) && line > len(g) {
			break
		}
	}
	return line, at(w, line-1), at(g, line-1), false
}
