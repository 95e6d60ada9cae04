package filtertest

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// maxLogBytes bounds what is kept of Envoy's log in one run of a file.
const maxLogBytes = 64 << 20

// envoyLog keeps what Envoy writes to its stderr. It may be used concurrently.
type envoyLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at every write
}

func newEnvoyLog() *envoyLog { return &envoyLog{more: make(chan struct{})} }

// Write keeps a piece of the log, within the limit.
func (l *envoyLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len()+len(p) <= maxLogBytes {
		l.text.Write(p)
	}
	close(l.more)
	l.more = make(chan struct{})
	return len(p), nil
}

// mark is the place that the log has reached.
func (l *envoyLog) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Len()
}

// messages gives the guests' messages since a mark, and a channel that is closed when there is more to read.
func (l *envoyLog) messages(mark int) ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return guestMessages(string(l.text.Bytes()[mark:])), l.more
}

var (
	// envoyLine begins a line of Envoy's own: [2025-01-02 03:04:05.678][123][info][wasm] [source/….cc:1] text
	envoyLine = regexp.MustCompile(`^\[\d{4}-\d\d-\d\d [^\]]*\]\[\d+\]\[(\w+)\]\[(\w+)\] (?:\[[^\]]*\] )?(.*)$`)
	// guestText is what Envoy writes for a guest's message: "wasm log", the plugin's name, root id and VM id, a colon.
	guestText = regexp.MustCompile(`^wasm log[^:]*: ?(.*)$`)
)

// guestMessages takes the guests' messages out of a log. A message may have several lines; a line that Envoy did not begin belongs to
// the one before it. What Envoy says of a VM that failed is taken too: the other backend has it as well.
func guestMessages(text string) []string {
	var out []string
	open := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		m := envoyLine.FindStringSubmatch(line)
		switch {
		case m == nil && open:
			out[len(out)-1] += "\n" + line
		case m == nil:
		case m[2] != "wasm":
			open = false
		default:
			msg := m[3]
			if g := guestText.FindStringSubmatch(msg); g != nil {
				msg = g[1]
			} else if m[1] != "error" && m[1] != "critical" {
				open = false
				continue
			}
			out = append(out, msg)
			open = true
		}
	}
	return out
}
