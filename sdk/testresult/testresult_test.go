package testresult_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/testresult"
)

var digest = strings.Repeat("ab", 32)

func run(profile, version string, passed ...bool) testresult.Run {
	r := testresult.Run{Profile: profile, Host: testresult.HostWasm, Version: version}
	if version != "" {
		r.Host = testresult.HostEnvoy
	}
	for _, pass := range passed {
		r.Report.Scenarios = append(r.Report.Scenarios, filtertest.Result{File: "x/scenarios/a.yaml", Name: "works", Pass: pass})
	}
	return r
}

func TestReport(t *testing.T) {
	for _, tc := range []struct {
		name           string
		tests          testresult.Tests
		result         string
		passed, failed int
		hosts          []string
	}{
		{"all pass", testresult.Tests{Runs: []testresult.Run{run("envoy-1.36", "", true, true), run("envoy-1.40", "1.40.0", true)}}, testresult.Passed, 3, 0, []string{"envoy-1.36", "envoy-1.40 (Envoy 1.40.0)"}},
		{"one fails", testresult.Tests{Runs: []testresult.Run{run("envoy-1.36", "", true), run("envoy-1.37", "", true, false)}}, testresult.Failed, 2, 1, []string{"envoy-1.36", "envoy-1.37"}},
		{"hosts differ", testresult.Tests{Runs: []testresult.Run{run("envoy-1.36", "", true)}, Failures: []string{"they differ"}}, testresult.Failed, 1, 1, []string{"envoy-1.36"}},
		{"a host on which nothing ran", testresult.Tests{Runs: []testresult.Run{run("envoy-1.36", "")}}, testresult.Failed, 0, 0, []string{"envoy-1.36"}},
		{"no host", testresult.Tests{}, testresult.Failed, 0, 0, []string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.tests.Name, tc.tests.SHA256 = "x", digest
			tc.tests.Files = []testresult.File{{Name: "a.yaml", SHA256: digest}}
			text, err := tc.tests.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := tc.tests.Encode(); !bytes.Equal(text, again) {
				t.Error("the same outcome gives other bytes")
			}
			r, err := testresult.Decode(text)
			if err != nil || r.SHA256 != digest || r.Result != tc.result || r.PassedTests != tc.passed || r.FailedTests != tc.failed || !slices.Equal(r.Hosts, tc.hosts) {
				t.Errorf("it came back as %+v, %v", r, err)
			}
			path := filepath.Join(t.TempDir(), "x"+testresult.Suffix)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := testresult.Read(path, digest); (err == nil) != (tc.result == testresult.Passed) || err != nil && !errors.Is(err, testresult.ErrReport) {
				t.Errorf("to be published: %v", err)
			}
			if _, _, err := testresult.Read(path, strings.Repeat("cd", 32)); !errors.Is(err, testresult.ErrReport) {
				t.Errorf("for another module: %v", err)
			}
		})
	}
}

func TestReportsThatAreNone(t *testing.T) {
	good, err := testresult.Tests{Name: "x", SHA256: digest, Runs: []testresult.Run{run("envoy-1.36", "", true)}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var st map[string]json.RawMessage
	if err := json.Unmarshal(good, &st); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"_type": `"other"`, "predicateType": `"https://slsa.dev/provenance/v1"`, "subject": `[]`, "predicate": `"yes"`,
	} {
		other := map[string]json.RawMessage{}
		for k, v := range st {
			other[k] = v
		}
		other[name] = json.RawMessage(value)
		text, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := testresult.Decode(text); !errors.Is(err, testresult.ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := testresult.Decode(make([]byte, testresult.MaxBytes+1)); !errors.Is(err, testresult.ErrReport) {
		t.Errorf("too large: %v", err)
	}
	if _, _, err := testresult.Read(filepath.Join(t.TempDir(), "none"), digest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	long := run("envoy-1.36", "", true)
	long.Report.Scenarios[0].Name = strings.Repeat("x", testresult.MaxBytes)
	if _, err := (testresult.Tests{Name: "x", SHA256: digest, Runs: []testresult.Run{long}}).Encode(); err == nil {
		t.Error("a report over the limit was written")
	}
}

// Reports come from registries, where anybody may have put them.
func FuzzDecode(f *testing.F) {
	good, err := testresult.Tests{Name: "x", SHA256: digest, Runs: []testresult.Run{run("envoy-1.36", "1.36.4", true)}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"subject":[{}],"predicate":{"configuration":[{"annotations":null}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := testresult.Decode(data)
		if err != nil && !errors.Is(err, testresult.ErrReport) {
			t.Errorf("%v", err)
		}
		if err == nil && (r.Hosts == nil || !json.Valid(r.Predicate)) {
			t.Errorf("%+v", r)
		}
	})
}
