package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// source is the filter's package and what it imports, as the go command lists them. No types are loaded yet.
type source struct {
	main *packages.Package
	all  map[string]*packages.Package // by import path, main included
}

// load finds the package in the directory. A directory without a Go main package is an ErrNotFilter.
func (tc toolchain) load(ctx context.Context) (*source, error) {
	pkgs, err := packages.Load(tc.packagesConfig(ctx, packages.NeedName|packages.NeedFiles|packages.NeedImports|packages.NeedDeps|packages.NeedModule|packages.NeedEmbedFiles), ".")
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: build: %w", tc.dir, ctx.Err())
		}
		return nil, &Error{Subject: tc.dir, Kind: ErrNotFilter, Detail: firstLine(err.Error()), Next: "name a directory of a Go module, and have Go installed", Err: err}
	}
	if len(pkgs) != 1 {
		return nil, &Error{Subject: tc.dir, Kind: ErrNotFilter, Detail: fmt.Sprintf("it holds %d packages", len(pkgs)), Next: "name the directory of one filter"}
	}
	p := pkgs[0]
	if len(p.GoFiles) == 0 {
		detail := "it has no Go files for GOOS=wasip1 GOARCH=wasm"
		if len(p.Errors) > 0 {
			detail = firstLine(p.Errors[0].Msg)
		}
		return nil, &Error{Subject: tc.dir, Kind: ErrNotFilter, Detail: detail, Next: "name the directory of a filter: a package main that calls sdk.Register"}
	}
	if p.Name != "main" && p.Name != "" {
		return nil, &Error{Subject: tc.dir, Kind: ErrNotFilter, Detail: "its package is " + p.Name + ", not main", Next: "a filter is a package main with an empty func main"}
	}
	src := &source{main: p, all: map[string]*packages.Package{}}
	packages.Visit(pkgs, nil, func(p *packages.Package) { src.all[p.PkgPath] = p })
	return src, nil
}

func (tc toolchain) packagesConfig(ctx context.Context, mode packages.LoadMode) *packages.Config {
	return &packages.Config{Context: ctx, Mode: mode, Dir: tc.dir, Env: environment(), BuildFlags: append([]string{tc.tagsFlag(nil)}, buildFlags...)}
}

// file gives the path of a source file that a position names: positions from compiled packages have their folders trimmed.
func (s *source) file(pkgPath, base string) string {
	p := s.all[pkgPath]
	if p == nil {
		return ""
	}
	for _, f := range p.GoFiles {
		if f[strings.LastIndexAny(f, `/\`)+1:] == base {
			return f
		}
	}
	return ""
}

// importers lists the packages that import path, the filter's own first, then by name.
func (s *source) importers(path string) []*packages.Package {
	var out []*packages.Package
	for _, p := range s.all {
		if _, ok := p.Imports[path]; ok {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *packages.Package) int {
		if (a == s.main) != (b == s.main) {
			if a == s.main {
				return -1
			}
			return 1
		}
		return strings.Compare(a.PkgPath, b.PkgPath)
	})
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
