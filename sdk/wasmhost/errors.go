package wasmhost

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that a caller branches on. Load, NewVM and Configure wrap them with what and to what.
var (
	// ErrCorrupt says that the bytes are not a WebAssembly module, or that a section of it does not parse.
	ErrCorrupt = errors.New("not a valid WebAssembly module")

	// ErrNoABI says that the module exports no proxy_abi_version_0_1_0, _0_2_0 or _0_2_1: Envoy refuses it.
	ErrNoABI = errors.New("no proxy-wasm ABI marker: export proxy_abi_version_0_2_1, or build with a proxy-wasm SDK")

	// ErrDeadline says that a call into the guest took longer than the host's deadline, or that its context ended. The VM is dead.
	ErrDeadline = errors.New("the callback ran over its deadline")

	// ErrFailed says that the VM crashed before and was not reloaded.
	ErrFailed = errors.New("the VM has failed")

	// ErrStart says that proxy_on_vm_start returned false.
	ErrStart = errors.New("proxy_on_vm_start returned false")

	// ErrConfigure says that proxy_on_configure returned false: Envoy rejects the configuration.
	ErrConfigure = errors.New("proxy_on_configure returned false")

	// ErrUnknownProfile says that no profile has the given name.
	ErrUnknownProfile = errors.New("unknown profile")

	// ErrTooLarge says that something is over one of the limits of this package.
	ErrTooLarge = errors.New("over the limit")

	// ErrMisuse says that a filter does what breaks Envoy: it would crash, or send something twice. The host cannot copy that,
	// and does not pass over it.
	ErrMisuse = errors.New("the filter makes Envoy misbehave")

	// ErrOutOfOrder says that a Stream's methods were called in an order in which no proxy calls them.
	ErrOutOfOrder = errors.New("call out of order")
)

// MissingImport is one import of a module that a profile does not offer.
type MissingImport struct {
	Module string // the import's module, for example wasi_snapshot_preview1
	Name   string // the import's name, for example fd_readdir
	Kind   string // func, table, memory, global or tag
	Want   string // the type that the module imports it with, for example "(i32, i32) -> i32"
	Have   string // the type that the profile offers it with; empty if the profile does not have it at all

	// Profiles names the profiles that offer it with the wanted type, in order of their versions. Empty: none does.
	Profiles []string
}

// String names the import and what is wrong with it.
func (m MissingImport) String() string {
	s := m.Module + "." + m.Name
	if m.Have != "" {
		s += fmt.Sprintf(" with type %s (the host has %s)", m.Want, m.Have)
	} else if m.Kind != "func" {
		s += " (a " + m.Kind + ")"
	}
	if len(m.Profiles) == 0 {
		return s + " [no profile has it]"
	}
	return s + " [in " + strings.Join(m.Profiles, ", ") + "]"
}

// MissingImportsError says that a module cannot load under a profile, because of what it imports.
// Envoy's words for it are "Failed to load Wasm module due to a missing import".
type MissingImportsError struct {
	Profile string          // the profile's name
	Imports []MissingImport // at least one
}

// Error names every import that is missing, and the profiles that have it.
func (e *MissingImportsError) Error() string {
	names := make([]string, len(e.Imports))
	for i, m := range e.Imports {
		names[i] = m.String()
	}
	return fmt.Sprintf("failed to load Wasm module due to a missing import under %s: %s; "+
		"avoid the package that needs it, or load it only where a profile has it", e.Profile, strings.Join(names, ", "))
}

// ExportError says that an export that the host must call is missing or has a type that it cannot call.
type ExportError struct {
	Name string // the export's name
	Want string // the type that the host needs
	Have string // the type that the module has; empty if it does not export it
}

// Error names the export.
func (e *ExportError) Error() string {
	if e.Have == "" {
		return fmt.Sprintf("Wasm module is missing the export %s of type %s: build with a proxy-wasm SDK and as a reactor "+
			"(Go: -buildmode=c-shared)", e.Name, e.Want)
	}
	return fmt.Sprintf("bad function signature for the export %s: want %s, have %s", e.Name, e.Want, e.Have)
}

// TrapError says that the guest crashed in a callback: a trap, an exit, or the deadline. The VM is dead from then on.
// Unwrap gives ErrDeadline if it was the deadline.
type TrapError struct {
	Callback string // the export that was called, for example proxy_on_request_headers
	Reason   string // the engine's words, for example "wasm error: unreachable"
	Stack    string // the guest's stack, innermost frame first, one a line; may be empty
	Log      string // the last lines that the guest wrote at error level or to its stderr (a panic's message); may be empty
	cause    error
}

// Error names the callback and the reason, then the guest's last words and its stack.
func (e *TrapError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "function %s failed: %s", e.Callback, e.Reason)
	if e.Log != "" {
		b.WriteString("\nguest's stderr:\n" + e.Log)
	}
	if e.Stack != "" {
		b.WriteString("\nguest's stack:\n" + e.Stack)
	}
	return b.String()
}

// Unwrap gives the cause: ErrDeadline, the context's error, or the engine's.
func (e *TrapError) Unwrap() error { return e.cause }
