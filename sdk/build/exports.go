package build

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// An SDK that wants its exports left out of modules that have no use for them puts each, or each group, into a file of its own:
//
//	//go:build wasip1 && !waft_without_tick
//
//	package abi
//
//	//waft:usedby import env.proxy_set_tick_period_milliseconds
//	//waft:usedby method OnTick
//
//	//go:wasmexport proxy_on_tick
//	func proxyOnTick(id uint32) { … }
//
// A usedby line names host functions without which the host never makes the call; or methods that the call ends in by way of an
// interface, on whatever type; or methods of the SDK by which a filter asks for the call, which must be marked go:noinline, since
// nothing of a function that is inlined shows in the module. What is named must not be there for the sake of the export alone.
// Build leaves the file out, by its build tag, where the module has none of what the lines name: the host calls only what
// is exported, and a call that does nothing costs as much as one that does; and what only that export reaches is not linked.
//
// The rules are read from the SDK that the filter is built with, so they cannot be those of another version. Plain go build
// leaves everything in.

// optionalFile is a file that can be left out.
type optionalFile struct {
	tag              string
	exports          []string
	imports, methods []string
}

// The kinds of what a usedby line names.
const (
	usedByImport = "import"
	usedByMethod = "method"
)

var (
	withoutTag = regexp.MustCompile(`(?m)^//go:build .*!(waft_without_\w+)`)
	wasmExport = regexp.MustCompile(`(?m)^//go:wasmexport[ \t]+(\S+)`)
	usedBy     = regexp.MustCompile(`(?m)^//waft:usedby[ \t]+(\S+)[ \t]+(.*?)[ \t]*\r?$`)
)

// optionalFiles finds the files in all packages that the filter is made of, other than the standard library's.
func (s *source) optionalFiles() []optionalFile {
	var out []optionalFile
	for path, p := range s.all {
		if s.isStandard(path) {
			continue
		}
		for _, file := range p.GoFiles {
			data, err := readFile(file)
			if err != nil {
				continue // it stays in
			}
			if f, ok := parseOptionalFile(string(data)); ok {
				out = append(out, f)
			}
		}
	}
	slices.SortFunc(out, func(a, b optionalFile) int { return strings.Compare(a.tag, b.tag) })
	return out
}

// parseOptionalFile reads a file's tag and rules. A file with a rule that this version does not know is not optional.
func parseOptionalFile(text string) (optionalFile, bool) {
	tag := withoutTag.FindStringSubmatch(text)
	if tag == nil {
		return optionalFile{}, false
	}
	f := optionalFile{tag: tag[1]}
	for _, m := range wasmExport.FindAllStringSubmatch(text, -1) {
		f.exports = append(f.exports, m[1])
	}
	for _, m := range usedBy.FindAllStringSubmatch(text, -1) {
		switch names := strings.Fields(m[2]); m[1] {
		case usedByImport:
			f.imports = append(f.imports, names...)
		case usedByMethod:
			f.methods = append(f.methods, names...)
		default:
			return optionalFile{}, false
		}
	}
	return f, len(f.exports) > 0 && len(f.imports)+len(f.methods) > 0
}

// contents are the imports (MODULE.FUNCTION) and the methods of a linked module.
type contents struct{ imports, methods map[string]bool }

// unreadableError says that a linked module cannot be looked into.
type unreadableError struct{ cause error }

func (e *unreadableError) Error() string { return e.cause.Error() }
func (e *unreadableError) Unwrap() error { return e.cause }

// contentsOf reads a module with a name section. Its error is an *unreadableError.
//
// A method is in a linked module if it is called, or if a value of its type may be asked for it through an interface: the linker
// keeps no other. Its name ends in a dot and the method's, whatever its type is: embedded, generic, or of another package.
func contentsOf(wasm []byte) (contents, error) {
	f, err := readFunctions(wasm)
	if err != nil {
		return contents{}, &unreadableError{err}
	}
	names, err := functionNames(f.sections)
	if err != nil {
		return contents{}, &unreadableError{err}
	}
	if len(names) == 0 {
		return contents{}, &unreadableError{errors.New("it has no names of functions")}
	}
	c := contents{imports: map[string]bool{}, methods: map[string]bool{}}
	for _, im := range f.imports {
		c.imports[im.module+"."+im.name] = true
	}
	for _, name := range names {
		if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
			c.methods[name[dot+1:]] = true
		}
	}
	return c, nil
}

// uses says whether the module has something that the file is for.
func (c contents) uses(f optionalFile) bool {
	return slices.ContainsFunc(f.imports, func(n string) bool { return c.imports[n] }) ||
		slices.ContainsFunc(f.methods, func(n string) bool { return c.methods[n] })
}
