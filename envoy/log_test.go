package envoy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLogKeepsTheLastLines(t *testing.T) {
	var log Log
	fmt.Fprint(&log, "one\ntw")
	fmt.Fprint(&log, "o\nthr")
	if got := log.Lines(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("lines = %q", got)
	}
	at := log.Position()
	fmt.Fprint(&log, "ee\nfour\n")
	got, next := log.Since(at)
	if !slices.Equal(got, []string{"three", "four"}) || next != 4 {
		t.Errorf("since %d = %q, %d", at, got, next)
	}
	if got, _ := log.Since(next); len(got) != 0 {
		t.Errorf("since the end = %q", got)
	}
	for i := range logLines + 5 {
		fmt.Fprintf(&log, "line %d\n", i)
	}
	lines := log.Lines()
	if len(lines) != logLines || lines[0] != "line 5" || lines[logLines-1] != fmt.Sprintf("line %d", logLines+4) {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

func TestLogBoundsALine(t *testing.T) {
	var log Log
	for range 3 {
		fmt.Fprint(&log, strings.Repeat("x", logLineBytes))
	}
	fmt.Fprint(&log, "\nnext\n")
	lines := log.Lines()
	if len(lines) != 2 || len(lines[0]) != logLineBytes || lines[1] != "next" {
		t.Errorf("%d lines, the first of %d bytes", len(lines), len(lines[0]))
	}
}

func TestReasons(t *testing.T) {
	const (
		wasmError = "[2026-11-22 18:17:29.167][25646][error][wasm] [source/extensions/common/wasm/context.cc:1157] wasm log authz: "
		generic   = "[2026-11-22 18:17:29.171][25646][critical][wasm] [source/extensions/common/wasm/wasm.cc:479] Plugin configured to fail closed failed to load"
		unable    = "[2026-11-22 18:17:27.677][25637][critical][main] [source/server/config_validation/server.cc:76] error initializing configuration 'x.json': Unable to create Wasm plugin authz"
	)
	for _, test := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{name: "nothing"},
		{name: "what is no error", lines: []string{"[2026-11-22 18:16:10.593][24935][info][main] [source/server/server.cc:813] Starting", "configuration 'ok.json' OK", "[2026-11-22 18:16:10.593][24935][warning][main] [source/server/server.cc:1059] There is no configured limit"}},
		{
			name: "a refused configuration",
			lines: []string{
				strings.Replace(wasmError, "error", "critical", 1) + `rules[0].path: must start with "/"`,
				"[2026-11-22 18:17:27.673][25637][error][wasm] [source/extensions/common/wasm/wasm.cc:104] Wasm VM failed Failed to configure base Wasm plugin",
				"[2026-11-22 18:17:27.675][25637][critical][wasm] [source/extensions/common/wasm/wasm.cc:626] Plugin authz failed to load",
				generic, unable,
			},
			want: []string{`authz: rules[0].path: must start with "/"`, "Failed to configure base Wasm plugin", "Unable to create Wasm plugin authz"},
		},
		{
			name: "a panic of Go in pieces",
			lines: []string{
				wasmError + "panic: ", wasmError + "index out of range", wasmError, wasmError, wasmError + "goroutine ", wasmError + "1", wasmError + " [", wasmError + "running",
				"[2026-11-22 18:17:29.167][25646][error][wasm] [source/extensions/common/wasm/wasm_vm.cc:38] Function: proxy_on_configure failed: Uncaught RuntimeError: unreachable",
				"Proxy-Wasm plugin in-VM backtrace:", "  0:  0x135823 - runtime.abort",
				generic,
			},
			want: []string{"authz: panic: index out of range", "Function: proxy_on_configure failed: Uncaught RuntimeError: unreachable"},
		},
		{
			name: "a panic while the VM starts, which has no filter yet",
			lines: func() []string {
				var lines []string
				for _, piece := range []string{"panic: ", "dies on purpose", "", "", "goroutine ", "1", " [", "running", "]:"} {
					lines = append(lines, strings.Replace(wasmError, " authz", "", 1)+piece)
				}
				return append(lines, generic, unable)
			}(),
			want: []string{"panic: dies on purpose", "Unable to create Wasm plugin authz"},
		},
		{
			name:  "whole lines of a module stay apart, and each is told once",
			lines: []string{wasmError + "first", wasmError + "second", wasmError + "first"},
			want:  []string{"authz: first", "authz: second"},
		},
		{
			name:  "a file of a slot is refused",
			lines: []string{"[2026-11-22 18:20:03.456][26667][warning][config] [source/extensions/config_subscription/filesystem/filesystem_subscription_impl.cc:81] Filesystem config update rejected: Invalid path: /absent.wasm"},
			want:  []string{"Invalid path: /absent.wasm"},
		},
		{
			name:  "a long one is cut",
			lines: []string{unable + strings.Repeat("x", 2*reasonBytes)},
			want:  []string{("Unable to create Wasm plugin authz" + strings.Repeat("x", reasonBytes))[:reasonBytes] + " …"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Reasons(test.lines)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseLogLine(t *testing.T) {
	for _, test := range []struct {
		line string
		want LogLine
	}{
		{"[2026-11-22 18:17:27.673][25637][info][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log headers: hello: there", LogLine{"info", "wasm", true, "headers", "hello: there"}},
		{"[2026-11-22 18:17:27.673][25637][info][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log headers root vm: hello", LogLine{"info", "wasm", true, "headers", "hello"}},
		{"[2026-11-22 18:17:27.673][25637][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log: panic: ", LogLine{"error", "wasm", true, "", "panic: "}},
		{"[2026-11-22 18:17:27.673][25637][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log: ", LogLine{"error", "wasm", true, "", ""}},
		{"[2026-11-22 18:17:27.673][25637][warning][config] [x.cc:1] wasm log headers: no guest", LogLine{"warning", "config", false, "", "wasm log headers: no guest"}},
		{"configuration 'ok.json' OK", LogLine{Message: "configuration 'ok.json' OK"}},
		{"", LogLine{}},
	} {
		if got := ParseLogLine(test.line); got != test.want {
			t.Errorf("ParseLogLine(%q) = %+v, want %+v", test.line, got, test.want)
		}
	}
}

// FuzzReasons: what a module logs comes from outside.
func FuzzReasons(f *testing.F) {
	f.Add("[2026-11-22 18:17:29.167][1][error][wasm] [c.cc:1] wasm log one: panic: \n[2026-11-22 18:17:29.167][1][error][wasm] [c.cc:1] wasm log one: ")
	f.Add("[][][][] \n[a][b][error][wasm] wasm log :")
	f.Fuzz(func(t *testing.T, text string) {
		for _, reason := range Reasons(strings.Split(text, "\n")) {
			if reason == "" || len(reason) > reasonBytes+len(" …") {
				t.Errorf("a reason of %d bytes", len(reason))
			}
		}
	})
}
