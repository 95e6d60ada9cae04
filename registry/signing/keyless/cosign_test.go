//go:build interop

package keyless_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/signing/keyless"
)

var update = flag.Bool("update", false, "write what the services made to testdata, for the tests that run without them")

func push(t *testing.T, e registrytest.Endpoint, path string) registry.Artifact {
	t.Helper()
	a, err := e.Client(t).Push(t.Context(), e.Reference(t, path), registry.ModuleBytes(registrytest.Wasm(1000, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func verifierOf(t *testing.T, file string) *keyless.Verifier {
	t.Helper()
	v, err := keyless.NewVerifier(read(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func collect(t *testing.T, e registrytest.Endpoint, a registry.Artifact) signing.Collection {
	t.Helper()
	found, err := signing.Collect(t.Context(), e.Client(t), a)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What is signed by way of real services, by us or by cosign, is verified by both, and what was changed by neither.
func TestServices(t *testing.T) {
	s := startServices(t)
	config, err := keyless.ParseServices(read(t, s.signingConfig))
	if err != nil {
		t.Fatal(err)
	}
	e := registrytest.Start(t)
	ours, theirs := push(t, e, "signed/ours:1"), push(t, e, "signed/theirs:1")
	by, err := keyless.Sign(t.Context(), e.Client(t), ours, config, s.issuer.token(t, who), verifierOf(t, s.trustedRoot))
	if err != nil || by.Issuer != s.issuer.url || by.Subject != who || by.Time.IsZero() {
		t.Fatalf("signed by %+v, %v", by, err)
	}
	token := filepath.Join(s.dir, "token")
	s.write(t, "token", []byte(s.issuer.token(t, who)))
	s.cosign(t, "sign", "--yes", "--allow-http-registry", "--identity-token", token, "--signing-config", s.signingConfig, "--trusted-root", s.trustedRoot, theirs.Reference.String())

	byProgram := push(t, e, "signed/program:1")
	waft := exec.CommandContext(t.Context(), os.Getenv("WAFT"), "sign", "--plain-http", e.Host, byProgram.Reference.String(),
		"--identity-token", token, "--signing-config", s.signingConfig, "--trusted-root", s.trustedRoot)
	if out, err := waft.CombinedOutput(); err != nil || !strings.Contains(string(out), who) {
		t.Fatalf("waft sign (WAFT names the program): %v\n%s", err, out)
	}

	cosignTakes := func(a registry.Artifact, subject, issuer, root string) error {
		out, err := s.runCosign(t.Context(), "verify", "--allow-http-registry", "--certificate-identity", subject, "--certificate-oidc-issuer", issuer,
			"--trusted-root", root, "--use-signed-timestamps", "--insecure-ignore-sct", a.Reference.String())
		if err != nil {
			t.Logf("cosign: %s", out)
		}
		return err
	}
	weTake := func(a registry.Artifact, subject, issuer, root string) bool {
		proofs, reasons := verifierOf(t, root).VerifyAll(collect(t, e, a), a.Digest)
		for _, p := range proofs {
			if p.Certificate.Subject == subject && p.Certificate.Issuer == issuer && p.PredicateType == signing.PredicateSignature {
				return true
			}
		}
		t.Logf("we: %+v %v", proofs, reasons)
		return false
	}
	judge := func(name string, a registry.Artifact, subject, issuer, root string, good bool) {
		t.Helper()
		if err := cosignTakes(a, subject, issuer, root); (err == nil) != good {
			t.Errorf("%s: cosign says %v, want good: %v", name, err, good)
		}
		if weTake(a, subject, issuer, root) != good {
			t.Errorf("%s: we say otherwise; want good: %v", name, good)
		}
	}
	for name, a := range map[string]registry.Artifact{"ours": ours, "theirs": theirs, "the program's": byProgram} {
		judge(name, a, who, s.issuer.url, s.trustedRoot, true)
		judge(name+", somebody else", a, "eve@example.com", s.issuer.url, s.trustedRoot, false)
		judge(name+", another issuer", a, who, "https://issuer.example", s.trustedRoot, false)
		judge(name+", other authorities", a, who, s.issuer.url, s.otherRoot, false)
	}

	list := collect(t, e, ours).Evidence
	if len(list) != 1 {
		t.Fatalf("%d signatures", len(list))
	}
	bundle := list[0].Bundle()
	other, err := e.Client(t).Push(t.Context(), e.Reference(t, "signed/other:1"), registry.ModuleBytes(registrytest.Wasm(1000, 2)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := signing.AttachSignature(t.Context(), e.Client(t), other, bundle); err != nil {
		t.Fatal(err)
	}
	judge("moved to another artifact", other, who, s.issuer.url, s.trustedRoot, false)
	for _, tc := range tamperings {
		var text map[string]any
		if err := json.Unmarshal(bundle, &text); err != nil {
			t.Fatal(err)
		}
		tc.change(text)
		changed, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		a := push(t, e, "tampered/"+tc.repository+":1")
		if err := signing.AttachSignature(t.Context(), e.Client(t), a, changed); err != nil {
			t.Fatal(err)
		}
		judge(tc.name, a, who, s.issuer.url, s.trustedRoot, false)
	}
	if *update {
		for name, data := range map[string][]byte{"bundle.json": bundle, "trusted_root.json": read(t, s.trustedRoot), "other_root.json": read(t, s.otherRoot), "signing_config.json": read(t, s.signingConfig)} {
			if err := os.WriteFile(filepath.Join("testdata", name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
