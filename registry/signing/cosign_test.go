//go:build interop

package signing_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
)

const cosignPassword = "a password"

// cosign runs the real one. It gives what was printed, and whether cosign was content.
func cosign(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	binary := os.Getenv("COSIGN")
	if binary == "" {
		t.Fatal("COSIGN does not name cosign's binary; run `make interop`")
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = dir
	// Nothing of the user's configuration, and no network but the registry: a proxy that nobody serves.
	cmd.Env = []string{"HOME=" + dir, "TUF_ROOT=" + filepath.Join(dir, "tuf"), "COSIGN_PASSWORD=" + cosignPassword, "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// cosignVerify asks cosign for an artifact's signature, in one of the two forms.
func cosignVerify(t *testing.T, dir string, a registry.Artifact, pub string, form signing.Form) (string, error) {
	t.Helper()
	return cosign(t, dir, "verify", "--key", pub, "--insecure-ignore-tlog=true", "--allow-http-registry",
		fmt.Sprintf("--new-bundle-format=%v", form == signing.FormBundle), a.Reference.InRepository().AtDigest(a.Digest).String())
}

// cosignSign has cosign sign an artifact, without a log, in one of the two forms.
func cosignSign(t *testing.T, dir string, a registry.Artifact, key string, form signing.Form) {
	t.Helper()
	args := []string{"sign", "--key", key, "--allow-http-registry", "--yes"}
	if form == signing.FormBundle {
		config := filepath.Join(dir, "signing-config.json")
		if err := os.WriteFile(config, []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--signing-config", config)
	} else {
		args = append(args, "--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false")
	}
	out, err := cosign(t, dir, append(args, a.Reference.InRepository().AtDigest(a.Digest).String())...)
	if err != nil {
		t.Fatalf("cosign sign: %v\n%s", err, out)
	}
}

// keyPair is a key that cosign made, encrypted.
func keyPair(t *testing.T) (dir string, s signing.Signer) {
	t.Helper()
	dir = t.TempDir()
	if out, err := cosign(t, dir, "generate-key-pair"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := signing.LoadSigner(filepath.Join(dir, "cosign.key"), password(cosignPassword))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := signing.LoadPublicKey(filepath.Join(dir, "cosign.pub"))
	if err != nil || pub.ID() != publicOf(t, s).ID() {
		t.Fatalf("cosign.pub is %s, %v; cosign.key is %s", pub.ID(), err, publicOf(t, s).ID())
	}
	return dir, s
}

var forms = []signing.Form{signing.FormBundle, signing.FormTag}

// eachRegistry runs a test with the tag schema and with the referrers API.
func eachRegistry(t *testing.T, test func(*testing.T, registrytest.Endpoint)) {
	t.Run("tag schema", func(t *testing.T) { test(t, registrytest.Start(t)) })
	t.Run("referrers API", func(t *testing.T) {
		test(t, registrytest.Serve(t, registrytest.NewReferrersAPI(registrytest.Start(t).Handler)))
	})
}

// What we sign with a key of each kind, cosign verifies in both forms, with that key and no other.
func TestCosignVerifiesOurs(t *testing.T) {
	eachRegistry(t, func(t *testing.T, e registrytest.Endpoint) {
		dir, s := keyPair(t)
		signers := map[string]signing.Signer{"cosign's": s}
		for kind, key := range newKeys(t) {
			signers[kind] = signerOf(t, key)
		}
		for kind, s := range signers {
			t.Run(kind, func(t *testing.T) {
				a := push(t, e, fmt.Sprintf("signed/%x:1", kind), 1)
				for _, form := range forms {
					if out, err := cosignVerify(t, dir, a, "cosign.pub", form); err == nil {
						t.Errorf("%s: cosign takes what is not signed:\n%s", form, out)
					}
				}
				mustSign(t, e, a, s)
				text, err := publicOf(t, s).PEM()
				if err != nil {
					t.Fatal(err)
				}
				pub := filepath.Join(dir, kind+".pub")
				if err := os.WriteFile(pub, text, 0o600); err != nil {
					t.Fatal(err)
				}
				other, err := publicOf(t, newSigner(t)).PEM()
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "other.pub"), other, 0o600); err != nil {
					t.Fatal(err)
				}
				for _, form := range forms {
					out, err := cosignVerify(t, dir, a, pub, form)
					if err != nil || !strings.Contains(out, string(a.Digest)) {
						t.Errorf("%s: cosign refuses it: %v\n%s", form, err, out)
					}
					if out, err := cosignVerify(t, dir, a, "other.pub", form); err == nil {
						t.Errorf("%s: cosign takes it with another key:\n%s", form, out)
					}
				}
			})
		}
	})
}

// Each form stands for itself: cosign, asked for one, is not content with the other.
func TestCosignTellsFormsApart(t *testing.T) {
	e := registrytest.Start(t)
	dir, s := keyPair(t)
	bundle, tag := push(t, e, "signed/x:bundle", 1), push(t, e, "signed/x:tag", 2)
	if _, err := signing.AttestAny(t.Context(), e.Client(t), bundle, s, signing.PredicateSignature, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	whole := e.Reference(t, "whole/x:1")
	other, err := e.Client(t).Push(t.Context(), whole, registry.ModuleBytes(registrytest.Wasm(1000, 2)), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, e, other, s)
	layers, err := e.Client(t).Sidecar(t.Context(), other, "sig", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Client(t).AppendSidecar(t.Context(), tag, "sig", layers[0]); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		a    registry.Artifact
		form signing.Form
		good bool
	}{
		{"bundle as bundle", bundle, signing.FormBundle, true}, {"bundle as tag", bundle, signing.FormTag, false},
		{"tag as tag", tag, signing.FormTag, true},
	} {
		if out, err := cosignVerify(t, dir, tc.a, "cosign.pub", tc.form); (err == nil) != tc.good {
			t.Errorf("%s: %v\n%s", tc.name, err, out)
		}
	}
}

// What cosign signs, in either form, we verify, with that key and no other; and each adds to what the other wrote.
func TestWeVerifyCosigns(t *testing.T) {
	eachRegistry(t, func(t *testing.T, e registrytest.Endpoint) {
		dir, s := keyPair(t)
		for _, form := range forms {
			t.Run(string(form), func(t *testing.T) {
				a := push(t, e, "signed/"+string(form)+":1", 1)
				cosignSign(t, dir, a, "cosign.key", form)
				proofs, reasons := collect(t, e, a).VerifyAll([]signing.PublicKey{publicOf(t, s)}, a.Digest)
				if len(proofs) != 1 || proofs[0].Form != form || len(reasons) != 0 {
					t.Fatalf("%+v %v", proofs, reasons)
				}
				if err := signing.RequireSignature(a, proofs, reasons); err != nil {
					t.Error(err)
				}
				proofs, reasons = collect(t, e, a).VerifyAll([]signing.PublicKey{publicOf(t, newSigner(t))}, a.Digest)
				if len(proofs) != 0 || len(reasons) != 1 {
					t.Errorf("with another key: %+v %v", proofs, reasons)
				}
				second := newSigner(t)
				mustSign(t, e, a, second)
				cosignSign(t, dir, a, "cosign.key", form)
				proofs, _ = collect(t, e, a).VerifyAll([]signing.PublicKey{publicOf(t, s), publicOf(t, second)}, a.Digest)
				if !slices.ContainsFunc(proofs, func(p signing.Proof) bool { return p.Key == publicOf(t, second).ID() && p.Form == form }) ||
					!slices.ContainsFunc(proofs, func(p signing.Proof) bool { return p.Key == publicOf(t, s).ID() && p.Form == form }) {
					t.Errorf("one of two signatures is lost: %+v", proofs)
				}
				if out, err := cosignVerify(t, dir, a, "cosign.pub", form); err != nil {
					t.Errorf("cosign does not find its own: %v\n%s", err, out)
				}
			})
		}
	})
}

// A signature that was moved beside another artifact, or whose payload was changed, convinces neither.
func TestBothRefuse(t *testing.T) {
	eachRegistry(t, func(t *testing.T, e registrytest.Endpoint) {
		dir, s := keyPair(t)
		good, swapped, tampered := push(t, e, "signed/x:good", 1), push(t, e, "signed/x:swapped", 2), push(t, e, "signed/x:tampered", 3)
		mustSign(t, e, good, s)
		c := e.Client(t)
		layers, err := c.Sidecar(t.Context(), good, "sig", 10)
		if err != nil || len(layers) != 1 {
			t.Fatalf("%+v, %v", layers, err)
		}
		list, err := c.Referrers(t.Context(), good, "")
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		att, err := c.ReadReferrer(t.Context(), good, list[0])
		if err != nil {
			t.Fatal(err)
		}
		put := func(a registry.Artifact, l registry.SidecarLayer, att registry.Attachment) {
			if err := c.AppendSidecar(t.Context(), a, "sig", l); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Attach(t.Context(), a, att); err != nil {
				t.Fatal(err)
			}
		}
		put(swapped, layers[0], att)
		// The payload says what it must, and the signature is that of another.
		forged := layers[0]
		forged.Data = []byte(strings.ReplaceAll(string(forged.Data), string(good.Digest), string(tampered.Digest)))
		put(tampered, forged, forgeBundle(t, att, good.Digest, tampered.Digest))
		for name, a := range map[string]registry.Artifact{"swapped": swapped, "tampered": tampered} {
			proofs, reasons := collect(t, e, a).VerifyAll([]signing.PublicKey{publicOf(t, s)}, a.Digest)
			if len(proofs) != 0 || len(reasons) != 2 {
				t.Errorf("%s: we take it: %+v %v", name, proofs, reasons)
			}
			for _, form := range forms {
				if out, err := cosignVerify(t, dir, a, "cosign.pub", form); err == nil {
					t.Errorf("%s, %s: cosign takes it:\n%s", name, form, out)
				}
			}
		}
		for _, form := range forms { // so that the refusals above are not for another reason
			if out, err := cosignVerify(t, dir, good, "cosign.pub", form); err != nil {
				t.Errorf("%s: cosign refuses the good one: %v\n%s", form, err, out)
			}
		}
	})
}
