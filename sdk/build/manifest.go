package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waft-project/waft/sdk/manifest"
)

// DefaultVersion is the version of a module when none is given. It is the same everywhere, so that builds are reproducible.
const DefaultVersion = "0.0.0-dev"

// ManifestOptions says what bytes cannot.
type ManifestOptions struct {
	// Name of the filter. Required; see manifest.Manifest for what it may hold.
	Name string
	// Version of the filter. Empty: DefaultVersion.
	Version string
	// ConfigSchema is the JSON Schema of the configuration. Nil: not known.
	ConfigSchema json.RawMessage
}

// ManifestFor makes the manifest of a module that waft did not build: Rust, a bare Go SDK, anything that is a proxy-wasm
// module. The module is taken as it is. Errors are ErrInvalidModule, ErrUnloadable and ErrOption.
func ManifestFor(wasm []byte, opts ManifestOptions) (manifest.Manifest, error) {
	report, err := Check(wasm)
	if err != nil {
		return manifest.Manifest{}, err
	}
	return manifestOf(report, opts)
}

// manifestOf puts a report into a manifest's form.
func manifestOf(r CheckReport, opts ManifestOptions) (manifest.Manifest, error) {
	if err := loadable(opts.Name, r); err != nil {
		return manifest.Manifest{}, err
	}
	if opts.Version == "" {
		opts.Version = DefaultVersion
	}
	m := manifest.Manifest{
		Name: opts.Name, Version: opts.Version, SHA256: r.SHA256, Size: r.Size, ABI: r.ABI, Language: r.Language,
		Imports: r.Imports, Envoys: r.Envoys(), MemoryMax: r.MemoryMax, ConfigSchema: opts.ConfigSchema,
	}
	for _, p := range r.Profiles {
		for _, im := range p.Missing {
			if m.Missing == nil {
				m.Missing = map[string][]string{}
			}
			if list := m.Missing[p.Name]; len(list) == 0 || list[len(list)-1] != im.Import {
				m.Missing[p.Name] = append(list, im.Import)
			}
		}
	}
	if err := m.Validate(); err != nil {
		return manifest.Manifest{}, &Error{Subject: opts.Name, Kind: ErrOption, Detail: fieldText(err), Next: "give another name or version", Err: err}
	}
	return m, nil
}

// fieldText is what package manifest has against a field, without saying that there is a manifest, since there is none yet.
func fieldText(err error) string {
	var e *manifest.Error
	if errors.As(err, &e) {
		return e.Field + ": " + e.Reason
	}
	return err.Error()
}

// loadable is the error for a module that no Envoy can load.
func loadable(subject string, r CheckReport) error {
	if r.OK() {
		return nil
	}
	findings := r.Problems
	if len(findings) == 0 {
		findings = r.Warnings
	}
	var details, next []string
	for _, f := range findings {
		details = append(details, f.Message)
		if f.Next != "" && (len(next) == 0 || next[len(next)-1] != f.Next) {
			next = append(next, f.Next)
		}
	}
	return &Error{Subject: subject, Kind: ErrUnloadable, Detail: strings.Join(details, "; "), Next: strings.Join(next, "; ")}
}

// ReadManifest reads the manifest that Build wrote beside a module (NAME.json beside NAME.wasm) and compares it with the
// module's digest. The error wraps fs.ErrNotExist when there is none, which is the time for ManifestFor; it is an
// ErrManifest when the manifest is broken or another module's.
func ReadManifest(modulePath string, sha256 string) (manifest.Manifest, error) {
	path := strings.TrimSuffix(modulePath, filepath.Ext(modulePath)) + ".json"
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return manifest.Manifest{}, fmt.Errorf("no manifest beside %s: %w", modulePath, err)
		}
		return manifest.Manifest{}, fmt.Errorf("read the manifest: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, manifest.MaxBytes+1))
	if err != nil {
		return manifest.Manifest{}, fmt.Errorf("read the manifest: %w", err)
	}
	m, err := manifest.Decode(data)
	if err != nil {
		return manifest.Manifest{}, &Error{Subject: path, Kind: ErrManifest, Detail: err.Error(), Next: "run `waft build` again, or remove the file", Err: err}
	}
	if m.SHA256 != sha256 {
		return manifest.Manifest{}, &Error{Subject: path, Kind: ErrManifest,
			Detail: fmt.Sprintf("it describes the module %s, and %s is %s", m.SHA256, modulePath, sha256), Next: "run `waft build` again, or remove the file"}
	}
	return m, nil
}
