package distributor

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
)

// keptArtifact is the file of an artifact from another registry.
func keptArtifact(t testing.TB) (digest string, raw []byte) {
	t.Helper()
	image, module := registry.DigestOf([]byte("image")), registry.DigestOf([]byte("module"))
	ref, err := registry.ParseReference("registry.example:5000/filters/authz")
	if err != nil {
		t.Fatal(err)
	}
	raw, err = json.Marshal(artifact{
		Module:   model.Module{Reference: ref.String() + ":1.2.0", Artifact: string(image), Digest: string(module), Size: 4096, Envoys: []string{"envoy-1.40"}, Lists: []model.ListKey{{Path: "rules", Key: "path"}}},
		Manifest: json.RawMessage(`{"name":"authz"}`),
		Origin: &origin{
			Image: registry.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: image, Size: 512},
			Blobs: []registry.Descriptor{{Digest: module, Size: 4096}}, Repositories: []registry.Reference{ref},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(image), raw
}

// FuzzArtifact reads whatever may stand in a file of the folder of artifacts. What is taken is about that artifact, names nothing but digests, is served under names of
// fetched images alone, and is written as the same.
func FuzzArtifact(f *testing.F) {
	digest, whole := keptArtifact(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(`{"module":{"artifact":"` + digest + `","digest":"../../x","size":-1},"manifest":null}`))
	f.Add([]byte(`{"module":{"artifact":"` + digest + `","digest":"` + digest + `"},"manifest":null,"origin":{"image":{"digest":"` + digest + `"},"blobs":[{}],"repositories":[""]}}`))
	f.Add([]byte(`{"module":{"artifact":"` + digest + `","digest":"` + digest + `"},"manifest": null ,"origin":{"image":{"digest":"` + digest + `"},"repositories":["r.example/a@` + digest + `","[::1]/b:1"]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := parseArtifact(digest, raw)
		if err != nil {
			if a.Module.Digest != "" || a.Origin != nil || a.Manifest != nil {
				t.Errorf("%q is %v, and %+v", raw, err, a)
			}
			return
		}
		if a.Module.Artifact != digest || !registry.Digest(a.Module.Digest).Valid() || a.Module.Size < 0 || a.Manifest != nil && !json.Valid(a.Manifest) {
			t.Errorf("%q is taken for %+v", raw, a)
		}
		for _, d := range a.Origin.digests() {
			if !d.Valid() {
				t.Errorf("%q is taken, and names %q", raw, d)
			}
		}
		if schema, err := a.schema("a reference"); a.Manifest == nil && (schema != nil || err != nil) || err != nil && !strings.Contains(err.Error(), "a reference") {
			t.Errorf("%q has the schema %q (%v)", raw, schema, err)
		}
		names := fetched{names: map[string]*repository{}}
		if a.Origin != nil {
			names.add(a.Origin)
		}
		for name := range names.names {
			if path.Clean(name) != name || !strings.HasPrefix(name, fetchedPrefix) {
				t.Errorf("%q is served as %q", raw, name)
			}
			if _, _, err := names.find(name, object{kindManifests, registry.Digest(digest)}); err != nil {
				t.Errorf("%q is served as %q, and not found: %v", raw, name, err)
			}
		}
		first, err := json.Marshal(a)
		if err != nil {
			t.Fatalf("%q is taken, and cannot be kept: %v", raw, err)
		}
		again, err := parseArtifact(digest, first)
		if err != nil {
			t.Fatalf("%q is kept as %q, which cannot be read: %v", raw, first, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%q is kept as %q, and then as %q (%v)", raw, first, second, err)
		}
	})
}

// What is kept of an artifact and is not as it was written is fetched again, and not taken for a module that none can have.
func TestArtifactsThatAreNone(t *testing.T) {
	digest, whole := keptArtifact(t)
	if a, err := parseArtifact(digest, whole); err != nil || a.Origin == nil || a.Module.Size != 4096 {
		t.Fatalf("%+v, %v", a, err)
	}
	for what, from := range map[string][2]string{
		"another artifact":          {`"artifact":"` + digest, `"artifact":"` + string(registry.DigestOf(nil))},
		"a digest that is a path":   {`"digest":"` + string(registry.DigestOf([]byte("module"))), `"digest":"../../x`},
		"less than no bytes":        {`"size":4096`, `"size":-1`},
		"a blob of less than none":  {`"size":4096}]`, `"size":-1}]`},
		"another image":             {`"image":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digest, `"image":{"digest":"` + string(registry.DigestOf(nil))},
		"a repository without name": {`registry.example:5000/filters/authz"]`, `"]`},
	} {
		text := strings.Replace(string(whole), from[0], from[1], 1)
		if text == string(whole) {
			t.Fatalf("%s: %q is not in %s", what, from[0], whole)
		}
		if a, err := parseArtifact(digest, []byte(text)); err == nil {
			t.Errorf("%s: taken for %+v", what, a)
		}
	}
	none := strings.Replace(string(whole), `{"name":"authz"}`, "null", 1)
	if a, err := parseArtifact(digest, []byte(none)); err != nil || a.Manifest != nil {
		t.Errorf("without a manifest it has %q (%v)", a.Manifest, err)
	}
}
