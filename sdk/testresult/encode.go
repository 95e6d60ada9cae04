package testresult

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/waft-project/waft/sdk/filtertest"
)

const (
	// Suffix ends the name of a report: NAME.report.json, beside NAME.wasm.
	Suffix = ".report.json"
	// MediaType is what it is: an in-toto statement.
	MediaType = "application/vnd.in-toto+json"
	// PredicateType is the type of the statement's predicate: a test result.
	PredicateType = "https://in-toto.io/attestation/test-result/v0.1"
	// MaxBytes is the size of a report.
	MaxBytes = 4 << 20

	statementType = "https://in-toto.io/Statement/v1"
)

// The results that a report can have.
const (
	// Passed: every scenario did, on every host.
	Passed = "PASSED"
	// Failed: something did not.
	Failed = "FAILED"
)

// The hosts that scenarios run in.
const (
	// HostWasm is package wasmhost, which does as an Envoy of that version would.
	HostWasm = "wasmhost"
	// HostEnvoy is a real Envoy.
	HostEnvoy = "envoy"
)

// Tests are what was tested of one module, and what came of it.
type Tests struct {
	// Name is the filter's, and SHA256 the digest of its module, in hex.
	Name, SHA256 string
	// Files are the scenario files that were run.
	Files []File
	// Runs are one for each host. None is a failure.
	Runs []Run
	// Failures are what else went wrong, each a line: hosts that differ, traces that are not as they were pinned.
	Failures []string
}

// File is a scenario file.
type File struct {
	// Name is that of the file, such as basic.yaml; SHA256 is its digest, in hex.
	Name, SHA256 string
}

// Run is one run of all scenarios.
type Run struct {
	// Profile is the Envoy version, as a manifest has it: envoy-1.36.
	Profile string
	// Host is HostWasm or HostEnvoy, and Version the exact version of the latter.
	Host, Version string
	// Report is what came of it.
	Report filtertest.Report
}

// statementJSON is an in-toto statement with a test result.
type statementJSON struct {
	Type          string         `json:"_type"`
	Subject       []resourceJSON `json:"subject"`
	PredicateType string         `json:"predicateType"`
	Predicate     predicateJSON  `json:"predicate"`
}

type resourceJSON struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type predicateJSON struct {
	Result        string         `json:"result"`
	Configuration []resourceJSON `json:"configuration"`
	PassedTests   []string       `json:"passedTests"`
	FailedTests   []string       `json:"failedTests"`
}

// profileURI begins the address that an in-toto configuration must have; it is a name, and nothing stands there.
const profileURI = "https://waft.dev/profiles/"

// Encode writes the report. The profiles come first among its configurations, then the scenario files.
func (t Tests) Encode() ([]byte, error) {
	st := statementJSON{
		Type: statementType, PredicateType: PredicateType,
		Subject: []resourceJSON{{Name: t.Name + ".wasm", Digest: map[string]string{"sha256": t.SHA256}}},
	}
	p := &st.Predicate
	p.Result, p.Configuration, p.PassedTests, p.FailedTests = Passed, []resourceJSON{}, []string{}, []string{}
	if len(t.Runs) == 0 {
		p.Result = Failed
	}
	for _, run := range t.Runs {
		at := resourceJSON{Name: run.Profile, URI: profileURI + run.Profile, Annotations: map[string]string{"host": run.Host}}
		where := run.Profile
		if run.Version != "" {
			at.Annotations["version"] = run.Version
			where = "Envoy " + run.Version
		}
		p.Configuration = append(p.Configuration, at)
		if !run.Report.OK() {
			p.Result = Failed
		}
		for _, s := range run.Report.Scenarios {
			test := fmt.Sprintf("%s: %s: %s", where, filepath.Base(s.File), s.Name)
			if s.Pass {
				p.PassedTests = append(p.PassedTests, test)
			} else {
				p.FailedTests = append(p.FailedTests, test)
			}
		}
	}
	for _, f := range t.Files {
		p.Configuration = append(p.Configuration, resourceJSON{Name: "scenarios/" + f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	if len(t.Failures) > 0 {
		p.Result = Failed
		p.FailedTests = append(p.FailedTests, t.Failures...)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(st); err != nil {
		return nil, err
	}
	if text.Len() > MaxBytes {
		return nil, fmt.Errorf("the report of %s has %d bytes, over the limit of %d; give its scenarios shorter names", t.Name, text.Len(), MaxBytes)
	}
	return text.Bytes(), nil
}
