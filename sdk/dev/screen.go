package dev

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waft-project/waft/envoy"
)

// requestMark begins Envoy's line of a finished request.
const requestMark = "WAFT-REQUEST "

// requestFormat is the format of those lines, in Envoy's words: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
const requestFormat = requestMark + `%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% -> %RESPONSE_CODE% in %DURATION% ms, ` +
	`%BYTES_RECEIVED% B in, %BYTES_SENT% B out, %RESPONSE_CODE_DETAILS%` + "\n"

// maxPartial bounds a line that Envoy has not ended, in bytes.
const maxPartial = 64 << 10

// screen shows what happens, a line each. It is what Envoy writes to, too; it may be used concurrently, and never fails.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	partial []byte
	open    bool // the last line of Envoy's was shown, so what belongs to it is
}

func newScreen(out io.Writer) *screen { return &screen{out: out} }

// sayf shows something of our own. Further lines are put under the first.
func (s *screen) sayf(what, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show(what, fmt.Sprintf(format, args...))
}

func (s *screen) show(what, text string) {
	text = strings.TrimRight(text, "\n")
	text = strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", len("15:04:05.000 request ")))
	fmt.Fprintf(s.out, "%s %-7s %s\n", time.Now().Format("15:04:05.000"), what, text)
}

// Write takes what Envoy writes, in pieces of any size.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = append(s.partial, p...)
	for {
		line, rest, ended := bytes.Cut(s.partial, []byte("\n"))
		if !ended {
			if len(s.partial) > maxPartial {
				s.partial = s.partial[:0]
			}
			return len(p), nil
		}
		s.line(string(line))
		s.partial = append(s.partial[:0], rest...)
	}
}

// crossing is Envoy's trace of a call between itself and a guest.
var crossing = regexp.MustCompile(`^\[(host->vm|host<-vm|vm->host|vm<-host)\] (.*)$`)

// line shows one line of Envoy's, if it is of interest.
func (s *screen) line(line string) {
	if request, ok := strings.CutPrefix(line, requestMark); ok {
		s.show("request", request)
		return
	}
	parsed := envoy.ParseLogLine(line)
	switch {
	case parsed.Level == "":
		// The rest of a message of several lines: a stack, for example.
		if s.open {
			s.show("", parsed.Message)
		}
		return
	case parsed.Guest:
		s.show("log", parsed.Level+": "+parsed.Message)
		s.open = true
		return
	case parsed.Logger == "wasm" && parsed.Level == "trace":
		if m := crossing.FindStringSubmatch(parsed.Message); m != nil {
			s.show("trace", arrows[m[1]]+" "+m[2])
		}
	case parsed.Level == "error" || parsed.Level == "critical":
		s.show("envoy", parsed.Message)
		s.open = true
		return
	}
	s.open = false
}

// arrows show who calls: into the guest and back, and out of it and back.
var arrows = map[string]string{"host->vm": ">", "host<-vm": "<", "vm->host": "  >", "vm<-host": "  <"}

// metricPrefix is what Envoy puts before the names of guests' metrics.
const metricPrefix = "wasmcustom."

// showMetrics shows the filter's metrics that have changed.
func (s *session) showMetrics(ctx context.Context) {
	if s.runner == nil {
		return
	}
	stats, err := s.runner.admin.Stats(ctx, "^"+regexp.QuoteMeta(metricPrefix))
	if err != nil {
		return // it is busy, or ending: the loop hears of that
	}
	now := maps.Clone(stats.Values)
	for name, h := range stats.Histograms {
		now[name] = h.Count
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if value, old := now[name], s.runner.metrics[name]; value != old {
			s.screen.sayf("metric", "%s %d (%+d)", strings.TrimPrefix(name, metricPrefix), value, value-old)
		}
	}
	s.runner.metrics = now
}
