package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Version is what is compared. What is not known is the zero value, and then not compared, unless a field says otherwise.
type Version struct {
	// Artifact is the digest of the image manifest; empty for a file.
	Artifact string
	// Module is the digest of the module: sha256:HEX.
	Module string
	// Size of the module in bytes.
	Size int64
	// Version is the author's.
	Version string
	// ABI is the version of the proxy-wasm ABI.
	ABI string
	// MemoryMax is in bytes; 0 is no maximum.
	MemoryMax int64
	// Imports and Exports are sorted.
	Imports, Exports []string
	// Envoys are the profiles that can load it.
	Envoys []string
	// ConfigSchema is the JSON Schema of its configuration; nil: none is known.
	ConfigSchema json.RawMessage
	// Modules are the Go modules in it, with their versions. Nil: not known.
	Modules map[string]string
	// Layouts are those that it is published in. Nil: it is a file.
	Layouts []string
	// Signers are the keys that signed it. Nil: it is a file.
	Signers []string
}

// Change is one value that is another one now. Empty: there was none, or is none.
type Change struct {
	What string `json:"what"`
	Was  string `json:"was"`
	Is   string `json:"is"`
}

// Names are what was added to a list of names, and what was removed.
type Names struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

// Empty says that nothing was.
func (n Names) Empty() bool { return len(n.Added)+len(n.Removed) == 0 }

// Difference is what changed from one version to another.
type Difference struct {
	// Values are artifact, module, size, version, ABI and memory maximum, those that changed.
	Values  []Change `json:"values"`
	Imports Names    `json:"imports"`
	Exports Names    `json:"exports"`
	Envoys  Names    `json:"envoys"`
	// Config are changes of the configuration's schema, in the order of their paths.
	Config []SchemaChange `json:"config"`
	// ConfigUnknown says that neither version has a schema.
	ConfigUnknown bool `json:"configUnknown"`
	// Breaks says that one of them breaks, or may break, a configuration that exists.
	Breaks bool `json:"breaks"`
	// Modules are changes of the Go modules inside; ModulesUnknown says that one of the versions does not tell which it has.
	Modules        []Change `json:"modules"`
	ModulesUnknown bool     `json:"modulesUnknown"`
	Layouts        Names    `json:"layouts"`
	Signers        Names    `json:"signers"`
}

// Same says that nothing changed.
func (d Difference) Same() bool {
	return len(d.Values)+len(d.Config)+len(d.Modules) == 0 && d.Imports.Empty() && d.Exports.Empty() && d.Envoys.Empty() && d.Layouts.Empty() && d.Signers.Empty()
}

// Versions says what changed from a to b.
func Versions(a, b Version) Difference {
	d := Difference{
		Values: []Change{}, Config: Schemas(a.ConfigSchema, b.ConfigSchema), Modules: []Change{},
		Imports: names(a.Imports, b.Imports), Exports: names(a.Exports, b.Exports), Envoys: names(a.Envoys, b.Envoys),
		Layouts: names(nil, nil), Signers: names(nil, nil), ConfigUnknown: a.ConfigSchema == nil && b.ConfigSchema == nil,
	}
	value := func(what, was, is string) {
		if was != is && was != "" && is != "" {
			d.Values = append(d.Values, Change{what, was, is})
		}
	}
	value("artifact", a.Artifact, b.Artifact)
	value("module", a.Module, b.Module)
	value("size", fmt.Sprint(a.Size), fmt.Sprint(b.Size))
	value("version", a.Version, b.Version)
	value("abi", a.ABI, b.ABI)
	value("memory max", fmt.Sprint(a.MemoryMax), fmt.Sprint(b.MemoryMax))
	d.Breaks = slices.ContainsFunc(d.Config, func(c SchemaChange) bool { return c.Effect == Breaks || c.Effect == MayBreak })
	if d.ModulesUnknown = a.Modules == nil || b.Modules == nil; !d.ModulesUnknown {
		d.Modules = append(d.Modules, modules(a.Modules, b.Modules)...)
	}
	if a.Layouts != nil && b.Layouts != nil {
		d.Layouts = names(a.Layouts, b.Layouts)
	}
	if a.Signers != nil && b.Signers != nil {
		d.Signers = names(a.Signers, b.Signers)
	}
	return d
}

func modules(a, b map[string]string) []Change {
	var changes []Change
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		was, had := a[path]
		is, has := b[path]
		if had && has && was == is {
			continue
		}
		changes = append(changes, Change{path, known(was, had), known(is, has)})
	}
	return changes
}

// known is a module's version, for one that is there.
func known(version string, there bool) string {
	if there && version == "" {
		return "(no version)" // the filter's own module, say
	}
	return version
}

func names(a, b []string) Names {
	n := Names{Added: []string{}, Removed: []string{}}
	for _, s := range b {
		if !slices.Contains(a, s) {
			n.Added = append(n.Added, s)
		}
	}
	for _, s := range a {
		if !slices.Contains(b, s) {
			n.Removed = append(n.Removed, s)
		}
	}
	return n
}
