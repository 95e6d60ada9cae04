package main

import (
	"strings"
	"testing"
)

// What differs between two releases is told by path, on lines for a person and as JSON for a program.
func TestReleaseDiff(t *testing.T) {
	changes := diff(
		map[string]string{"layer": `"global"`, "filters.authz.priority": "10", "filters.authz.config.a": `"x"`},
		map[string]string{"layer": `"global"`, "filters.authz.priority": "20", "filters.cors.phase": `"AUTHN"`},
	)
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.lines()...)
	}
	want := []string{`- filters.authz.config.a: "x"`, "- filters.authz.priority: 10", "+ filters.authz.priority: 20", `+ filters.cors.phase: "AUTHN"`}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("the lines are %q, want %q", lines, want)
	}
	var out strings.Builder
	if err := (&output{format: "json"}).print(&out, releaseDiff{A: "r@1", B: "r@2", Changes: changes}, nil); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"path": "filters.authz.priority"`, `"a": 10`, `"b": 20`, `"b": "AUTHN"`} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the JSON has no %s: %s", part, out.String())
		}
	}
	if same := diff(nil, nil); same == nil {
		t.Error("no difference is an empty list, not null")
	}
}
