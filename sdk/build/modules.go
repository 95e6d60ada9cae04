package build

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// goModule is a Go module of which some package is compiled into the filter.
type goModule struct {
	path string
	// version is empty for the module that the filter is in, and for one that a folder replaces.
	version string
	// requires are the paths of the modules whose packages its packages import.
	requires []string
	main     bool // the filter is in it
}

// standardLibrary is what the Go distribution's own packages count as.
const standardLibrary = "std"

// goModules are the modules whose packages are compiled into the filter, sorted by path; the standard library is one. A module
// that is replaced counts as what replaces it. Modules that go.mod names and the filter does not reach are not among them.
func (s *source) goModules(goVersion string) []goModule {
	byPath := map[string]*goModule{}
	of := func(p *packages.Package) *goModule {
		m := goModule{path: standardLibrary, version: strings.TrimPrefix(goVersion, "go")}
		if p.Module != nil {
			from := p.Module
			if from.Replace != nil {
				from = from.Replace
			}
			m = goModule{path: from.Path, version: from.Version, main: s.main.Module != nil && p.Module.Path == s.main.Module.Path}
			if from.Version == "" {
				m.path = p.Module.Path // the replacement's path is a folder's, which tells of the machine
			}
		}
		if byPath[m.path] == nil {
			byPath[m.path] = &m
		}
		return byPath[m.path]
	}
	std := of(&packages.Package{}) // the runtime is in every filter, whatever that imports
	for _, p := range s.all {
		m := of(p)
		if m.main && !slices.Contains(m.requires, std.path) {
			m.requires = append(m.requires, std.path)
		}
		for _, imported := range p.Imports {
			if other := of(imported).path; other != m.path && !slices.Contains(m.requires, other) {
				m.requires = append(m.requires, other)
			}
		}
	}
	modules := make([]goModule, 0, len(byPath))
	for _, m := range byPath {
		slices.Sort(m.requires)
		modules = append(modules, *m)
	}
	slices.SortFunc(modules, func(a, b goModule) int { return cmp.Compare(a.path, b.path) })
	return modules
}

// purl names a module as scanners for vulnerabilities do.
// https://github.com/package-url/purl-spec/blob/main/types/golang-definition.json
func (m goModule) purl() string {
	purl := "pkg:golang/" + strings.ReplaceAll(m.path, "+", "%2B")
	if m.version != "" {
		purl += "@" + strings.ReplaceAll(m.version, "+", "%2B")
	}
	return purl
}

// goVersion is the toolchain's version, such as go1.26.0.
func (tc toolchain) goVersion(ctx context.Context) (string, error) {
	var said headBuffer
	cmd := tc.command(ctx, "env", "GOVERSION")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := tc.run(ctx, cmd, &said); err != nil {
		return "", fmt.Errorf("ask for Go's version: %w", err)
	}
	return strings.TrimSpace(said.String()), nil
}
