package envoy

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLimitsBroken(t *testing.T) {
	limits := Limits{CPU: 10 * time.Second, Wall: time.Minute, Memory: 100 << 20}
	for _, test := range []struct {
		name   string
		limits Limits
		used   usage
		wall   time.Duration
		want   Outcome
	}{
		{"within all", limits, usage{cpu: 10 * time.Second, memory: 100 << 20}, time.Minute, ""},
		{"computes too long", limits, usage{cpu: 11 * time.Second}, 12 * time.Second, Rejected},
		{"too much memory", limits, usage{memory: 101 << 20}, time.Second, Rejected},
		{"too long on a starved machine", limits, usage{cpu: 2 * time.Second}, 61 * time.Second, Inconclusive},
		{"computes too long and too long", limits, usage{cpu: 11 * time.Second}, 61 * time.Second, Rejected},
		{"no limits", Limits{}, usage{cpu: time.Hour, memory: 1 << 40}, time.Hour, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			broken := test.limits.broken(test.used, test.wall)
			if got := outcome(broken); got != test.want {
				t.Errorf("broken = %v, want %q", broken, test.want)
			}
		})
	}
}

func outcome(broken *breach) Outcome {
	if broken == nil {
		return ""
	}
	return broken.outcome
}

// exits runs a shell so that judge gets real ends of a process.
func exits(t *testing.T, script string) error {
	t.Helper()
	return exec.Command("/bin/sh", "-c", script).Run()
}

func TestJudge(t *testing.T) {
	const refused = "[2026-11-22 18:17:27.677][1][critical][main] [s.cc:76] error initializing configuration 'x': "
	for _, test := range []struct {
		name   string
		exit   error
		broken *breach
		lines  []string
		want   Outcome
		reason string
	}{
		{name: "exit 0", want: Accepted},
		{name: "exit 0 with errors in the log", lines: []string{refused + "x"}, want: Accepted},
		{name: "refused", exit: exits(t, "exit 1"), lines: []string{refused + "Unable to create Wasm plugin authz"}, want: Rejected, reason: "Unable to create Wasm plugin authz"},
		{name: "refused without a word", exit: exits(t, "exit 3"), want: Rejected, reason: "exit status 3"},
		{name: "a crash", exit: exits(t, "kill -SEGV $$"), want: Rejected, reason: syscall.SIGSEGV.String()},
		{name: "killed by somebody", exit: exits(t, "kill -KILL $$"), want: Inconclusive, reason: "killed"},
		{name: "the module's file is gone", exit: exits(t, "exit 1"), lines: []string{refused + "Invalid path: /x.wasm"}, want: Inconclusive, reason: "/x.wasm"},
		{name: "the disk is full", exit: exits(t, "exit 1"), lines: []string{refused + "write: No space left on device"}, want: Inconclusive},
		{name: "an Envoy without V8", exit: exits(t, "exit 1"), lines: []string{refused + "V8: compiled without support"}, want: Inconclusive},
		{name: "a limit", exit: errors.New("signal: killed"), broken: &breach{Rejected, "too much"}, lines: []string{refused + "x"}, want: Rejected, reason: "too much; x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdict := judge(test.exit, test.broken, test.lines)
			if verdict.Outcome != test.want || !strings.Contains(verdict.Reason(), test.reason) {
				t.Errorf("verdict %+v, want %s because of %q", verdict, test.want, test.reason)
			}
			if (verdict.Outcome == Accepted) != (len(verdict.Reasons) == 0) {
				t.Errorf("outcome %s with reasons %q", verdict.Outcome, verdict.Reasons)
			}
		})
	}
}

func TestDefaultLimitsGrowWithWhatIsLoaded(t *testing.T) {
	small, large := DefaultLimits(1, 3<<20), DefaultLimits(3, 30<<20)
	if small.CPU >= large.CPU || small.Wall >= large.Wall || small.Memory >= large.Memory || small.Wall <= small.CPU {
		t.Errorf("small %+v, large %+v", small, large)
	}
}
