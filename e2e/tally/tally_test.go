package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// summaryMark stands before what is said at the end.
const summaryMark = "\n\n"

// summary runs a command under tally and returns what it says at the end, and whether it succeeded.
func summary(t *testing.T, sums bool, command ...string) (string, bool) {
	t.Helper()
	var out strings.Builder
	ok := run(nil, &out, sums, "what", command)
	text := out.String()
	said := text[strings.LastIndex(text, summaryMark)+len(summaryMark):]
	said, _, found := strings.Cut(said, " in ")
	if !found {
		t.Errorf("the last line does not say how long it took:\n%s", text)
	}
	return said, ok
}

// A module's tests, of every kind, as go test prints them.
func TestGoTest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module m\n\ngo 1.26\n",
		"good/good_test.go": `package good

import "testing"

func TestGood(t *testing.T) { t.Log("skipped for this reason? no") }

func TestParts(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "b" {
				t.Skip("b is not here; make b fetches it")
			}
		})
	}
}

func TestSilent(t *testing.T) { t.SkipNow() }
`,
		"odd/odd_test.go": `package odd

import ("fmt"; "os"; "testing")

func TestSkipsItself(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Skip("half of it is not here")
}

func TestShowsOutput(t *testing.T) {
	fmt.Fprintln(os.Stderr, "failed: x")
	fmt.Fprintln(os.Stderr, "2 passed, 3 failed")
	t.Logf("%s", "--- FAIL: TestOther (0.00s)\n--- SKIP: TestOther (0.00s)\n=== RUN   TestOther\n--- FAIL: TestShowsOutput (0.00s)")
	t.Logf("=== RUN   TestOther")
}

func TestEndsNoLine(t *testing.T) { fmt.Print("no end") }

func TestLast(t *testing.T) { fmt.Print("no end") }
`,
		"hangs/hangs_test.go": `package hangs

import "testing"

func TestA(t *testing.T) { t.Fail() }

func TestB(t *testing.T) { t.Run("part", func(t *testing.T) { select {} }) }

func TestC(t *testing.T) {}
`,
		"panics/panics_test.go": `package panics

import "testing"

func TestA(t *testing.T) { t.Fail() }

func TestB(t *testing.T) { go panic("boom"); select {} }

func TestC(t *testing.T) {}
`,
		"panicsitself/panics_test.go": `package panicsitself

import "testing"

func TestA(t *testing.T) { t.Fail() }

func TestB(t *testing.T) { panic("boom") }

func TestC(t *testing.T) {}
`,
		"none/none.go": "package none\n",
		"bad/bad_test.go": `package bad

import "testing"

func TestParts(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Run("b", func(t *testing.T) { t.Fail() })
}

func TestAfterItsParts(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Fail()
}
`,
		"ends/ends_test.go": `package ends

import ("os"; "testing")

func TestEnds(t *testing.T) { os.Exit(3) }
`,
		"broken/broken_test.go": "package broken\n\nvar x = y\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, args, want string
		ok               bool
	}{
		{"what is skipped is named", "./good", `skipped: m/good TestParts/b: b is not here; make b fetches it
skipped: m/good TestSilent: it does not say why
what: 2 passed, 0 failed, 2 skipped`, true},
		{"what skips itself or shows the output of others", "./odd", `skipped: m/odd TestSkipsItself: half of it is not here
what: 4 passed, 0 failed, 1 skipped`, true},
		{"what does not end is named", "-timeout 2s ./hangs", `failed: m/hangs TestA
failed: m/hangs TestB/part: did not end: panic: test timed out after 2s
what: 0 passed, 2 failed, 0 skipped`, false},
		{"what another goroutine ends is named", "./panics", `failed: m/panics TestA
failed: m/panics TestB: did not end: panic: boom
what: 0 passed, 2 failed, 0 skipped`, false},
		{"what a panic keeps from being tried is said", "./panicsitself", `failed: m/panicsitself TestA
failed: m/panicsitself TestB
failed: m/panicsitself: panic: boom [recovered, repanicked]
what: 0 passed, 3 failed, 0 skipped`, false},
		{"there is nothing to run", "./none", `failed: COMMAND: it succeeded, and nothing was run
what: 0 passed, 1 failed, 0 skipped`, false},
		{"what fails is named", "./good ./bad ./broken ./ends", `skipped: m/good TestParts/b: b is not here; make b fetches it
skipped: m/good TestSilent: it does not say why
failed: m/bad TestParts/b
failed: m/bad TestAfterItsParts
failed: m/broken: [build failed]
failed: m/ends TestEnds: did not end: the program did before
what: 4 passed, 4 failed, 2 skipped`, false},
		{"nothing runs", "-run Renamed ./good", `failed: m/good: it has no test of the name that was to run
what: 0 passed, 1 failed, 0 skipped`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			command := "cd " + dir + " && go test -vet=off -count 1 -v " + c.args
			said, ok := summary(t, false, "sh", "-c", command)
			said = strings.Replace(said, "sh -c "+command, "COMMAND", 1)
			if said != c.want || ok != c.ok {
				t.Errorf("ok %v, and it says\n%s\nwant\n%s", ok, said, c.want)
			}
		})
	}
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script, want string
		sums, ok           bool
	}{
		{"sums are added", `echo 3 passed, 0 failed; echo "2 passed, 0 failed, 4 not applicable" >&2`, "what: 5 passed, 0 failed, 0 skipped", true, true},
		{"what a sum counts is named", `echo failed: a; echo 3 passed, 1 failed; exit 1`, "failed: a\nwhat: 3 passed, 1 failed, 0 skipped", true, false},
		{"what waft test names", `echo "FAIL filters/a on envoy-1.40: it ends does not hold"; echo 3 passed, 1 failed; exit 1`,
			"failed: filters/a on envoy-1.40: it ends does not hold\nwhat: 3 passed, 1 failed, 0 skipped", true, false},
		{"a sum without names", `echo 3 passed, 1 failed; exit 1`, "failed: 3 passed, 1 failed\nwhat: 3 passed, 1 failed, 0 skipped", true, false},
		{"a target that was run again", `printf -- '--- FAIL: FuzzA (0.00s)\nFAIL\tm\t0.1s\n'; echo 1 passed, 0 failed`, "what: 1 passed, 0 failed, 0 skipped", true, true},
		{"a command that fails", `exit 3`, "failed: COMMAND: exit status 3\nwhat: 0 passed, 1 failed, 0 skipped", false, false},
		{"a command that is not there", `exec /nowhere/at/all`, "failed: COMMAND: exit status 127\nwhat: 0 passed, 1 failed, 0 skipped", false, false},
		{"make goes on after a part", `printf -- '=== RUN   TestA\n--- FAIL: TestA (0.00s)\nFAIL\nexit status 1\nFAIL\tm\t0.1s\nmake[1]: *** [Makefile:9: interop-a] Error 1\nmake[1]: *** [Makefile:12: .cache/b] Error 2\n'; exit 2`,
			"failed: m TestA\nfailed: .cache/b: Error 2\nwhat: 0 passed, 2 failed, 0 skipped", false, false},
		{"go test is interrupted", "echo '=== RUN   TestA'; echo '--- PASS: TestA (0.00s)'; echo '=== RUN   TestB'; echo '--- SKIP: TestB (0.00s)'; echo '=== RUN   TestC'; exit 1",
			"skipped: TestB: it does not say why\nfailed: TestC: did not end: exit status 1\nwhat: 1 passed, 1 failed, 1 skipped", false, false},
		{"a command that a signal ends", "echo failed: a; kill -KILL $$", "failed: a\nfailed: COMMAND: signal: killed\nwhat: 0 passed, 1 failed, 0 skipped", false, false},
		{"a command that does nothing", "true", "failed: COMMAND: it succeeded, and nothing was run\nwhat: 0 passed, 1 failed, 0 skipped", false, false},
		{"sums of nothing", "echo 0 passed, 0 failed", "failed: COMMAND: it succeeded, and nothing was run\nwhat: 0 passed, 1 failed, 0 skipped", true, false},
		{"the last line has no end", "printf '3 passed, 0 failed'", "what: 3 passed, 0 failed, 0 skipped", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			said, ok := summary(t, c.sums, "sh", "-c", c.script)
			said = strings.Replace(said, "sh -c "+c.script, "COMMAND", 1)
			if said != c.want || ok != c.ok {
				t.Errorf("ok %v, and it says\n%s\nwant\n%s", ok, said, c.want)
			}
		})
	}
}

