package build

import "errors"

// The ways to fail. Every error of this package but those of the file system and the context has one of them in its chain.
var (
	// ErrNotFilter: the directory holds no Go main package.
	ErrNotFilter = errors.New("not a filter")
	// ErrCompile: the Go toolchain refused the source. Error.Output is what it said.
	ErrCompile = errors.New("does not compile")
	// ErrInvalidModule: the bytes are not a Wasm module that can be read.
	ErrInvalidModule = errors.New("invalid module")
	// ErrUnloadable: no Envoy that waft knows can load the module.
	ErrUnloadable = errors.New("no Envoy can load it")
	// ErrConfig: the configuration's type has no JSON Schema.
	ErrConfig = errors.New("no schema for the configuration")
	// ErrOption: an option, or a name or version derived from it, is out of range.
	ErrOption = errors.New("invalid option")
	// ErrManifest: the manifest beside a module is broken, or another module's.
	ErrManifest = errors.New("manifest does not fit")
)

// Error is an error for a person: what failed, why, and what to do next.
type Error struct {
	// Subject is the directory or file.
	Subject string
	// Kind is one of the errors above.
	Kind error
	// Detail says more than Kind does.
	Detail string
	// Next says what to do.
	Next string
	// Output is what the toolchain wrote, with paths from the working directory; it may have many lines, and is a part of
	// Error's text.
	Output string
	// Err is the cause, or nil.
	Err error
}

// Error puts the parts into one line, and the toolchain's output, if there is any, below it.
func (e *Error) Error() string {
	s := e.Subject + ": " + e.Kind.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Next != "" {
		s += "; " + e.Next
	}
	if e.Output != "" {
		s += "\n" + e.Output
	}
	return s
}

// Unwrap gives errors.Is and errors.As both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
