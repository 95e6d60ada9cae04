package build

import (
	"encoding/json"
	"fmt"
)

// SBOM is what is read of a list of a module's Go modules, as Build writes it.
type SBOM struct {
	// SHA256 is the module's that it is about, in hex.
	SHA256 string `json:"sha256"`
	// Modules are the Go modules in it, with their versions; empty for one that has none, such as the filter's own.
	Modules map[string]string `json:"modules"`
}

// DecodeSBOM reads a list that is not trusted. Of a CycloneDX document of another origin it takes what it finds: components by their names.
// Errors are ErrManifest.
func DecodeSBOM(data []byte) (SBOM, error) {
	var bom struct {
		BOMFormat string `json:"bomFormat"`
		Metadata  struct {
			Component struct {
				Hashes []struct{ Alg, Content string }
			}
		}
		Components []struct{ Name, Version string }
	}
	if err := decodeOrigin(data, &bom); err != nil {
		return SBOM{}, err
	}
	if bom.BOMFormat != "CycloneDX" {
		return SBOM{}, notOrigin("it is no CycloneDX document", nil)
	}
	s := SBOM{Modules: map[string]string{}}
	for _, h := range bom.Metadata.Component.Hashes {
		if h.Alg == "SHA-256" {
			s.SHA256 = h.Content
		}
	}
	for _, c := range bom.Components {
		s.Modules[c.Name] = c.Version
	}
	return s, nil
}

// Provenance is what is read of how a module was made, as Build writes it.
type Provenance struct {
	// SHA256 is the module's that it is about, in hex.
	SHA256 string `json:"sha256"`
	// Builder says who built it: a URI.
	Builder string `json:"builder"`
	// BuildType says what the parameters mean: a URI.
	BuildType string `json:"buildType"`
	// Package is the filter's import path, and Version what its author called it; empty where the build is of another type.
	Package string   `json:"package,omitempty"`
	Version string   `json:"version,omitempty"`
	Tags    []string `json:"tags,omitempty"`
	// Predicate is what the statement says, to be compared with what was signed.
	Predicate json.RawMessage `json:"-"`
}

// DecodeProvenance reads an in-toto statement with SLSA provenance that is not trusted. Errors are ErrManifest.
func DecodeProvenance(data []byte) (Provenance, error) {
	var st statementJSON
	var raw struct {
		Predicate json.RawMessage `json:"predicate"`
	}
	if err := decodeOrigin(data, &st); err != nil {
		return Provenance{}, err
	}
	if err := decodeOrigin(data, &raw); err != nil {
		return Provenance{}, err
	}
	if st.PredicateType != ProvenanceType || len(st.Subject) != 1 {
		return Provenance{}, notOrigin(fmt.Sprintf("it is no statement about one module with a %s", ProvenanceType), nil)
	}
	def := st.Predicate.BuildDefinition
	return Provenance{
		SHA256: st.Subject[0].Digest["sha256"], Builder: st.Predicate.RunDetails.Builder.ID, BuildType: def.BuildType,
		Package: def.ExternalParameters.Package, Version: def.ExternalParameters.Version, Tags: def.ExternalParameters.Tags, Predicate: raw.Predicate,
	}, nil
}

func decodeOrigin(data []byte, into any) error {
	if len(data) > MaxOriginBytes {
		return notOrigin(fmt.Sprintf("over the limit of %d bytes", MaxOriginBytes), nil)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return notOrigin(err.Error(), err)
	}
	return nil
}

func notOrigin(detail string, err error) error {
	return &Error{Subject: "what a module was made of", Kind: ErrManifest, Detail: detail, Next: "ask whoever published it", Err: err}
}
