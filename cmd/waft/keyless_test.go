package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
)

// Who signed without a key is verified by the flags that cosign has for it. The signature is one that real services made; see package keyless's tests.
func TestVerifyIdentity(t *testing.T) {
	e := registrytest.Start(t)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	made := filepath.Join("..", "..", "registry", "signing", "keyless", "testdata")
	a, err := e.Client(t).Push(t.Context(), e.Reference(t, "filters/x:1"), registry.ModuleBytes(registrytest.Wasm(1000, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(filepath.Join(made, "bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := signing.AttachSignature(t.Context(), e.Client(t), a, bundle); err != nil {
		t.Fatal(err)
	}
	verify := func(subject, issuer, root string) (string, error) {
		return waftOut(t, "verify", "--plain-http", e.Host, a.Reference.String(), "--certificate-identity", subject, "--certificate-oidc-issuer", issuer, "--trusted-root", filepath.Join(made, root))
	}
	// The issuer stands in the refusal.
	_, err = verify("ci@example.com", "https://issuer.example", "trusted_root.json")
	if !errors.Is(err, signing.ErrUnsigned) || !strings.Contains(err.Error(), "ci@example.com signed it, by ") {
		t.Fatalf("another issuer: %v", err)
	}
	_, issuer, _ := strings.Cut(err.Error(), "signed it, by ")
	issuer, _, _ = strings.Cut(issuer, ";")
	if out, err := verify("ci@example.com", issuer, "trusted_root.json"); err != nil || !strings.Contains(out, "ci@example.com") {
		t.Errorf("%s, %v", out, err)
	}
	for name, tc := range map[string][2]string{"somebody else": {"eve@example.com", "trusted_root.json"}, "other authorities": {"ci@example.com", "other_root.json"}} {
		if _, err := verify(tc[0], issuer, tc[1]); !errors.Is(err, signing.ErrUnsigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A flag that is missing is named.
	for want, args := range map[string][]string{
		"--trusted-root":     {"verify", "x.example/y:1", "--certificate-identity", "a", "--certificate-oidc-issuer", "b"},
		"--signing-config":   {"sign", "x.example/y:1", "--identity-token", "a", "--trusted-root", "b"},
		"--identity-token":   {"sign", "x.example/y:1", "--identity-token", "a", "--key", "b"},
		"--policy":           {"verify", "x.example/y:1", "--certificate-identity", "a", "--certificate-oidc-issuer", "b", "--trusted-root", "c", "--key", "d"},
		"$WAFT_NO_SUCH_WORD": {"sign", "x.example/y:1", "--identity-token", "env://WAFT_NO_SUCH_WORD", "--signing-config", "a", "--trusted-root", "b"},
	} {
		if _, err := waftOut(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
