package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// waftOut runs a command line in this process and gives what it printed.
func waftOut(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func mustWaft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := waftOut(t, args...)
	if err != nil {
		t.Fatalf("waft %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// writeKey makes a key that is encrypted as cosign does it, and gives the files of both halves.
func writeKey(t *testing.T, dir, name, password string) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(key, func(bool) ([]byte, error) { return []byte(password), nil })
	if err != nil {
		t.Fatal(err)
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(dir, name+".key"), filepath.Join(dir, name+".pub")
	for path, content := range map[string][]byte{private: cryptoutils.PEMEncode("ENCRYPTED SIGSTORE PRIVATE KEY", der), public: text} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

// From a build to a policy's verdict, by the commands that a person would use.
func TestBuildPushSignVerify(t *testing.T) {
	e := registrytest.Start(t)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv(passwordVariable, "secret")
	key, pub := writeKey(t, dir, "release", "secret")
	_, otherPub := writeKey(t, dir, "other", "secret")
	mustWaft(t, "build", "--out", dir, "--version", "1.0.0", "--builder-id", "https://ci.example/builder", "../../sdk/build/testdata/bare")
	wasm, ref := filepath.Join(dir, "bare.wasm"), e.Host+"/filters/bare:1.0.0"
	run := func(args ...string) []string { return append(args, "--plain-http", e.Host) }

	// Without a key: what it is made of is attached, and nothing counts as a signature.
	mustWaft(t, run("push", wasm, ref)...)
	if _, err := waftOut(t, run("verify", ref, "--key", pub)...); !errors.Is(err, signing.ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	types := func(ref string) (types []string) {
		var got struct{ Attached []registry.Referrer }
		if err := json.Unmarshal([]byte(mustWaft(t, run("inspect", ref, "-o", "json")...)), &got); err != nil {
			t.Fatal(err)
		}
		for _, r := range got.Attached {
			types = append(types, r.ArtifactType)
		}
		slices.Sort(types)
		return types
	}
	plain := []string{"application/vnd.cyclonedx+json", "application/vnd.in-toto+json", "application/vnd.waft.manifest.v1+json"}
	if got := types(ref); !slices.Equal(got, plain) {
		t.Errorf("attached are %q", got)
	}

	policy := filepath.Join(dir, "trust.yaml")
	text, err := os.ReadFile(pub)
	if err != nil {
		t.Fatal(err)
	}
	writePolicy := func(builder, revoked string) {
		t.Helper()
		content := fmt.Sprintf(`apiVersion: waft.dev/v1
kind: TrustPolicy
metadata: {name: test}
spec:
  keys:
  - name: release
    publicKey: %q
  revoked: {digests: ["sha256:%s"]}
  rules:
  - name: filters
    repositories: ["%s/filters/*"]
    signatures: {keys: [release]}
    attestations:
    - {name: built by CI, predicateType: "https://slsa.dev/provenance/v1", keys: [release], contains: {runDetails: {builder: {id: "%s"}}}}
    - {name: a list of its modules, predicateType: "https://cyclonedx.org/bom", keys: [release]}
`, text, revoked, e.Host, builder)
		if err := os.WriteFile(policy, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refusedWith := func(code trust.Code, ref string) {
		t.Helper()
		var r *trust.Refusal
		if _, err := waftOut(t, run("verify", ref, "--policy", policy)...); !errors.As(err, &r) || r.Code != code {
			t.Errorf("want a refusal by %s, have %v", code, err)
		}
	}
	zeros := strings.Repeat("0", 64)
	writePolicy("https://ci.example/builder", zeros)
	refusedWith(trust.CodeSignature, ref)
	mustWaft(t, run("sign", ref, "--key", key)...)
	mustWaft(t, run("verify", ref, "--key", otherPub, "--key", pub)...)
	refusedWith(trust.CodeAttestation, ref)

	// With a key, all of it at once, for every layout.
	mustWaft(t, run("push", wasm, ref, "--layout", "oci,compat,cncf", "--sign-key", key)...)
	for _, ref := range []string{ref, ref + "-compat", ref + "-cncf"} {
		mustWaft(t, run("verify", ref, "--key", pub)...)
		mustWaft(t, run("verify", ref, "--policy", policy)...)
		if _, err := waftOut(t, run("verify", ref, "--key", otherPub)...); !errors.Is(err, signing.ErrUnsigned) {
			t.Errorf("%s, another key: %v", ref, err)
		}
	}
	module := strings.TrimPrefix(digestLine(t, mustWaft(t, run("inspect", ref)...), "module"), "sha256:")
	writePolicy("https://another.example/builder", zeros)
	refusedWith(trust.CodeAttestation, ref)
	writePolicy("https://ci.example/builder", module)
	for _, ref := range []string{ref, ref + "-compat", ref + "-cncf"} {
		refusedWith(trust.CodeRevoked, ref)
	}

	// A push by a policy: what it refuses gets no tag, and the signature that the push makes counts.
	guarded := e.Host + "/filters/guarded:1"
	refusedPush := func(code trust.Code, args ...string) {
		t.Helper()
		var r *trust.Refusal
		if _, err := waftOut(t, run(append([]string{"push", wasm, "--policy", policy}, args...)...)...); !errors.As(err, &r) || r.Code != code {
			t.Errorf("%q: want a refusal by %s, have %v", args, code, err)
		}
		if _, err := waftOut(t, run("inspect", guarded)...); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("%q: it was published: %v", args, err)
		}
	}
	refusedPush(trust.CodeRevoked, guarded, "--sign-key", key)
	writePolicy("https://ci.example/builder", zeros)
	refusedPush(trust.CodeSignature, guarded)
	refusedPush(trust.CodeNoRule, e.Host+"/other/x:1", "--sign-key", key)
	mustWaft(t, run("push", wasm, guarded, "--layout", "oci,compat", "--policy", policy, "--sign-key", key)...)
	mustWaft(t, run("verify", guarded, "--policy", policy)...)

	t.Setenv(passwordVariable, "wrong")
	if _, err := waftOut(t, run("sign", ref, "--key", key)...); !errors.Is(err, signing.ErrInvalidKey) {
		t.Errorf("a wrong password: %v", err)
	}
}

func digestLine(t *testing.T, table, name string) string {
	t.Helper()
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			return f[1]
		}
	}
	t.Fatalf("no line %s in\n%s", name, table)
	return ""
}

func TestSigningCommandLines(t *testing.T) {
	for _, tc := range []struct{ args, word string }{
		{"sign r.example/x:1", "--key FILE is missing"}, {"attest r.example/x:1 --key k", "--type URI is missing"},
		{"verify r.example/x:1", "--key FILE, --certificate-identity WHO or --policy FILE"}, {"verify r.example/x:1 --key k --policy p", "--key FILE, --certificate-identity WHO or --policy FILE"},
		{"push x.wasm r.example/x:1 --layout docker", "oci, compat, cncf"},
	} {
		_, err := waftOut(t, strings.Fields(tc.args)...)
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.word) {
			t.Errorf("waft %s: %v", tc.args, err)
		}
	}
}
