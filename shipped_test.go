package waft_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
)

// filterRow is a row of README.md's table of the filters that come with waft: its name, and the README that it links.
var filterRow = regexp.MustCompile(`(?m)^\| \[([^\]]*)\]\(filters/([^)]*)\) \| \S`)

// README.md's table has a row for every filter under filters/, in the order of their names, and no other row.
func TestReadmeListsFilters(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range filterRow.FindAllStringSubmatch(string(text), -1) {
		if want := row[1] + "/README.md"; row[2] != want {
			t.Errorf("README.md: the row of %s links filters/%s, want filters/%s", row[1], row[2], want)
		}
		listed = append(listed, row[1])
	}
	shipped := shippedFilters(t)
	for _, name := range slices.Sorted(maps.Keys(shipped)) {
		if !slices.Contains(listed, name) {
			t.Errorf("README.md: its table of filters has no row for filters/%s; add one that says in a line what it does", name)
		}
	}
	for _, name := range listed {
		if !shipped[name] {
			t.Errorf("README.md: its table of filters names %s, and there is no filters/%s", name, name)
		}
	}
	if !slices.IsSorted(listed) || len(slices.Compact(slices.Clone(listed))) != len(listed) {
		t.Errorf("README.md: the table of filters is not in order, or has one twice: %v", listed)
	}
}

// shippedFilters are the names of the folders under filters/ that hold a filter. Each has a README.
func shippedFilters(t *testing.T) map[string]bool {
	t.Helper()
	programs, err := filepath.Glob("filters/*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(programs) == 0 {
		t.Fatal("there is no filter under filters/")
	}
	shipped := map[string]bool{}
	for _, program := range programs {
		dir := filepath.Dir(program)
		shipped[filepath.Base(dir)] = true
		if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
			t.Errorf("%s: every filter has a README: %v", dir, err)
		}
	}
	return shipped
}

// What a request of a shipped filter may cost is bounded, and its calls of the host are pinned for at least one scenario: a change that
// adds one shows in review.
func TestShippedFiltersAreBounded(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(shippedFilters(t))) {
		dir := filepath.Join("filters", name)
		if has, err := filtertest.HasBudget(dir); err != nil || !has {
			t.Errorf("%s has no %s (%v): see docs/scenarios.md", dir, filtertest.BudgetFile, err)
		}
		traces, err := filepath.Glob(filepath.Join(dir, "scenarios", "*.yaml"+filtertest.TraceSuffix))
		if err != nil {
			t.Fatal(err)
		}
		if len(traces) == 0 {
			t.Errorf("%s pins no trace: make an empty scenarios/FILE.yaml%s and run `waft test --update %s`", dir, filtertest.TraceSuffix, dir)
		}
		for _, trace := range traces {
			if info, err := os.Stat(trace); err != nil || info.Size() == 0 {
				t.Errorf("%s is empty (%v): run `waft test --update %s`", trace, err, dir)
			}
		}
	}
}
