package distributor_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// policyFile is a trust policy in a file that tests change. Its one key signs modules and releases.
type policyFile struct {
	t      *testing.T
	path   string
	signer signing.Signer
	key    signing.PublicKey
}

func newPolicyFile(t *testing.T) *policyFile {
	t.Helper()
	signer, err := signing.FromPrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.PublicKeyOf(t.Context(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return &policyFile{t: t, path: filepath.Join(t.TempDir(), "trust.yaml"), signer: signer, key: key}
}

// put writes the policy with some members of its spec beside the key.
func (p *policyFile) put(spec string) {
	p.t.Helper()
	pem, err := p.key.PEM()
	if err != nil {
		p.t.Fatal(err)
	}
	text := fmt.Sprintf("apiVersion: waft.dev/v1\nkind: TrustPolicy\nmetadata: {name: here}\nspec:\n  keys: [{name: k, publicKey: %q}]\n%s", pem, spec)
	if err := os.WriteFile(p.path+".new", []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.path+".new", p.path); err != nil {
		p.t.Fatal(err)
	}
}

func (p *policyFile) open() *trust.File {
	p.t.Helper()
	f, err := trust.Open(p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

const signedRules = "  rules:\n  - {name: tries, repositories: [\"*/try/*\"], unsigned: true}\n  - {name: all, repositories: [\"*/**\"], signatures: {keys: [k]}}\n"

func plainClient(t *testing.T) *registry.Client {
	t.Helper()
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func signModule(t *testing.T, p *policyFile, reference string) registry.Artifact {
	t.Helper()
	ref, err := registry.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	a, err := plainClient(t).Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signing.Sign(t.Context(), plainClient(t), a, p.signer); err != nil {
		t.Fatal(err)
	}
	return a
}

// What the distributor's policy refuses goes into no release, and is not fetched; what it allows does.
func TestTrustPolicyOfReleases(t *testing.T) {
	p := newPolicyFile(t)
	p.put(signedRules)
	file := p.open()
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true, TrustPolicy: file})
	c := s.client(t)
	ctx := t.Context()
	reference := s.HTTP + "/filters/f:1"
	wasm := module("signed")
	push(t, reference, wasm, schema)
	create := func(name string) (*waftv1.Release, error) {
		return c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release(t, document(name, reference, "{issuer: a}"))})
	}
	refused := func(name string, words ...string) {
		t.Helper()
		_, err := create(name)
		var told *model.Error
		if !errors.As(err, &told) || !errors.Is(err, model.ErrPrecondition) || told.Field != "spec.filters[0].module" || told.Next == "" {
			t.Errorf("%s: %#v", name, err)
			return
		}
		for _, word := range append(words, "filter f", reference, "policy here") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %q", name, err, word)
			}
		}
		if list, err := c.Releases.ListReleases(ctx, &waftv1.ListReleasesRequest{Name: name}); err != nil || len(list.GetReleases()) > 0 {
			t.Errorf("%s was stored all the same: %v, %v", name, list, err)
		}
	}
	refused("unsigned", "rule all", "1 of the keys k must have signed it", "sha256:")
	if status, _, _ := get(t, "http://"+s.HTTP+"/v2/waft/modules/blobs/"+digestOf(wasm)); status != http.StatusNotFound {
		t.Errorf("a module that was refused is given out: %d", status)
	}
	artifact := signModule(t, p, reference)
	created, err := create("signed")
	if err != nil {
		t.Fatal(err)
	}
	// A digest is revoked while the distributor runs; a file that is broken changes nothing.
	reload := func(spec string) {
		t.Helper()
		p.put(spec)
		if _, err := file.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(p.path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Reload(); err == nil {
		t.Error("a broken file was read")
	}
	if _, err := create("signed-too"); err != nil {
		t.Errorf("with a broken file: %v", err)
	}
	reload("  revoked: {digests: [\"" + digestOf(wasm) + "\"]}\n" + signedRules)
	refused("revoked", "is revoked")
	// What was created before is not rolled out any more. There is no node, but the policy is asked first.
	startRollout := func(name string) error {
		_, err := c.Rollouts.StartRollout(ctx, &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
			Metadata: &waftv1.RolloutMetadata{Name: name}, Spec: &waftv1.RolloutSpec{Release: "signed", Target: &waftv1.Target{}},
		}})
		return err
	}
	if err := startRollout("revoked"); !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("a rollout of what is revoked: %v", err)
	}

	// Releases are signed as well: the rollout waits for that.
	reload(signedRules + "  releases: [{name: r, releases: [\"*\"], signatures: {keys: [k]}}]\n")
	if err := startRollout("unsigned"); !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "waft release sign") {
		t.Errorf("a rollout of a release that nobody has signed: %v", err)
	}
	shown, err := api.ReleaseOf(created)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := shown.CanonicalForm()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := trust.ReleaseReference(s.HTTP, "signed", registry.DigestOf(canonical))
	if err != nil {
		t.Fatal(err)
	}
	a, err := plainClient(t).PushDocument(ctx, ref, trust.ReleaseDocument("signed", canonical), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signing.Sign(ctx, plainClient(t), a, p.signer); err != nil {
		t.Fatal(err)
	}
	if err := startRollout("signed"); !strings.Contains(fmt.Sprint(err), "selects none") {
		t.Fatalf("a rollout of a release that is signed: %v", err)
	}

	// Nodes get what it rests on, and judge for themselves.
	policy, _ := file.Policy()
	status, body, _ := get(t, "http://"+s.HTTP+"/trust/artifacts/"+string(artifact.Digest))
	dossier, err := trust.ParseDossier([]byte(body))
	if status != http.StatusOK || err != nil {
		t.Fatalf("%d %v", status, err)
	}
	if _, err := policy.Judge(trust.Artifact{Reference: artifact.Reference, Digest: artifact.Digest, Module: artifact.Module.Digest}, dossier, time.Now()); err != nil {
		t.Error(err)
	}
	status, body, _ = get(t, "http://"+s.HTTP+"/trust/releases/"+shown.ID.String())
	about, err := trust.ParseReleaseDossier([]byte(body))
	if status != http.StatusOK || err != nil {
		t.Fatalf("%d %v", status, err)
	}
	if _, err := policy.JudgeRelease("signed", "global", registry.Digest(shown.ID.Hash), about, time.Now()); err != nil {
		t.Error(err)
	}
	zeros := "sha256:" + strings.Repeat("0", 64)
	for path, want := range map[string]int{
		"artifacts/" + zeros: http.StatusNotFound, "artifacts/x": http.StatusBadRequest, "releases/signed": http.StatusBadRequest,
		"releases/signed@" + zeros: http.StatusNotFound, "": http.StatusNotFound,
	} {
		if status, body, _ := get(t, "http://"+s.HTTP+"/trust/"+path); status != want {
			t.Errorf("/trust/%s: %d %s, want %d", path, status, body, want)
		}
	}
	if status, _ := post(t, "http://"+s.HTTP+"/trust/artifacts/"+zeros, "ann", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", status)
	}
}

