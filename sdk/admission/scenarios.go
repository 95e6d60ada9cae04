package admission

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk/filtertest"
)

const (
	// Suffix ends the name of the file beside a module that holds its scenario files: NAME.scenarios.json, beside NAME.wasm.
	Suffix = ".scenarios.json"
	// MaxBytes is the size of that file.
	MaxBytes = 16 << 20
	// MaxFiles is how many scenario files one module may have there.
	MaxFiles = 1024
)

// ErrScenarios is in the chain of errors about scenarios that cannot be read, or are another module's.
var ErrScenarios = errors.New("scenarios that cannot be used")

// Scenarios are the scenario files of a filter. The zero value is none. It is plain data: treat it as read-only.
type Scenarios struct {
	// SHA256 is the module's that was built from the same sources, in hex.
	SHA256 string `json:"sha256"`
	// Files in the order of their names, as they were written.
	Files []File `json:"files"`
}

// File is a scenario file.
type File struct {
	// Name is that of the file in the folder scenarios, such as basic.yaml.
	Name string `json:"name"`
	// Text is its YAML.
	Text string `json:"text"`
}

// Collect reads the scenario files of a filter's folder: DIR/scenarios/*.yaml. A filter without any has no Files. A file that is not one
// is an error that names it and the line.
func Collect(dir string) (Scenarios, error) {
	parsed, err := filtertest.Load(dir)
	if errors.Is(err, filtertest.ErrNoScenarios) {
		return Scenarios{Files: []File{}}, nil
	}
	if err != nil {
		return Scenarios{}, fmt.Errorf("collect scenarios: %w", err)
	}
	if len(parsed) > MaxFiles {
		return Scenarios{}, fmt.Errorf("%s: %d scenario files, over the limit of %d: put scenarios of one configuration into one file: %w", dir, len(parsed), MaxFiles, ErrScenarios)
	}
	s := Scenarios{Files: make([]File, 0, len(parsed))}
	for _, f := range parsed {
		text, err := os.ReadFile(f.Path)
		if err != nil {
			return Scenarios{}, fmt.Errorf("collect scenarios: %w", err)
		}
		s.Files = append(s.Files, File{Name: filepath.Base(f.Path), Text: string(text)})
	}
	return s, nil
}

// Encode is the form of the file beside the module. Equal values give equal bytes. More than MaxBytes is an error.
func (s Scenarios) Encode() ([]byte, error) {
	if s.Files == nil {
		s.Files = []File{}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	if text.Len() > MaxBytes {
		return nil, fmt.Errorf("the scenario files are over the limit of %d bytes: %w", MaxBytes, ErrScenarios)
	}
	return text.Bytes(), nil
}

// Read reads what `waft build` wrote beside a module, and compares it with the module's digest. Where there is no such file, there are no
// Files and found is false: something else has built the module.
func Read(modulePath, sha256 string) (s Scenarios, found bool, err error) {
	path := strings.TrimSuffix(modulePath, filepath.Ext(modulePath)) + Suffix
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Scenarios{}, false, nil
	}
	if err != nil {
		return Scenarios{}, false, fmt.Errorf("read the module's scenarios: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return Scenarios{}, false, fmt.Errorf("read the module's scenarios: %w", err)
	}
	fail := func(format string, args ...any) (Scenarios, bool, error) {
		return Scenarios{}, true, fmt.Errorf("%s: %s; run `waft build` again, or remove the file: %w", path, fmt.Sprintf(format, args...), ErrScenarios)
	}
	if len(data) > MaxBytes {
		return fail("over the limit of %d bytes", MaxBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return fail("%v", err)
	}
	if s.SHA256 != sha256 {
		return fail("it is about the module %q, and %s is %s", s.SHA256, modulePath, sha256)
	}
	if len(s.Files) > MaxFiles {
		return fail("%d files, over the limit of %d", len(s.Files), MaxFiles)
	}
	return s, true, nil
}

// parse gives the scenario files in the form that can be run.
func (s Scenarios) parse() ([]filtertest.File, error) {
	var files []filtertest.File
	for _, f := range s.Files {
		if slices.ContainsFunc(files, func(o filtertest.File) bool { return o.Path == f.Name }) {
			return nil, fmt.Errorf("%s is there twice: %w", f.Name, ErrScenarios)
		}
		parsed, err := filtertest.Parse(f.Name, []byte(f.Text))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrScenarios, err)
		}
		files = append(files, parsed)
	}
	return files, nil
}