// What make with -k does not try is named, whatever it is that failed.
func TestMake(t *testing.T) {
	t.Parallel()
	makefile := filepath.Join(t.TempDir(), "Makefile")
	text := "a: b\n\t@echo 1 passed, 0 failed\nb:\n\t@echo failed: x; false\nc: missing\nd:\n\t@echo failed: y; kill -KILL $$$$\ne:\n\t@kill -TERM $$$$\nf:\n\t@echo 2 passed, 0 failed\n"
	if err := os.WriteFile(makefile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	said, ok := summary(t, false, "make", "-k", "-j1", "--no-print-directory", "-f", makefile, "a", "c", "d", "e", "f")
	want := `failed: x
failed: a: not tried, since something that it needs failed
failed: No rule to make target 'missing', needed by 'c'
failed: c: not tried, since something that it needs failed
failed: y
failed: d: Killed
failed: e: Terminated
what: 2 passed, 5 failed, 0 skipped`
	if said != want || ok {
		t.Errorf("ok %v, and it says\n%s\nwant\n%s", ok, said, want)
	}
}

// A signal is named even where the command then says that all is well.
func TestSignal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		signal os.Signal
		script string
	}{
		{syscall.SIGTERM, "trap 'echo 2 passed, 0 failed; exit 0' TERM; echo ready; while :; do sleep 0.01; done"},
		{os.Interrupt, "echo ready; while [ ! -e told ]; do sleep 0.01; done; echo 2 passed, 0 failed"},
	} {
		t.Run(c.signal.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			signals := make(chan os.Signal) // unbuffered: once it is sent, it was taken
			var out strings.Builder
			read, to := io.Pipe()
			ok := false
			go func() {
				ok = run(signals, to, false, "what", []string{"sh", "-c", "cd " + dir + "; " + c.script})
				_ = to.Close()
			}()
			for lines := bufio.NewScanner(read); lines.Scan(); {
				if lines.Text() != "ready" {
					out.WriteString(lines.Text() + "\n")
					continue
				}
				signals <- c.signal
				if err := os.WriteFile(filepath.Join(dir, "told"), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
			if said := out.String(); ok || !strings.Contains(said, "ended by a signal ("+c.signal.String()+"), so that not all of it was tried") || !strings.Contains(said, "2 passed, 1 failed") {
				t.Errorf("ok %v, and it says\n%s", ok, said)
			}
		})
	}
}

// What is shown without being done is shown in a tree where nothing was built, too.
func TestMakeShows(t *testing.T) {
	t.Parallel()
	makefile, err := filepath.Abs("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"interop", "fuzz", "e2e"} {
		cmd := exec.CommandContext(t.Context(), "make", "-n", "-f", makefile, target)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "ENVOY=anything")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "bin/tally") {
			t.Errorf("make -n %s: %v\n%s", target, err, out)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var got []string
	l := lines{to: func(text string) { got = append(got, text) }}
	for _, part := range []string{"a", "b\n\nc", "\n" + strings.Repeat("x", 2*lineLimit), "\nno end"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("wrote %d of %d bytes: %v", n, len(part), err)
		}
	}
	l.end()
	if want := []string{"ab", "", "c", strings.Repeat("x", lineLimit), "no end"}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
}
