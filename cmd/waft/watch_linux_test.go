package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// Whoever watches a rollout on a terminal sees its waves, its nodes and its gates as they are at the moment, with a soak counted down, and what happened above that; at the end the
// whole of it stands in their place.
func TestRolloutIsWatchedOnATerminal(t *testing.T) {
	s := openShop(t)
	s.flag(t, true)
	s.waft(t, "rollout", "start", "--reason", "test", "-f", s.put(t, "kind: Rollout\nmetadata: {name: flags-1}\nspec: {release: flags, waves: [{nodes: 1, soak: 1h}, {percent: 100}]}\n"))

	term := openTerminal(t, 100)
	var result bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		root := newRoot()
		root.SetArgs(append([]string{"rollout", "status", "flags-1", "--watch"}, s.server...))
		root.SetOut(&result)
		root.SetErr(term.slave)
		ended <- root.ExecuteContext(t.Context())
	}()
	soaks := regexp.MustCompile(`wave 1  █{20}  1 serving; soaks for another (\S+)`)
	await(t, "the soak is counted down", func() bool {
		left := map[string]bool{}
		for _, match := range soaks.FindAllStringSubmatch(term.sofar(), -1) {
			left[match[1]] = true
		}
		return len(left) > 1
	})
	s.waft(t, "rollout", "promote", "flags-1", "--reason", "test")
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	drawn := strings.ReplaceAll(term.text(), "\r\n", "\n")
	for _, part := range []string{"gate    loaded: pass: 1 node serves\n", "  then all\n", "  Soaking  wave 1  "} {
		if !strings.Contains(drawn, part) {
			t.Errorf("%q was never drawn", part)
		}
	}
	// A terminal that is told to go up and to clear what is below shows what came last.
	pages := regexp.MustCompile(`\x1b\[\d+A\r\x1b\[J`).Split(drawn, -1)
	if last := pages[len(pages)-1]; len(pages) < 4 || last != "" {
		t.Errorf("of %d drawings this is left: %q", len(pages), last)
	}
	if text := result.String(); !strings.Contains(text, "Done") || strings.ContainsAny(text, "\r\x1b") {
		t.Errorf("the result is %q", text)
	}
}
