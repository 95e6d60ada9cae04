package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// summary runs a command under tally and returns what it says at the end, and whether it succeeded.
func summary(t *testing.T, sums bool, command ...string) (string, bool) {
	t.Helper()
	var out strings.Builder
	ok := run(t.Context(), &out, sums, "what", command)
	text := out.String()
	said := text[strings.LastIndex(text, "\n\n")+2:]
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
		{"what fails is named", "./...", `skipped: m/good TestParts/b: b is not here; make b fetches it
skipped: m/good TestSilent: it does not say why
failed: m/bad TestParts/b
failed: m/bad TestAfterItsParts
failed: m/broken: [build failed]
failed: m/ends: 0.00s
what: 4 passed, 4 failed, 2 skipped`, false},
		{"nothing runs", "-run Renamed ./good", `failed: m/good: it has no test of the name that was to run
what: 0 passed, 1 failed, 0 skipped`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, ok := summary(t, false, "sh", "-c", "cd "+dir+" && go test -vet=off -count 1 -v "+c.args)
			// How long the package ran that ended stands there, too.
			if i := strings.Index(said, "m/ends: "); i >= 0 {
				j := i + strings.Index(said[i:], "\n")
				said = said[:i] + "m/ends: 0.00s" + said[j:]
			}
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
		{"a command that fails", `exit 3`, "failed: sh -c exit 3: exit status 3\nwhat: 0 passed, 1 failed, 0 skipped", false, false},
		{"a command that is not there", `exec /nowhere/at/all`, "failed: sh -c exec /nowhere/at/all: exit status 127\nwhat: 0 passed, 1 failed, 0 skipped", false, false},
		{"make goes on after a part", `printf -- '--- FAIL: TestA (0.00s)\nFAIL\tm\t0.1s\nmake[1]: *** [Makefile:9: interop-a] Error 1\nmake[1]: *** [Makefile:12: .cache/b] Error 2\n'; exit 2`,
			"failed: m TestA\nfailed: .cache/b: Error 2\nwhat: 0 passed, 2 failed, 0 skipped", false, false},
		{"go test is interrupted", `echo "--- PASS: TestA (0.00s)"; echo "--- SKIP: TestB (0.00s)"; exit 1`,
			"skipped: TestB: it does not say why\nfailed: sh -c echo \"--- PASS: TestA (0.00s)\"; echo \"--- SKIP: TestB (0.00s)\"; exit 1: exit status 1\nwhat: 1 passed, 1 failed, 1 skipped", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			said, ok := summary(t, c.sums, "sh", "-c", c.script)
			if said != c.want || ok != c.ok {
				t.Errorf("ok %v, and it says\n%s\nwant\n%s", ok, said, c.want)
			}
		})
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
	if want := []string{"ab", "", "c", strings.Repeat("x", lineLimit)}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
}
