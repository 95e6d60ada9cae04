package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// count is what lines have said so far. The zero value has seen none. A test with subtests is not counted, its subtests are; unless it failed and none of them did.
type count struct {
	// sums says that only what programs say of themselves counts: what fails in a run of `go test -fuzz` may be run again.
	sums bool

	passed, failed, skipped int
	// failures and skips are what the summary names.
	failures, skips []string
	// seen is what failures had when make last said that a recipe failed: one of whose tests some failed is not named once more.
	seen int

	// Of the package whose lines come:
	results []result
	// test is whose log comes, and said the last that each logged, which is why it was skipped, if it was.
	test string
	said map[string]string
}

type result struct{ name, verdict string }

var (
	whoseLine   = regexp.MustCompile(`^=== (?:RUN|NAME|CONT) +(\S+)$`)
	resultLine  = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+) \(`)
	logLine     = regexp.MustCompile(`^ +\S+\.go:\d+: (.*)$`)
	packageLine = regexp.MustCompile(`^(ok  |FAIL)\t(\S+)[\t ](.*)$`)
	// What `waft test`, tools/fuzz.sh and bench/interop end with.
	sumLine    = regexp.MustCompile(`^(\d+) passed, (\d+) failed(?:, .*)?$`)
	failedLine = regexp.MustCompile(`^(?:failed: |FAIL )(\S.*)$`)
	makeLine   = regexp.MustCompile(`^make(?:\[\d+\])?: \*\*\* \[(?:[^:\]]*:\d+: )?([^\]]+)\] (Error \d+.*)$`)
)

// line takes the next line.
func (c *count) line(text string) {
	if !c.sums && c.testLine(text) {
		return
	}
	if m := sumLine.FindStringSubmatch(text); m != nil {
		passed, _ := strconv.Atoi(m[1])
		failed, _ := strconv.Atoi(m[2])
		c.passed, c.failed = c.passed+passed, c.failed+failed
		if failed > 0 && len(c.failures) == c.seen {
			c.failures = append(c.failures, text)
		}
	} else if m := failedLine.FindStringSubmatch(text); m != nil {
		c.failures = append(c.failures, m[1])
	} else if m := makeLine.FindStringSubmatch(text); m != nil {
		if len(c.failures) == c.seen {
			c.fail(m[1] + ": " + m[2])
		}
		c.seen = len(c.failures)
	}
}

// testLine takes a line of `go test -v`, and says whether it is one.
func (c *count) testLine(text string) bool {
	if m := whoseLine.FindStringSubmatch(text); m != nil {
		c.test = m[1]
	} else if m := resultLine.FindStringSubmatch(text); m != nil {
		c.results = append(c.results, result{m[2], m[1]})
		c.test = m[2]
	} else if m := logLine.FindStringSubmatch(text); m != nil {
		if c.said == nil {
			c.said = map[string]string{}
		}
		c.said[c.test] = m[1]
	} else if m := packageLine.FindStringSubmatch(text); m != nil {
		c.packageEnds(m[2], m[1] == "FAIL", m[3])
	} else {
		return false
	}
	return true
}

func (c *count) fail(what string) {
	c.failed++
	c.failures = append(c.failures, what)
}

// packageEnds counts the tests of a package. how is the end of its line: how long it took, or why there was nothing to run.
func (c *count) packageEnds(pkg string, failed bool, how string) {
	before := c.failed
	for _, r := range c.results {
		switch {
		case r.verdict == "FAIL" && !c.has(r.name, "FAIL"):
			c.fail(strings.TrimSpace(pkg + " " + r.name))
		case r.verdict == "FAIL" || c.has(r.name, ""):
			// Its subtests are counted.
		case r.verdict == "SKIP":
			c.skipped++
			c.skips = append(c.skips, strings.TrimSpace(pkg+" "+r.name)+": "+c.why(r.name))
		default:
			c.passed++
		}
	}
	switch {
	case failed && c.failed == before:
		c.fail(pkg + ": " + how) // it does not build, or it ended in the middle of a test
	case strings.Contains(how, "[no tests to run]"):
		c.fail(pkg + ": it has no test of the name that was to run")
	}
	c.results, c.test, c.said = nil, "", nil
}

// has says whether a test has subtests, of one verdict if one is given.
func (c *count) has(test, verdict string) bool {
	return slices.ContainsFunc(c.results, func(r result) bool {
		return strings.HasPrefix(r.name, test+"/") && (verdict == "" || r.verdict == verdict)
	})
}

func (c *count) why(test string) string {
	if reason := c.said[test]; reason != "" {
		return reason
	}
	return "it does not say why"
}

// end is told how the command ended, once its lines are over.
func (c *count) end(command string, err error) {
	if len(c.results) > 0 {
		c.packageEnds("", false, "") // interrupted, so that go test said nothing more of it
	}
	if err != nil && len(c.failures) == 0 {
		c.fail(command + ": " + err.Error())
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
