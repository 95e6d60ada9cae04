package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// count is what lines have said so far. The zero value has seen none. A test with subtests is not counted, its subtests are; unless it skips itself, or failed and none
// of them did.
type count struct {
	// sums says that only what programs say of themselves counts: what fails in a run of `go test -fuzz` may be run again.
	sums bool

	passed, failed, skipped int
	// failures and skips are what the summary names.
	failures, skips []string
	// seen is what failures had when make last said that a recipe failed: one of whose tests some failed is not named once more.
	seen int

	part
}

// part is what lines have said of the package whose lines come.
type part struct {
	// tests are those that were begun, and latest where each of a name is that was begun last.
	tests  []tried
	latest map[string]int
	// under is how many of them are under way.
	under int
	// test is whose log comes, and said the last that each logged, which is why it was skipped, if it was.
	test string
	said map[string]string
	// finished: the program has said what came of its tests, as the last of it. Else it was ended, and there may be tests that were not begun.
	finished bool
	// panicked is what the latest panic said, and status how the program ended, where somebody says it.
	panicked, status string
}

// tried is a test that was begun; verdict is empty until it has ended.
type tried struct{ name, verdict string }

var (
	// What a test has printed without an end of the line stands before these.
	runLine    = regexp.MustCompile(`^(?:\S.*)?=== RUN   (\S+)$`)
	whoseLine  = regexp.MustCompile(`^(?:\S.*)?=== (?:NAME|CONT)  (\S+)$`)
	resultLine = regexp.MustCompile(`--- (PASS|FAIL|SKIP): (\S+) \(\d+\.\d+s\)$`)

	logLine     = regexp.MustCompile(`^ +\S+\.go:\d+: (.*)$`)
	finishLine  = regexp.MustCompile(`(?:PASS|FAIL)$`)
	panicLine   = regexp.MustCompile(`^panic: (.*)$`)
	statusLine  = regexp.MustCompile(`^(exit status \d+|signal: .*)$`)
	packageLine = regexp.MustCompile(`^(ok  |FAIL)\t(\S+)[\t ](.*)$`)
	// What `waft test`, tools/fuzz.sh and bench/interop end with.
	sumLine    = regexp.MustCompile(`^(\d+) passed, (\d+) failed(?:, .*)?$`)
	failedLine = regexp.MustCompile(`^(?:failed: |FAIL )(\S.*)$`)
	// What make says of a recipe, of what it has no rule for, and with -k of a target that it did not try since another failed.
	makeLine    = regexp.MustCompile(`^make(?:\[\d+\])?: \*\*\* \[(?:[^:\]]*:\d+: )?([^\]]+)\] (.+)$`)
	noRuleLine  = regexp.MustCompile(`^make(?:\[\d+\])?: \*\*\* (No rule to make target .+?)(?:\.  Stop)?\.?$`)
	untriedLine = regexp.MustCompile(`^make(?:\[\d+\])?: Target '(.+)' not remade because of errors\.$`)
	// errorLine is how a recipe ends by itself: from firstSignal on a shell says that a signal ended what it ran.
	errorLine = regexp.MustCompile(`^Error (\d+)`)
)

const firstSignal = 129

// line takes the next line.
func (c *count) line(text string) {
	if !c.sums && c.testLine(text) {
		return
	}
	if m := makeLine.FindStringSubmatch(text); m != nil {
		c.recipeFails(m[1], m[2])
	} else if m := noRuleLine.FindStringSubmatch(text); m != nil {
		c.fail(m[1])
		c.seen = len(c.failures)
	} else if m := untriedLine.FindStringSubmatch(text); m != nil {
		c.fail(m[1] + ": not tried, since something that it needs failed")
		c.seen = len(c.failures)
	} else if c.under > 0 {
		return // what a test or its processes say of themselves is not what came of the test
	} else if m := sumLine.FindStringSubmatch(text); m != nil {
		passed, _ := strconv.Atoi(m[1])
		failed, _ := strconv.Atoi(m[2])
		c.passed, c.failed = c.passed+passed, c.failed+failed
		if failed > 0 && len(c.failures) == c.seen {
			c.failures = append(c.failures, text)
		}
	} else if m := failedLine.FindStringSubmatch(text); m != nil {
		c.failures = append(c.failures, m[1])
	}
}

// recipeFails takes how make says that a recipe ended.
func (c *count) recipeFails(target, how string) {
	signalled := true
	if m := errorLine.FindStringSubmatch(how); m != nil {
		code, _ := strconv.Atoi(m[1])
		signalled = code >= firstSignal
	}
	if signalled && len(c.tests) > 0 { // go test has not lived to say it
		c.status = how
		c.packageEnds(target, true, how)
	}
	if signalled || len(c.failures) == c.seen {
		c.fail(target + ": " + how)
	}
	c.seen = len(c.failures)
}

