package registry

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry/internal/strictjson"
)

// Whatever a module says of itself, each layout that is written is read back as that layout with that module, and its configuration is JSON of one
// reading that says it again.
func FuzzConfigs(f *testing.F) {
	f.Add("authz", "1.2.0", "0.2.1", "root", []byte(`{"name":"authz"}`))
	f.Add("", "", "", "", []byte(nil))
	f.Add("a\"b\\", "\u2028<>&", "\x00", "\xff\xfe", []byte("x"))
	f.Fuzz(func(t *testing.T, name, version, abi, root string, manifest []byte) {
		wasm := []byte(wasmMagic)
		module := Descriptor{MediaType: mediaTypeModuleContent, Digest: DigestOf(wasm), Size: int64(len(wasm))}
		for _, layout := range WrittenLayouts() {
			p, err := plan(Module{
				Content: bytes.NewReader(wasm), Size: module.Size, Layout: layout, Name: name, Version: version, ABIVersions: []string{abi}, RootIDs: []string{root}, Manifest: manifest,
			}, module)
			if err != nil {
				t.Fatalf("%s: %v", layout, err)
			}
			img, err := parseImage(p.image.data, mediaTypeOCIManifest)
			if err != nil || img.layout != layout || img.layer != p.layer {
				t.Fatalf("%s is read as %+v, %v", layout, img, err)
			}
			if got := img.annotations[annotationTitle]; got != strings.ToValidUTF8(name, "\ufffd") && name == strings.ToValidUTF8(name, "") {
				t.Fatalf("%s: the name came back as %q", layout, got)
			}
			config := func(mediaType string) []byte {
				at := slices.IndexFunc(p.blobs, func(b blob) bool { return b.desc.MediaType == mediaType })
				if at < 0 {
					t.Fatalf("%s has no %s", layout, mediaType)
				}
				b := p.blobs[at]
				if b.desc.Digest != DigestOf(b.data) || b.desc.Size != int64(len(b.data)) {
					t.Fatalf("%s: %+v is not what it says", layout, b.desc)
				}
				if err := strictjson.Check(b.data); err != nil {
					t.Fatalf("%s: %s: %v", layout, b.data, err)
				}
				return b.data
			}
			switch layout {
			case LayoutOCI:
				// As wasme reads it, by its own names.
				var c struct {
					Type        string
					ABIVersions []string `json:"abiVersions"`
					Config      struct {
						RootIDs []string `json:"rootIds"`
					}
				}
				err := json.Unmarshal(config(mediaTypeModuleConfig), &c)
				if err != nil || c.Type != "envoy_proxy" || len(c.ABIVersions) != 1 || len(c.Config.RootIDs) != 1 {
					t.Fatalf("%+v, %v", c, err)
				}
				if abi == strings.ToValidUTF8(abi, "") && c.ABIVersions[0] != abi {
					t.Fatalf("the ABI's version came back as %q", c.ABIVersions[0])
				}
			case LayoutCompat:
				var c imageConfigJSON
				if err := json.Unmarshal(config(mediaTypeImageConfig), &c); err != nil || c.Architecture != "wasm" || len(c.RootFS.DiffIDs) != 1 || !c.RootFS.DiffIDs[0].Valid() {
					t.Fatalf("%+v, %v", c, err)
				}
			case LayoutCNCF:
				var c wasmConfigJSON
				if err := json.Unmarshal(config(mediaTypeCNCFConfig), &c); err != nil || !slices.Equal(c.LayerDigests, []Digest{module.Digest}) {
					t.Fatalf("%+v, %v", c, err)
				}
			}
		}
	})
}