// What the API shows of a release is what its hash is of, or it is refused: nobody signs what was not shown.
func TestReleaseOf(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	c := s.client(t)
	push(t, s.HTTP+"/filters/f:1", module("one"), schema)
	text := document("edge", s.HTTP+"/filters/f:1", "{issuer: a}") + "  overrides:\n  - {name: f, module: \"" + s.HTTP + "/filters/f:1\", priority: 0}\n"
	created, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := api.ReleaseOf(created); err != nil || r.ID.Hash != created.GetStatus().GetHash() || r.Overrides[0].Module == nil {
		t.Errorf("%+v, %v", r, err)
	}
	created.GetSpec().GetFilters()[0].Priority = new(int32)
	if r, err := api.ReleaseOf(created); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("another content: %+v, %v", r, err)
	}
}

// The artifact says that there is a waft manifest, and the registry withholds it: then no configuration could be checked.
func TestManifestWithheld(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	wasm := module("bare")
	ref, err := registry.ParseReference(s.HTTP + "/filters/f:1")
	if err != nil {
		t.Fatal(err)
	}
	m := registry.ModuleBytes(wasm)
	m.Annotations = map[string]string{registry.AnnotationManifest: "sha256:" + strings.Repeat("0", 64)}
	if _, err := plainClient(t).Push(t.Context(), ref, m, nil); err != nil {
		t.Fatal(err)
	}
	_, err = s.client(t).Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, document("edge", ref.String(), "{issuer: a}"))})
	if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "does not give it") {
		t.Errorf("%v", err)
	}
}
