package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
	"github.com/waft-project/waft/sdk/testresult"
)

// From scenarios that passed to a policy that asks for just that.
func TestReportOfScenarios(t *testing.T) {
	w := newWorkshop(t)
	t.Setenv(passwordVariable, "secret")
	key, pub := writeKey(t, w.dir, "release", "secret")
	wasm := w.build(t, "1.0.0", "e2e/filters/stamp")
	ref := w.ref("stamp:1.0.0")
	beside := strings.TrimSuffix(wasm, ".wasm") + testresult.Suffix
	policy := func(want string) string {
		t.Helper()
		text, err := os.ReadFile(pub)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(w.dir, "trust.yaml")
		content := fmt.Sprintf(`apiVersion: waft.dev/v1
kind: TrustPolicy
metadata: {name: test}
spec:
  keys: [{name: release, publicKey: %q}]
  rules:
  - name: filters
    repositories: ["%s/filters/*"]
    signatures: {keys: [release]}
    attestations:
    - name: scenarios passed
      predicateType: %s
      keys: [release]
      contains: %s
`, text, w.e.Host, testresult.PredicateType, want)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const on136 = `{result: PASSED, configuration: [{name: envoy-1.36}]}`
	refused := func(want string) {
		t.Helper()
		var r *trust.Refusal
		if _, err := w.try(t, "verify", ref, "--policy", policy(want)); !errors.As(err, &r) || r.Code != trust.CodeAttestation {
			t.Errorf("%s: %v", want, err)
		}
	}

	w.must(t, "push", wasm, ref, "--sign-key", key)
	refused(on136)

	mustWaft(t, "test", "--report", filepath.Dir(wasm)+"/", "../../e2e/filters/stamp")
	for _, layout := range []string{"oci", "compat,cncf"} {
		w.must(t, "push", wasm, ref, "--sign-key", key, "--layout", layout)
		w.must(t, "verify", ref, "--policy", policy(on136))
		w.must(t, "verify", ref, "--policy", policy(`{result: PASSED, configuration: [{name: envoy-1.36, annotations: {host: wasmhost}}, {name: envoy-1.40}, {name: scenarios/stamp.yaml}]}`))
		refused(`{result: PASSED, configuration: [{name: envoy-9.99}]}`)
		refused(`{result: PASSED, configuration: [{name: envoy-1.36, annotations: {host: envoy}}]}`) // no real one ran
		refused(`{result: FAILED}`)
	}

	// By another key than that of the push: whoever ran the tests vouches for them.
	later := w.ref("later:1") // one artifact in one repository would have the attestation already
	if err := os.Rename(beside, beside+".kept"); err != nil {
		t.Fatal(err)
	}
	w.must(t, "push", wasm, later, "--layout", "oci,compat", "--sign-key", key)
	for _, ref := range []string{later, later + "-compat"} {
		if _, err := w.try(t, "verify", ref, "--policy", policy(on136)); err == nil {
			t.Errorf("%s: it was not attested", ref)
		}
		w.must(t, "attest", ref, "--key", key, "--report", beside+".kept")
		w.must(t, "verify", ref, "--policy", policy(on136))
	}
	if err := os.Rename(beside+".kept", beside); err != nil {
		t.Fatal(err)
	}

	// The report is about these bytes, however they were made, and says what failed.
	mustWaft(t, "build", "--memory", "32", "--out", filepath.Join(w.dir, "small"), "../../e2e/filters/stamp")
	small := filepath.Join(w.dir, "small", "stamp.wasm")
	if _, err := w.try(t, "push", small, w.ref("stamp:small"), "--report", beside); !errors.Is(err, testresult.ErrReport) {
		t.Errorf("a report of other bytes: %v", err)
	}
	if _, err := w.try(t, "attest", w.ref("stamp:1.0.0"), "--key", key, "--report", filepath.Join(w.dir, "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no report: %v", err)
	}
	own := filepath.Join(w.dir, "own.json")
	mustWaft(t, "test", "--module", small, "--report", own, "../../e2e/filters/stamp")
	w.must(t, "push", small, w.ref("stamp:small"), "--report", own)
	if _, err := w.try(t, "attest", w.ref("stamp:small"), "--key", key, "--report", beside); !errors.Is(err, testresult.ErrReport) {
		t.Errorf("another module's report: %v", err)
	}

	broken := filepath.Join(t.TempDir(), "stamp")
	if err := os.CopyFS(broken, os.DirFS("../../e2e/filters/stamp")); err != nil {
		t.Fatal(err)
	}
	more := "upstream: {status: 200}\nscenarios:\n- name: cannot be\n  request: {path: /}\n  want: {response: {status: 418}}\n"
	if err := os.WriteFile(filepath.Join(broken, "scenarios", "impossible.yaml"), []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := waftOut(t, "test", "--module", small, "--report", own, broken); !errors.Is(err, errSaid) {
		t.Errorf("a scenario that cannot pass: %v", err)
	}
	if _, err := w.try(t, "push", small, w.ref("stamp:failed"), "--report", own); !errors.Is(err, testresult.ErrReport) || !strings.Contains(err.Error(), "FAILED") {
		t.Errorf("a report of failures: %v", err)
	}
	if _, err := w.try(t, "inspect", w.ref("stamp:failed")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("it was published: %v", err)
	}
	for _, args := range []string{"test --fuzz --report x ../../e2e/filters/stamp", "test --module x.wasm ../../e2e/filters/stamp ../../filters/headers", "test --report nothing.json ../../e2e/filters/stamp ../../filters/headers", "attest r.example/x:1 --key k --report r --type t"} {
		var usage usageError
		if _, err := waftOut(t, strings.Fields(args)...); !errors.As(err, &usage) {
			t.Errorf("waft %s: %v", args, err)
		}
	}
}
