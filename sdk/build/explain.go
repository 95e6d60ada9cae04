package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Limits on what is read to explain an import.
const (
	maxSourceFile = 4 << 20
	maxSymbolLine = 1 << 20
	maxPath       = 64 // functions in a chain
)

// missesImports says whether some profile lacks an import.
func (r CheckReport) missesImports() bool {
	return slices.ContainsFunc(r.Profiles, func(p ProfileReport) bool { return len(p.Missing) > 0 })
}

// explain fills in which chain of functions drags in each import that a profile lacks. It links the filter once more and has
// the linker tell, for each symbol, the one by which it was first reached, which is exact where a list of imported packages
// would only guess.
func (tc toolchain) explain(ctx context.Context, src *source, without []string, report *CheckReport) error {
	wanted := map[string]bool{}
	for _, p := range report.Profiles {
		for _, m := range p.Missing {
			wanted[m.Import] = true
		}
	}
	symbols := src.importSymbols(wanted)
	if len(symbols) == 0 {
		return nil
	}
	parents, err := tc.linkerGraph(ctx, without)
	if err != nil {
		return err
	}
	for i := range report.Profiles {
		missing := report.Profiles[i].Missing
		for j := range missing {
			for _, symbol := range symbols[missing[j].Import] {
				if path := pathTo(parents, symbol); len(path) > 0 {
					missing[j].Path, missing[j].Cause = path, src.summary(path)
					break
				}
			}
		}
	}
	report.Warnings = warnings(*report)
	return nil
}

var wasmImport = regexp.MustCompile(`(?m)^//go:wasmimport[ \t]+(\S+)[ \t]+(\S+)[ \t]*\r?\n(?:[ \t]*//.*\n)*func[ \t]+(\w+)`)

// importSymbols finds the Go functions that stand for imports, by their directives in the source.
func (s *source) importSymbols(wanted map[string]bool) map[string][]string {
	out := map[string][]string{}
	for path, p := range s.all {
		for _, file := range p.GoFiles {
			data, err := readFile(file)
			if err != nil {
				continue // an explanation is lost, nothing else
			}
			for _, m := range wasmImport.FindAllStringSubmatch(string(data), -1) {
				if name := m[1] + "." + m[2]; wanted[name] {
					if p == s.main {
						path = "main"
					}
					out[name] = append(out[name], symbolPrefix(path)+"."+m[3])
				}
			}
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

// linkerGraph has the linker tell by which symbol each symbol was first reached.
func (tc toolchain) linkerGraph(ctx context.Context, without []string) (map[string]string, error) {
	args := append([]string{"build", "-buildmode=c-shared", "-ldflags=-buildid= -dumpdep", tc.tagsFlag(without), "-o", filepath.Join(tc.temp, "explain.wasm")}, buildFlags...)
	cmd := tc.command(ctx, append(args, ".")...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: explain imports: %w", tc.dir, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: explain imports: %w", tc.dir, err)
	}
	parents, readErr := readGraph(stderr)
	_, drainErr := io.Copy(io.Discard, stderr)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s: explain imports: %w", tc.dir, err)
	}
	if err := errors.Join(readErr, drainErr); err != nil {
		return nil, fmt.Errorf("%s: explain imports: %w", tc.dir, err)
	}
	return parents, nil
}

// readGraph reads lines of "PARENT -> CHILD". A child that comes again was reached before.
func readGraph(r io.Reader) (map[string]string, error) {
	parents := map[string]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxSymbolLine)
	for lines.Scan() {
		parent, child, ok := strings.Cut(lines.Text(), " -> ")
		if !ok {
			continue
		}
		child, _, _ = strings.Cut(child, " <") // attributes of the symbol
		if _, ok := parents[child]; !ok {
			parents[child] = parent
		}
	}
	return parents, lines.Err()
}

// pathTo climbs from a symbol to the filter's own code, and gives the functions on the way in the order of the calls: from
// the last one of package main, or from the root where the filter's code is not on the way, down to the symbol.
func pathTo(parents map[string]string, symbol string) []string {
	if _, ok := parents[symbol]; !ok {
		return nil
	}
	path := []string{symbol}
	for len(path) < maxPath {
		parent, ok := parents[path[len(path)-1]]
		if !ok || parent == "_" || strings.HasSuffix(parent, ".inittask") || strings.HasPrefix(parent, "go:") || slices.Contains(path, parent) {
			break
		}
		path = append(path, parent)
		if strings.HasPrefix(parent, "main.") {
			break
		}
	}
	slices.Reverse(path)
	return path
}

// summary tells a chain in a few words: the filter's own functions and those of its dependencies, the first one of the
// standard library, and the last. Where it begins with no function of the filter's, it says which imports lead there.
func (s *source) summary(path []string) string {
	var words []string
	if pkg := symbolPackage(path[0]); pkg != "main" {
		if chain := s.importChain(pkg); len(chain) > 1 {
			words = append(words, "the import of "+strings.Join(chain[1:], " by way of "))
		}
	}
	for i, symbol := range path {
		if strings.HasPrefix(symbol, "type:") || strings.HasPrefix(symbol, "go:") {
			continue // a type whose methods are reachable
		}
		name, _, _ := strings.Cut(symbol, "[") // type arguments
		words = append(words, strings.ReplaceAll(name, "%2e", "."))
		if std := s.isStandard(symbolPackage(symbol)); std && i+2 < len(path) {
			last, _, _ := strings.Cut(path[len(path)-1], "[")
			words = append(words, "…", last)
			break
		}
	}
	return strings.Join(words, " → ")
}

// importChain is the shortest chain of imports from the filter to a package: its dependency first asked for comes last.
func (s *source) importChain(to string) []string {
	from := map[string]string{s.main.PkgPath: ""}
	for queue := []string{s.main.PkgPath}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			var chain []string
			for p := to; p != ""; p = from[p] {
				chain = append(chain, p)
			}
			slices.Reverse(chain)
			return chain
		}
		for _, next := range slices.Sorted(maps.Keys(s.all[at].Imports)) {
			path := s.all[at].Imports[next].PkgPath
			if _, seen := from[path]; !seen {
				from[path] = at
				queue = append(queue, path)
			}
		}
	}
	return nil
}

// isStandard says whether a package is one of the standard library.
func (s *source) isStandard(path string) bool {
	p := s.all[path]
	return p != nil && p.Module == nil && p != s.main
}

// symbolPrefix is how the linker spells an import path: the dots of its last element are escaped.
func symbolPrefix(path string) string {
	slash := strings.LastIndex(path, "/") + 1
	return path[:slash] + strings.ReplaceAll(path[slash:], ".", "%2e")
}

// symbolPackage is the import path in a symbol's name.
func symbolPackage(symbol string) string {
	slash := strings.LastIndex(strings.SplitN(symbol, "[", 2)[0], "/") + 1
	dot := strings.Index(symbol[slash:], ".")
	if dot < 0 {
		return symbol
	}
	return symbol[:slash] + strings.ReplaceAll(symbol[slash:slash+dot], "%2e", ".")
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSourceFile))
}
