package build

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// directivePrefix begins a comment by which a filter's source says how it is built. Such comments stand above the package
// clause of any of its files, each at most once:
//
//	//waft:tags no_fs_access,tinygo
//	//waft:memory 256MiB
//	//waft:loop-guard 100000000
//	package main
//
// Tags are build tags for the filter and all that it imports. Memory is the module's memory maximum, and loop-guard how often a callback may
// go back in loops, where Options name none.
const directivePrefix = "//waft:"

// directives are what a filter's source says of its build. The zero value is none.
type directives struct {
	tags      []string
	memoryMax int64 // bytes, 0 for none
	loopGuard int64 // 0 for none
}

// buildTag is what can be a build tag.
var buildTag = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// readDirectives reads the directives in all Go files of a directory, whatever their build constraints, since tags decide on
// those. A file that cannot be parsed is left to the compiler.
func readDirectives(dir string) (directives, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return directives{}, fmt.Errorf("%s: look for Go files: %w", dir, err)
	}
	var d directives
	seen := map[string]string{} // where each directive was
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			continue
		}
		for _, group := range file.Comments {
			for _, comment := range group.List {
				text, ok := strings.CutPrefix(comment.Text, directivePrefix)
				if !ok || comment.Pos() > file.Package {
					continue
				}
				position := files.Position(comment.Pos())
				at := fmt.Sprintf("%s:%d", path, position.Line)
				name, value, _ := strings.Cut(text, " ")
				if other, twice := seen[name]; twice {
					return d, directiveError(at, directivePrefix+name+" stands at "+other+" too", "keep one of them")
				}
				seen[name] = at
				if err := d.set(at, name, strings.TrimSpace(value)); err != nil {
					return d, err
				}
			}
		}
	}
	return d, nil
}

func (d *directives) set(at, name, value string) error {
	switch name {
	case "tags":
		for tag := range strings.SplitSeq(value, ",") {
			if !buildTag.MatchString(tag) {
				return directiveError(at, fmt.Sprintf("%q is no build tag", tag), "write "+directivePrefix+"tags one,two")
			}
			d.tags = append(d.tags, tag)
		}
		return nil
	case "memory":
		mebibytes, ok := strings.CutSuffix(value, "MiB")
		n, err := strconv.ParseInt(mebibytes, 10, 64)
		if !ok || err != nil || n < 1 || n > maxMemory>>20 {
			return directiveError(at, fmt.Sprintf("a memory maximum of %q", value), fmt.Sprintf("write from 1MiB to %dMiB", maxMemory>>20))
		}
		d.memoryMax = n << 20
		return nil
	case "loop-guard":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < MinLoopGuard || n > MaxLoopGuard {
			return directiveError(at, fmt.Sprintf("a loop guard of %q", value), fmt.Sprintf("write from %d to %d", MinLoopGuard, MaxLoopGuard))
		}
		d.loopGuard = n
		return nil
	}
	return directiveError(at, fmt.Sprintf("%s%s is not known", directivePrefix, name), "there are tags, memory and loop-guard")
}

func directiveError(at, detail, next string) error {
	if wd, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(wd, at); err == nil && !strings.HasPrefix(relative, "..") {
			at = relative
		}
	}
	return &Error{Subject: at, Kind: ErrOption, Detail: detail, Next: next}
}
