package build

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/waft-project/waft/sdk/manifest"
)

const (
	// DefaultMemoryMax is the memory maximum, in bytes, that Build writes into a module: 64 MiB. With it, a filter that
	// allocates without end stops at some 200 MB of Envoy's memory instead of 1.2 GB.
	DefaultMemoryMax = 64 << 20
	// maxMemory is what 32-bit Wasm can address.
	maxMemory = 4 << 30
	// DefaultOutDir is the folder, in the working directory, that Build writes to.
	DefaultOutDir = "dist"
)

// Options of a Build. The zero value is a sound default.
type Options struct {
	// Name of the filter. Empty: the base name of its directory.
	Name string
	// Version of the filter. Empty: DefaultVersion. Nothing is taken from version control.
	Version string
	// OutDir is where NAME.wasm and NAME.json go. It is made if need be. Empty: DefaultOutDir.
	OutDir string
	// MemoryMax is the most memory, in bytes, that one VM may grow to: a multiple of 64 KiB. 0: what the filter's source says
	// with //waft:memory, or else DefaultMemoryMax.
	MemoryMax int64
	// LoopGuard is how often a callback may go back in loops before the module traps, from MinLoopGuard to MaxLoopGuard. 0: what the filter's
	// source says with //waft:loop-guard, or else no guard, and no cost. NoLoopGuard: none, whatever the source says.
	LoopGuard int64
	// BuilderID says in the provenance who built it, as a URI: a CI system that vouches for its builds gives its own.
	// Empty: DefaultBuilderID.
	BuilderID string
	// Go is the go command. Empty: "go", from the PATH.
	Go string
	// Beside gives more files to be written with those of the build, by how their names end: ".x.json" becomes NAME.x.json. It is called
	// when everything else is made; an error ends the build. Nil: none.
	Beside func(m manifest.Manifest) (map[string][]byte, error)
	// Step is told what is being done ("compile", "config schema", …), for progress. Nil: nobody.
	Step func(string)
}

// Result is what a Build made.
type Result struct {
	// Module and ManifestPath are the files written.
	Module, ManifestPath string
	// Symbols is the file that names the module's functions, for ReadSymbols.
	Symbols string
	// SBOM and Provenance are the files that say what the module was made of, and how.
	SBOM, Provenance string
	// Manifest is what ManifestPath holds.
	Manifest manifest.Manifest
	// Report says what Check found, with the chain of Go functions behind each import that an Envoy lacks.
	Report CheckReport
	// Changes are what was changed in the module that the toolchain made, and why.
	Changes []Finding
	// Warnings are Report.Warnings, and those of the build itself.
	Warnings []Finding
}

