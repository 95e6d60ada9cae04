package testresult

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ErrReport is in the chain of errors about a report that cannot be used.
var ErrReport = errors.New("report that cannot be used")

// Report is a report as it was read. It is plain data.
type Report struct {
	// SHA256 is the module's, in hex.
	SHA256 string `json:"sha256"`
	// Result is Passed or Failed; the in-toto predicate knows WARNED, too.
	Result string `json:"result"`
	// Hosts are the profiles in whose hosts the scenarios ran: "envoy-1.36", or "envoy-1.40 (Envoy 1.40.0)" for a real one.
	Hosts []string `json:"hosts"`
	// PassedTests and FailedTests count.
	PassedTests int `json:"passedTests"`
	FailedTests int `json:"failedTests"`
	// Predicate is what the statement says, to be signed.
	Predicate json.RawMessage `json:"-"`
}

// Decode reads a report that is not trusted. Errors are ErrReport.
func Decode(data []byte) (Report, error) {
	if len(data) > MaxBytes {
		return Report{}, fmt.Errorf("over the limit of %d bytes: %w", MaxBytes, ErrReport)
	}
	var st struct {
		statementJSON
		Predicate json.RawMessage `json:"predicate"`
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrReport, err)
	}
	if st.Type != statementType || st.PredicateType != PredicateType || len(st.Subject) != 1 {
		return Report{}, fmt.Errorf("it is no in-toto statement about one module with a %s: %w", PredicateType, ErrReport)
	}
	var p predicateJSON
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrReport, err)
	}
	r := Report{
		SHA256: st.Subject[0].Digest["sha256"], Result: p.Result, Hosts: []string{},
		PassedTests: len(p.PassedTests), FailedTests: len(p.FailedTests), Predicate: st.Predicate,
	}
	for _, c := range p.Configuration {
		switch host := c.Annotations["host"]; {
		case host == HostEnvoy && c.Annotations["version"] != "":
			r.Hosts = append(r.Hosts, fmt.Sprintf("%s (Envoy %s)", c.Name, c.Annotations["version"]))
		case host != "" || strings.HasPrefix(c.Name, "envoy-"):
			r.Hosts = append(r.Hosts, c.Name)
		}
	}
	return r, nil
}

// Read reads a report from a file, and asks that it is about the module and says that everything passed: what has failed is not to be
// published. It gives the statement's bytes as well. The error wraps fs.ErrNotExist where there is no file.
func Read(path, sha256 string) (Report, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return Report{}, nil, fmt.Errorf("read the report: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return Report{}, nil, fmt.Errorf("read the report: %w", err)
	}
	r, err := Decode(data)
	if err != nil {
		return Report{}, nil, fmt.Errorf("%s: %w; run `waft test --report` again, or remove the file", path, err)
	}
	if r.SHA256 != sha256 {
		return Report{}, nil, fmt.Errorf("%s: it is about the module %q, and not about %s; run `waft test --module FILE.wasm --report` for this one, or remove the file: %w", path, r.SHA256, sha256, ErrReport)
	}
	if r.Result != Passed || r.FailedTests > 0 || len(r.Hosts) == 0 {
		return Report{}, nil, fmt.Errorf("%s: it says %q, with %d tests passed and %d failed; mend the filter, and run `waft test --report` again: %w",
			path, r.Result, r.PassedTests, r.FailedTests, ErrReport)
	}
	return r, data, nil
}
