package waft_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// numberOfPains is how many rows docs/pains.md has.
const numberOfPains = 16

var (
	// painRow is a row of docs/pains.md: its number, what people complain of, what waft does, and the tests.
	painRow = regexp.MustCompile(`(?m)^\| (\d+)\. ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	// painTest is a test there: its package's folder, the test, and the subtest if it is one.
	painTest = regexp.MustCompile("`([\\w/]+)` `(Test\\w+)(?:/(\\w+))?`")
	// painName is the name of a test, or of a subtest, that is named after a pain.
	painName = regexp.MustCompile(`^(?:Test)?Pain\d\d`)
	// testName is the name of what go test runs.
	testName = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)`)
)

// docs/pains.md has a row for each pain, each names a test after its number, and every test that a row names is there. Nor is there a test
// named after a pain that no row names.
func TestPainsAreTested(t *testing.T) {
	text, err := os.ReadFile("docs/pains.md")
	if err != nil {
		t.Fatal(err)
	}
	written := writtenTests(t)
	named := map[string]bool{}
	rows := painRow.FindAllStringSubmatch(string(text), -1)
	if len(rows) != numberOfPains {
		t.Errorf("docs/pains.md: %d rows can be read, want %d", len(rows), numberOfPains)
	}
	for i, row := range rows {
		if row[1] != strconv.Itoa(i+1) {
			t.Errorf("docs/pains.md: row %d is of pain %s", i+1, row[1])
		}
		after := false
		for _, test := range painTest.FindAllStringSubmatch(row[4], -1) {
			name := test[1] + " " + test[2]
			if test[3] != "" {
				name += "/" + test[3]
			}
			named[name] = true
			if !written[name] {
				t.Errorf("docs/pains.md, pain %s: there is no test %s", row[1], name)
			}
			after = after || strings.Contains(name, fmt.Sprintf("Pain%02d", i+1))
		}
		if !after {
			t.Errorf("docs/pains.md, pain %s: no test is named after it", row[1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		_, test, _ := strings.Cut(name, " ")
		if painName.MatchString(test[strings.LastIndex(test, "/")+1:]) && !named[name] {
			t.Errorf("docs/pains.md: no row names %s", name)
		}
	}
}

// namedTest is a test, a fuzz target or a benchmark as pages name them.
var namedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")

// What pages say is tried by a test is: there is one of that name.
func TestPagesNameTests(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	for name := range writtenTests(t) {
		_, test, _ := strings.Cut(name, " ")
		written[test] = true
	}
	named := 0
	for _, page := range append([]string{"README.md", "RATIONALE.md"}, pages...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range namedTest.FindAllStringSubmatch(string(text), -1) {
			named++
			if !written[test[1]] {
				t.Errorf("%s: there is no %s", page, test[1])
			}
		}
	}
	if named == 0 {
		t.Error("no page names a test")
	}
}

// writtenTests are the tests of the module, fuzz targets and benchmarks among them, as "FOLDER TestX", and the subtests that are named after pains, as "FOLDER TestX/PainNN…".
func writtenTests(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.ContainsAny(entry.Name()[:1], "._"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			test, ok := decl.(*ast.FuncDecl)
			if !ok || test.Recv != nil || !testName.MatchString(test.Name.Name) {
				continue
			}
			name := filepath.ToSlash(filepath.Dir(path)) + " " + test.Name.Name
			found[name] = true
			ast.Inspect(test.Body, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					if sub, err := strconv.Unquote(literal.Value); err == nil && painName.MatchString(sub) && !strings.Contains(sub, " ") {
						found[name+"/"+sub] = true
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
