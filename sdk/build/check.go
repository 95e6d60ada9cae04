package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// CheckReport says what a module is and which Envoys can load it.
type CheckReport struct {
	// SHA256 is the digest of the module's bytes, in hex.
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
	// ABI is the proxy-wasm ABI version that the module declares, or empty.
	ABI string `json:"abi"`
	// Language is the source language, as far as the module tells it.
	Language string `json:"language,omitempty"`
	// MemoryMin and MemoryMax are in bytes. A MemoryMax of 0 is none: one VM can grow to what Envoy allows, 1 GiB.
	MemoryMin int64 `json:"memoryMin"`
	MemoryMax int64 `json:"memoryMax"`
	// Imports are MODULE.FUNCTION, sorted, each once.
	Imports []string `json:"imports"`
	// Exports are the functions that the module exports, sorted.
	Exports []string `json:"exports"`
	// Profiles says for each Envoy version, oldest first, whether it can load the module.
	Profiles []ProfileReport `json:"profiles"`
	// Problems keep every Envoy from using the module.
	Problems []Finding `json:"problems,omitempty"`
	// Warnings are what one would want to know before publishing it.
	Warnings []Finding `json:"warnings,omitempty"`
}

// ProfileReport is what one Envoy version would do with a module.
type ProfileReport struct {
	// Name is the profile's: "envoy-1.36".
	Name string `json:"name"`
	// Envoy is its version.
	Envoy string `json:"envoy"`
	// Loadable says whether it can load the module.
	Loadable bool `json:"loadable"`
	// Missing are the imports that it does not offer, sorted.
	Missing []MissingImport `json:"missing,omitempty"`
	// Reason is why it cannot load the module, when that is no import.
	Reason string `json:"reason,omitempty"`
}

// MissingImport is an import that a profile does not offer.
type MissingImport struct {
	// Import is MODULE.FUNCTION.
	Import string `json:"import"`
	// Want and Have are the types that the module imports and the profile offers; Have is empty when it offers none.
	Want string `json:"want,omitempty"`
	Have string `json:"have,omitempty"`
	// Path is the chain of functions that drags the import in, the filter's own first. Build knows it from the linker; Check from the
	// direct calls in a module that has names of functions, without what is called by way of tables.
	Path []string `json:"path,omitempty"`
	// Cause is what usually drags it in, or what did, in a few words.
	Cause string `json:"cause,omitempty"`
}

// Finding is something to tell a person, and what to do about it.
type Finding struct {
	Message string `json:"message"`
	Next    string `json:"next,omitempty"`
}

// String is the message and the next step on one line.
func (f Finding) String() string {
	if f.Next == "" {
		return f.Message
	}
	return f.Message + "; " + f.Next
}

// Envoys are the names of the profiles that can load the module.
func (r CheckReport) Envoys() []string {
	out := []string{}
	for _, p := range r.Profiles {
		if p.Loadable && len(r.Problems) == 0 {
			out = append(out, p.Name)
		}
	}
	return out
}

// OK says that at least one Envoy can load the module.
func (r CheckReport) OK() bool { return len(r.Envoys()) > 0 }

// Check examines a module of any language. It compiles and runs nothing, so a module that passes can still fail later; the
// scenarios are there to find that. Its error is an ErrInvalidModule; what keeps Envoys from loading the module is in the
// report.
func Check(wasm []byte) (CheckReport, error) {
	list, err := sections(wasm)
	if err != nil {
		return CheckReport{}, invalidModule(err)
	}
	info, err := wasmhost.Inspect(wasm)
	if err != nil {
		return CheckReport{}, invalidModule(err)
	}
	compat, err := wasmhost.Check(wasm)
	if err != nil {
		return CheckReport{}, invalidModule(err)
	}
	sum := sha256.Sum256(wasm)
	r := CheckReport{
		SHA256: hex.EncodeToString(sum[:]), Size: int64(len(wasm)), ABI: info.ABI, Language: languageOf(list),
		MemoryMin: info.MemoryMin, MemoryMax: info.MemoryMax, Imports: []string{}, Exports: slices.Sorted(maps.Keys(info.Exports)),
	}
	for _, im := range info.Imports {
		r.Imports = append(r.Imports, im.Module+"."+im.Name)
	}
	// One import may stand twice in a module.
	slices.Sort(r.Imports)
	r.Imports = slices.Compact(r.Imports)
	for _, c := range compat {
		r.Profiles = append(r.Profiles, profileReport(c))
	}
	if r.missesImports() {
		explainByNames(wasm, &r)
	}
	r.Problems = exportProblems(info)
	r.Warnings = warnings(r)
	return r, nil
}