// testLine takes a line of `go test -v`, and says whether it is one.
func (c *count) testLine(text string) bool {
	if m := logLine.FindStringSubmatch(text); m != nil {
		if c.said == nil {
			c.said = map[string]string{}
		}
		c.said[c.test] = m[1]
	} else if m := runLine.FindStringSubmatch(text); m != nil {
		c.begin(m[1])
	} else if m := whoseLine.FindStringSubmatch(text); m != nil {
		c.test = m[1]
	} else if m := resultLine.FindStringSubmatch(text); m != nil {
		c.result(m[2], m[1])
	} else if c.under == 0 && finishLine.MatchString(text) {
		c.finished = true
	} else if m := panicLine.FindStringSubmatch(text); m != nil {
		c.panicked = text
	} else if m := statusLine.FindStringSubmatch(text); m != nil {
		c.status = text
	} else if m := packageLine.FindStringSubmatch(text); m != nil {
		c.packageEnds(m[2], m[1] == "FAIL", m[3])
	} else {
		return false
	}
	return true
}

// begin takes that a test runs; one of its name may have run before.
func (p *part) begin(name string) {
	if p.latest == nil {
		p.latest = map[string]int{}
	}
	p.latest[name] = len(p.tests)
	p.tests = append(p.tests, tried{name: name})
	p.under++
	p.test, p.finished = name, false
}

// result takes how a test ended. Of a test that was not begun some other program speaks, whose output a test shows. The last word is go test's.
func (p *part) result(name, verdict string) {
	i, begun := p.latest[name]
	if !begun {
		return
	}
	if p.tests[i].verdict == "" {
		p.under--
	}
	p.tests[i].verdict, p.test = verdict, name
}

func (c *count) fail(what string) {
	c.failed++
	c.failures = append(c.failures, what)
}

// packageEnds counts the tests of a package. how is the end of its line: how long it took, or why there was nothing to run.
func (c *count) packageEnds(pkg string, failed bool, how string) {
	before, undone := c.failed, false
	for _, r := range c.tests {
		name := strings.TrimSpace(pkg + " " + r.name)
		switch {
		case r.verdict == "SKIP":
			c.skipped++
			c.skips = append(c.skips, name+": "+c.why(r.name))
		case r.verdict == "" && failed:
			undone = true
			if !c.any(r.name, func(part tried) bool { return part.verdict == "" }) {
				c.fail(name + ": did not end: " + c.ending(how))
			}
		case r.verdict == "FAIL" && !c.any(r.name, func(part tried) bool { return part.verdict == "FAIL" }):
			c.fail(name)
		case r.verdict != "PASS" || c.any(r.name, func(tried) bool { return true }):
			// Its subtests are counted; or nobody said that it ended and the package is well, so it was another program's.
		default:
			c.passed++
		}
	}
	broken := len(c.tests) > 0 && !c.finished
	switch {
	case failed && !undone && (c.failed == before || broken):
		c.fail(strings.TrimSpace(pkg + ": " + c.ending(how))) // it does not build, or it ended between tests
	case strings.Contains(how, "[no tests to run]"):
		c.fail(pkg + ": it has no test of the name that was to run")
	}
	c.part = part{}
}

// ending is why a package ended that failed; how is what there is to say else.
func (p *part) ending(how string) string {
	switch {
	case p.panicked != "" && !p.finished: // else it was another program's
		return p.panicked
	case p.status != "":
		return p.status
	case len(p.tests) > 0 && !p.finished:
		return "the program did before"
	}
	return how
}

// any says whether a test has a subtest of which is is true.
func (p *part) any(test string, is func(tried) bool) bool {
	return slices.ContainsFunc(p.tests, func(r tried) bool { return strings.HasPrefix(r.name, test+"/") && is(r) })
}

func (p *part) why(test string) string {
	if reason := p.said[test]; reason != "" {
		return reason
	}
	return "it does not say why"
}

// end is told how the command ended, once its lines are over, and which signal was to end it; nil: none was.
func (c *count) end(command string, err error, told os.Signal) {
	if told != nil {
		err = fmt.Errorf("ended by a signal (%s), so that not all of it was tried", told)
	}
	if len(c.tests) > 0 { // so that go test said nothing more of it
		if err != nil {
			c.status = err.Error()
		}
		c.packageEnds("", err != nil, "")
	}
	var exit *exec.ExitError
	signalled := told != nil || errors.As(err, &exit) && !exit.Exited()
	switch {
	case err != nil && (signalled || len(c.failures) == 0):
		c.fail(command + ": " + err.Error())
	case c.passed+c.failed+c.skipped+len(c.failures) == 0:
		c.fail(command + ": it succeeded, and nothing was run")
	}
}

func (c *count) print(w io.Writer, name string, took time.Duration) {
	fmt.Fprintln(w)
	for _, s := range c.skips {
		fmt.Fprintf(w, "skipped: %s\n", s)
	}
	for _, f := range c.failures {
		fmt.Fprintf(w, "failed: %s\n", f)
	}
	fmt.Fprintf(w, "%s: %d passed, %d failed, %d skipped in %s\n", name, c.passed, c.failed, c.skipped, took.Round(time.Second))
}