// Whatever is said to be attached to an artifact, it is one layer about that artifact, or an error of ours.
func FuzzReferrerManifest(f *testing.F) {
	subject := Descriptor{MediaType: mediaTypeOCIManifest, Digest: DigestOf([]byte("artifact")), Size: 8}
	_, good, err := planReferrer(subject, Attachment{ArtifactType: ManifestArtifactType, Data: []byte("{}")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.data)
	f.Add([]byte(strings.Replace(string(good.data), `"artifactType"`, `"artifacttype"`, 1)))
	f.Add([]byte(`{"subject":{"digest":"` + string(subject.Digest) + `"},"layers":[{"digest":"` + string(subject.Digest) + `","size":-1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseReferrer(data, subject.Digest)
		if err != nil {
			wantError(t, err)
			return
		}
		if m.Subject.Digest != subject.Digest || len(m.Layers) != 1 || !m.Layers[0].Digest.Valid() || m.Layers[0].Size < 0 {
			t.Fatalf("%+v", m)
		}
	})
}

// Whatever stands where a list of referrers belongs, an entry is added to it once, nothing that was there is lost, or it is an error of ours.
func FuzzReferrerList(f *testing.F) {
	entry := newBlob(mediaTypeOCIManifest, []byte("new"))
	text, err := encodeJSON(indexEntryJSON{Descriptor: entry.desc, ArtifactType: "a/b"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + mediaTypeOCIIndex + `","manifests":[{"mediaType":"x","digest":"` + string(DigestOf(nil)) + `","size":1,"annotations":{"a":"b"}}],"annotations":{"c":"d"}}`))
	f.Add([]byte(`{"mediaType":"` + mediaTypeOCIIndex + `","manifests":null}`))
	f.Add([]byte(`{"mediaType":"` + mediaTypeOCIIndex + `","Manifests":[1,null,"x"]}`))
	f.Fuzz(func(t *testing.T, old []byte) {
		next, err := addToIndex(old, []indexEntry{{entry.desc.Digest, text}})
		if err != nil {
			wantError(t, err)
			return
		}
		if next.data == nil {
			return // it was there
		}
		var was, is struct {
			Manifests []json.RawMessage `json:"manifests"`
		}
		if err := json.Unmarshal(next.data, &is); err != nil {
			t.Fatalf("%s: %v", next.data, err)
		}
		if err := json.Unmarshal(old, &was); err == nil && len(is.Manifests) != len(was.Manifests)+1 {
			t.Fatalf("%d entries became %d: %s", len(was.Manifests), len(is.Manifests), next.data)
		}
		if again, err := addToIndex(next.data, []indexEntry{{entry.desc.Digest, text}}); err != nil || again.data != nil {
			t.Fatalf("added twice: %s, %v", again.data, err)
		}
	})
}

// Whatever stands where a signature image belongs, a layer is added to it once, nothing that was there is lost, or it is an error of ours.
func FuzzSidecar(f *testing.F) {
	layer := layerJSON{Descriptor{MediaType: "text/plain", Digest: DigestOf([]byte("new")), Size: 3}, map[string]string{"sig": "1"}}
	first, _, err := addToSidecar(nil, layerJSON{Descriptor{MediaType: "text/plain", Digest: DigestOf(nil)}, nil})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first.data)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + mediaTypeDockerManifest + `","layers":[]}`))
	f.Add([]byte(`{"mediaType":"` + mediaTypeOCIManifest + `","layers":[{"digest":"x"}]}`))
	f.Fuzz(func(t *testing.T, old []byte) {
		was, err := parseSidecar(old)
		if err != nil {
			wantError(t, err)
			return
		}
		next, config, err := addToSidecar(old, layer)
		if err != nil {
			wantError(t, err)
			return
		}
		if next.data == nil {
			return // it was there
		}
		is, err := parseSidecar(next.data)
		if err != nil || len(is.Layers) != len(was.Layers)+1 || is.Config.Digest != DigestOf(config.data) {
			t.Fatalf("%+v became %+v, %v", was, is, err)
		}
		if again, _, err := addToSidecar(next.data, layer); err != nil || again.data != nil {
			t.Fatalf("added twice: %s, %v", again.data, err)
		}
	})
}

// What is taken as a mirror is a host and a repository that can be asked.
func FuzzMirror(f *testing.F) {
	for _, s := range []string{"a.example=b.example", "a.example=b.example:5000/prefix/x,tags", "a=b,tags,tags", "[::1]:5000=localhost", "=", "a=/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, m, err := ParseMirror(s)
		if err != nil {
			wantError(t, err)
			return
		}
		if _, err := ParseReference(host + "/x"); err != nil {
			t.Fatalf("%q is about %s, which no reference can name: %v", s, host, err)
		}
		if validHost(m.Host) != nil || m.Prefix != "" && validRepository(m.Prefix+"/x") != nil && len(m.Prefix) < 250 {
			t.Fatalf("%q names %+v", s, m)
		}
	})
}

// Whatever a registry says of an error, it is words that fit on a line.
func FuzzWords(f *testing.F) {
	f.Add([]byte(`{"errors":[{"code":"DENIED","message":"no\u001b[31m\nway"}]}`))
	f.Add([]byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, words := range []string{clip(registryWords(body)), clip(string(body))} {
			if len(words) > 400 || strings.ContainsAny(words, "\n\t\r\x00\x1b") {
				t.Fatalf("%q", words)
			}
		}
		if life := readTokenLife(body); life <= 0 {
			t.Fatalf("a token that lives %v", life)
		}
	})
}

func wantError(t *testing.T, err error) {
	t.Helper()
	e, ok := err.(*Error)
	if !ok || e.Next == "" {
		t.Fatalf("not an Error with a next step: %v", err)
	}
}