func profileReport(c wasmhost.Compatibility) ProfileReport {
	p := ProfileReport{Name: c.Profile, Envoy: c.Envoy, Loadable: c.Loadable, Reason: c.Reason}
	for _, m := range c.Missing {
		p.Missing = append(p.Missing, MissingImport{Import: m.Module + "." + m.Name, Want: m.Want, Have: m.Have, Cause: usualCause(m.Name)})
	}
	slices.SortFunc(p.Missing, func(a, b MissingImport) int { return strings.Compare(a.Import, b.Import) })
	return p
}

// contextCallbacks are exports by which a module does something with a stream, a connection or a plugin.
var contextCallbacks = []string{
	"proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure", "proxy_on_tick", "proxy_on_log",
	"proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_trailers",
	"proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers",
	"proxy_on_new_connection", "proxy_on_downstream_data", "proxy_on_upstream_data",
}

// exportProblems says which exports are missing that every Envoy needs.
func exportProblems(info wasmhost.Inspection) []Finding {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { _, ok := info.Exports[n]; return ok })
	}
	var out []Finding
	if info.ABI == "" {
		out = append(out, Finding{
			Message: "it lacks the export proxy_abi_version_0_2_1 (or 0_2_0, 0_1_0)",
			Next:    "import waft's sdk and call sdk.Register in an init function, or use another proxy-wasm SDK",
		})
	}
	if !has("malloc", "proxy_on_memory_allocate") {
		out = append(out, Finding{
			Message: "it lacks the export proxy_on_memory_allocate (or malloc)",
			Next:    "import waft's sdk, or another proxy-wasm SDK, which exports it",
		})
	}
	if !has("_initialize", "_start") {
		out = append(out, Finding{
			Message: "it lacks the export _initialize (or _start)",
			Next:    "build it as a reactor: for Go with -buildmode=c-shared, as `waft build` does; for Rust as a cdylib",
		})
	}
	if !has(contextCallbacks...) {
		out = append(out, Finding{
			Message: "it exports no callback such as proxy_on_context_create or proxy_on_request_headers, so it can do nothing",
			Next:    "call sdk.Register in an init function of package main",
		})
	}
	return out
}

func warnings(r CheckReport) []Finding {
	var out []Finding
	if r.MemoryMax == 0 {
		out = append(out, Finding{
			Message: "it sets no memory maximum, so that one VM can grow to 1 GiB",
			Next:    "build it with `waft build`, or give the linker one (Rust: -C link-arg=--max-memory=67108864)",
		})
	}
	for _, p := range r.Profiles {
		for _, m := range p.Missing {
			out = append(out, Finding{Message: m.describe(p.Envoy), Next: m.next()})
		}
		if p.Reason != "" && len(r.Problems) == 0 {
			out = append(out, Finding{Message: fmt.Sprintf("Envoy %s cannot load it: %s", p.Envoy, p.Reason),
				Next: "build it with an SDK for the ABI version that it declares"})
		}
	}
	return out
}

// describe says that an Envoy version lacks the import, and why the module has it.
func (m MissingImport) describe(envoy string) string {
	s := fmt.Sprintf("Envoy %s cannot load it: it has no %s", envoy, m.Import)
	if m.Have != "" {
		s = fmt.Sprintf("Envoy %s cannot load it: its %s is %s, and the module imports %s", envoy, m.Import, m.Have, m.Want)
	}
	if len(m.Path) > 0 {
		return s + ", which is reached by " + m.Cause
	}
	if m.Cause != "" {
		return s + ", which usually comes from " + m.Cause
	}
	return s
}

func (m MissingImport) next() string {
	module, name, _ := strings.Cut(m.Import, ".")
	if _, ok := stubOf(module, name); ok {
		return "build it with `waft build`, which has the module answer that itself, or leave out what needs it"
	}
	if len(m.Path) > 0 {
		return "leave that call out, or run the filter on an Envoy that has the function"
	}
	return "leave out what needs it, or run the filter on an Envoy that has the function"
}

func invalidModule(err error) error {
	return &Error{Subject: "module", Kind: ErrInvalidModule, Detail: err.Error(), Next: "give a core Wasm module, as `waft build` writes it", Err: err}
}
