package symbolize

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/build"
)

// FuzzLog reads whatever an Envoy may have written, and a module through it. Nothing but a crash of a filter changes a log, nothing of it is lost, and a log that is
// symbolized says so no further.
func FuzzLog(f *testing.F) {
	const guest = "[2026-01-01 00:00:00.000][1][error][wasm] [source/extensions/common/wasm/context.cc:1] wasm log dying dying: "
	f.Add([]byte(guest + "fatal error: \n" + guest + "out of memory\n" + guest + "\n" + guest + "goroutine \n" + guest + "1\n" + guest + "\n" + guest + "\n"))
	f.Add([]byte("[2026-01-01 00:00:00.000][1][error][wasm] [source/extensions/common/wasm/wasm_vm.cc:1] Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\n" +
		"Proxy-Wasm plugin in-VM backtrace:\n  0:  0x15f2 - .$7(i32,i32)\n  1:  0x1c - unknown(function index: 0)\n  2: wasm-function[99999999999]\n"))
	f.Add([]byte(guest + "first\n[2026-01-01 00:00:00.000][1][error][wasm] [a.cc:1] wasm log b b: panic: second\nnot Envoy's\r\n\r\n"))
	f.Add([]byte("no end, and \xff"))
	symbols := build.Symbols{Functions: map[uint32]build.Symbol{0: {Name: "proxy_log"}, 7: {Name: "main.(*visit).OnRequestHeaders", Place: "filter.go:12"}}}
	f.Fuzz(func(t *testing.T, log []byte) {
		said := func(log []byte, symbols build.Symbols) (string, error) {
			var out strings.Builder
			err := Log(&out, bytes.NewReader(log), symbols)
			return out.String(), err
		}
		got, err := said(log, symbols)
		if err != nil {
			for line := range bytes.Lines(log) {
				if len(line) >= maxLine-1 {
					return
				}
			}
			t.Fatalf("%q: %v", log, err)
		}
		// What a scanner makes of lines, and an end.
		var lines strings.Builder
		crash := false
		for line := range strings.Lines(string(log)) {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			lines.WriteString(line + "\n")
			parsed := envoy.ParseLogLine(line)
			crash = crash || parsed.Guest && parsed.Level == "error" && lastWords.MatchString(parsed.Message)
		}
		if none, err := said(log, build.Symbols{}); err != nil || !crash && none != lines.String() {
			t.Errorf("%q without symbols is %q (%v)", log, none, err)
		}
		if got != "" && !strings.HasSuffix(got, "\n") || got == "" && len(log) > 0 {
			t.Errorf("%q is %q", log, got)
		}
		// What a filter said stands there still, whatever was put together: but for ends of lines.
		plain, _ := said(log, build.Symbols{})
		rest := strings.ReplaceAll(plain, "\n", "")
		for line := range strings.Lines(lines.String()) {
			message := strings.TrimSuffix(envoy.ParseLogLine(strings.TrimSuffix(line, "\n")).Message, "\n")
			at := strings.Index(rest, message)
			if at < 0 {
				t.Fatalf("%q is %q, which lacks %q", log, plain, message)
			}
			rest = rest[at+len(message):]
		}
		broken := errors.New("the disk is full")
		if err := Log(failing{broken}, bytes.NewReader(log), symbols); len(log) > 0 && !errors.Is(err, broken) {
			t.Errorf("%q is written nowhere: %v", log, err)
		}
	})
}

// failing is a writer that fails.
type failing struct{ err error }

func (w failing) Write([]byte) (int, error) { return 0, w.err }
