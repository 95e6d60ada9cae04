package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/waft-project/waft/sdk/manifest"
)

const (
	// ProvenanceSuffix ends the name of a module's provenance: NAME.provenance.json, beside NAME.wasm.
	ProvenanceSuffix = ".provenance.json"
	// ProvenanceMediaType is what it is: an in-toto statement.
	ProvenanceMediaType = "application/vnd.in-toto+json"
	// ProvenanceType is the type of the statement's predicate: SLSA provenance, version 1.
	ProvenanceType = "https://slsa.dev/provenance/v1"
	// DefaultBuilderID says that somebody ran `waft build` somewhere, which is a claim of nothing more.
	DefaultBuilderID = "https://waft.dev/builders/anyone"
	// buildType names what the parameters mean: https://slsa.dev/spec/v1.1/provenance#buildDefinition
	buildType = "https://waft.dev/build/go-filter/v1"
)

// statementJSON is an in-toto statement with SLSA provenance.
// https://slsa.dev/spec/v1.1/provenance
type statementJSON struct {
	Type          string         `json:"_type"`
	Subject       []resourceJSON `json:"subject"`
	PredicateType string         `json:"predicateType"`
	Predicate     predicateJSON  `json:"predicate"`
}

type resourceJSON struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

type predicateJSON struct {
	BuildDefinition struct {
		BuildType            string         `json:"buildType"`
		ExternalParameters   parametersJSON `json:"externalParameters"`
		ResolvedDependencies []resourceJSON `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// parametersJSON are what whoever built the filter chose.
type parametersJSON struct {
	// Package is the filter's import path.
	Package   string   `json:"package"`
	Version   string   `json:"version"`
	MemoryMax int64    `json:"memoryMax"`
	Tags      []string `json:"tags"`
	LoopGuard int64    `json:"loopGuard,omitempty"`
}

// provenance says what a module was made of, and how. It has no time and no id of a run, so the same build gives the same bytes.
func provenance(m manifest.Manifest, s *source, modules []goModule, tags []string, loopGuard int64, builderID string) ([]byte, error) {
	st := statementJSON{
		Type: "https://in-toto.io/Statement/v1", PredicateType: ProvenanceType,
		Subject: []resourceJSON{{Name: m.Name + ".wasm", Digest: map[string]string{"sha256": m.SHA256}}},
	}
	def := &st.Predicate.BuildDefinition
	def.BuildType = buildType
	def.ExternalParameters = parametersJSON{Package: s.main.PkgPath, Version: m.Version, MemoryMax: m.MemoryMax, Tags: append([]string{}, tags...), LoopGuard: loopGuard}
	st.Predicate.RunDetails.Builder.ID = builderID
	for _, module := range modules {
		r := resourceJSON{URI: module.purl()}
		if module.main {
			hash, err := s.mainHash()
			if err != nil {
				return nil, err
			}
			// in-toto's name for Go's hash of a folder; of those files that were compiled.
			r.Digest = map[string]string{"dirHash": hash}
		}
		def.ResolvedDependencies = append(def.ResolvedDependencies, r)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(st); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// mainHash is the hash of the source files of the filter's own module that are compiled into it, by their names from the
// module's root.
func (s *source) mainHash() (string, error) {
	root := s.main.Module.Dir
	var names []string
	for _, p := range s.all {
		if p.Module == nil || p.Module.Path != s.main.Module.Path {
			continue
		}
		for _, file := range slices.Concat(p.GoFiles, p.OtherFiles, p.EmbedFiles) {
			name, err := filepath.Rel(root, file)
			if err != nil || strings.HasPrefix(name, "..") {
				return "", fmt.Errorf("%s is outside of the module in %s", file, root)
			}
			names = append(names, filepath.ToSlash(name))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		return os.Open(filepath.Join(root, filepath.FromSlash(name)))
	})
}