// Build compiles the filter in a directory and writes its module, its manifest, its symbols, what it was
// made of and how: all of them, or none. The directory may
// belong to any Go module; it is compiled with that module's own dependencies.
//
// A filter that does not call sdk.Register, such as one on a bare proxy-wasm SDK, builds as well: its manifest then has no
// configuration schema. Several Builds may run at once, if their names or folders differ.
func Build(ctx context.Context, dir string, opts Options) (Result, error) {
	opts, err := opts.withDefaults(dir)
	if err != nil {
		return Result{}, err
	}
	temp, err := os.MkdirTemp("", "waft-build-")
	if err != nil {
		return Result{}, fmt.Errorf("%s: make a folder to build in: %w", dir, err)
	}
	defer os.RemoveAll(temp)
	opts.step("look for the filter")
	said, err := readDirectives(dir)
	if err != nil {
		return Result{}, err
	}
	tc := toolchain{goCommand: opts.Go, dir: dir, temp: temp, tags: said.tags}
	source, err := tc.load(ctx)
	if err != nil {
		return Result{}, err
	}
	opts.step("compile")
	module, err := tc.link(ctx, source)
	if err != nil {
		return Result{}, err
	}
	opts.step("adapt")
	loops := max(cmp.Or(opts.LoopGuard, said.loopGuard), 0)
	wasm, symbols, changes, err := tc.adapt(ctx, source, module, loops)
	if err != nil {
		return Result{}, err
	}
	if wasm, err = setMemoryMax(wasm, cmp.Or(opts.MemoryMax, said.memoryMax, DefaultMemoryMax)); err != nil {
		return Result{}, &Error{Subject: dir, Kind: ErrInvalidModule, Detail: err.Error(), Next: "raise the memory maximum", Err: err}
	}
	opts.step("check")
	report, err := Check(wasm)
	if err != nil {
		return Result{}, err
	}
	if report.missesImports() {
		opts.step("look for what drags imports in")
		if err := tc.explain(ctx, source, module.without, &report); err != nil {
			return Result{}, err
		}
	}
	if err := loadable(dir, report); err != nil {
		return Result{}, err
	}
	opts.step("config schema")
	schema, warnings, err := tc.configSchema(ctx, source)
	if err != nil {
		return Result{}, err
	}
	m, err := manifestOf(report, ManifestOptions{Name: opts.Name, Version: opts.Version, ConfigSchema: schema})
	if err != nil {
		return Result{}, err
	}
	opts.step("provenance")
	version, err := tc.goVersion(ctx)
	if err != nil {
		return Result{}, err
	}
	modules := source.goModules(version)
	bom, err := sbom(m, modules)
	if err != nil {
		return Result{}, fmt.Errorf("%s: list its Go modules: %w", dir, err)
	}
	origin, err := provenance(m, source, modules, said.tags, loops, cmp.Or(opts.BuilderID, DefaultBuilderID))
	if err != nil {
		return Result{}, fmt.Errorf("%s: write its provenance: %w", dir, err)
	}
	opts.step("write")
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	r := Result{
		Module: filepath.Join(opts.OutDir, opts.Name+".wasm"), ManifestPath: filepath.Join(opts.OutDir, opts.Name+".json"),
		Symbols: filepath.Join(opts.OutDir, opts.Name+SymbolsSuffix),
		SBOM:    filepath.Join(opts.OutDir, opts.Name+SBOMSuffix), Provenance: filepath.Join(opts.OutDir, opts.Name+ProvenanceSuffix),
		Manifest: m, Report: report, Changes: changes, Warnings: append(report.Warnings[:len(report.Warnings):len(report.Warnings)], warnings...),
	}
	described, err := m.Encode()
	if err != nil {
		return Result{}, fmt.Errorf("write %s: %w", r.ManifestPath, err)
	}
	symbols.SHA256 = m.SHA256
	outputs := []artefact{{r.Module, wasm}, {r.Symbols, symbols.encode()}, {r.SBOM, bom}, {r.Provenance, origin}}
	if opts.Beside != nil {
		more, err := opts.Beside(m)
		if err != nil {
			return Result{}, fmt.Errorf("%s: %w", dir, err)
		}
		for _, suffix := range slices.Sorted(maps.Keys(more)) {
			outputs = append(outputs, artefact{filepath.Join(opts.OutDir, opts.Name+suffix), more[suffix]})
		}
	}
	if err := writeAll(append(outputs, artefact{r.ManifestPath, described})...); err != nil {
		return Result{}, err
	}
	return r, nil
}

func (o Options) step(name string) {
	if o.Step != nil {
		o.Step(name)
	}
}

func (o Options) withDefaults(dir string) (Options, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return o, &Error{Subject: dir, Kind: ErrNotFilter, Detail: "there is no such directory", Next: "name the directory of a filter", Err: err}
	}
	if !info.IsDir() {
		return o, &Error{Subject: dir, Kind: ErrNotFilter, Detail: "it is a file", Next: "name the directory of a filter"}
	}
	if o.Name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return o, fmt.Errorf("%s: find its name: %w", dir, err)
		}
		o.Name = filepath.Base(abs)
	}
	if o.Version == "" {
		o.Version = DefaultVersion
	}
	if o.OutDir == "" {
		o.OutDir = DefaultOutDir
	}
	if o.Go == "" {
		o.Go = "go"
	}
	if o.MemoryMax < 0 || o.MemoryMax > maxMemory || o.MemoryMax%wasmPage != 0 {
		return o, &Error{Subject: dir, Kind: ErrOption, Detail: fmt.Sprintf("a memory maximum of %d bytes", o.MemoryMax),
			Next: fmt.Sprintf("give a multiple of %d, up to %d", wasmPage, int64(maxMemory))}
	}
	if o.LoopGuard != 0 && o.LoopGuard != NoLoopGuard && (o.LoopGuard < MinLoopGuard || o.LoopGuard > MaxLoopGuard) {
		return o, &Error{Subject: dir, Kind: ErrOption, Detail: fmt.Sprintf("a loop guard of %d", o.LoopGuard),
			Next: fmt.Sprintf("give from %d to %d, such as 100000000", MinLoopGuard, MaxLoopGuard)}
	}
	// Known before the compiler has worked for nothing.
	if err := manifest.ValidName(o.Name); err != nil {
		return o, &Error{Subject: dir, Kind: ErrOption, Detail: fieldText(err), Next: "give the filter another name", Err: err}
	}
	if err := manifest.ValidVersion(o.Version); err != nil {
		return o, &Error{Subject: dir, Kind: ErrOption, Detail: fieldText(err), Next: "give another version, such as 1.2.0", Err: err}
	}
	return o, nil
}
