package registry_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"oras.land/oras-go/v2/content/oci"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// shipped is a registry with two filters in it, one of them with things attached.
func shipped(t *testing.T) (e registrytest.Endpoint, refs []registry.Reference, wasm [][]byte) {
	t.Helper()
	e = registrytest.Start(t)
	for i, path := range []string{"filters/authz:1.2.0", "filters/headers:2"} {
		module := registrytest.Wasm(200_000+i, byte(i))
		m := registry.ModuleBytes(module)
		m.Name, m.Manifest = path, []byte(`{"name":"`+path+`"}`)
		ref := e.Reference(t, path)
		a, err := e.Client(t).Push(t.Context(), ref, m, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			registrytest.Attach(t, e, a, "application/spdx+json", []byte(`{"spdxVersion":"SPDX-2.3"}`))
			sig := ref
			sig.Tag = "sha256-" + a.Digest.Hex() + ".sig"
			registrytest.Tag(t, e, sig, "application/vnd.dev.cosign.simplesigning.v1+json", []byte(`{"critical":{}}`))
		}
		refs, wasm = append(refs, ref), append(wasm, module)
	}
	return e, refs, wasm
}

func export(t *testing.T, e registrytest.Endpoint, refs ...registry.Reference) ([]byte, registry.Bundle) {
	t.Helper()
	var buf bytes.Buffer
	b, err := e.Client(t).Export(t.Context(), refs, &buf, nil)
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), b
}

// What leaves one registry in a bundle arrives in another one, with everything that is attached.
func TestPain15BundleRoundTrip(t *testing.T) {
	from, refs, wasm := shipped(t)
	bundle, told := export(t, from, refs...)
	if len(told.Artifacts) != 2 || told.Attached != 4 || told.Blobs == 0 || told.Bytes < 400_000 {
		t.Errorf("exported %+v", told)
	}
	faulty := registrytest.NewFaulty(registrytest.Start(t).Handler)
	to := registrytest.Serve(t, faulty)
	for _, prefix := range []string{"", "mirror/team"} {
		var last int64
		got, err := to.Client(t).Import(t.Context(), bytes.NewReader(bundle), int64(len(bundle)), registry.Reference{Registry: to.Host, Repository: prefix},
			func(done, total int64) {
				if done < last || done > total {
					t.Errorf("progress went from %d to %d of %d", last, done, total)
				}
				last = done
			})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Artifacts) != 2 || got.Attached != 4 || got.Bytes != told.Bytes || last == 0 {
			t.Errorf("imported %+v", got)
		}
		for i, ref := range refs {
			was, err := from.Client(t).Resolve(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			ref.Registry, ref.Repository = to.Host, strings.TrimPrefix(prefix+"/"+ref.Repository, "/")
			a, path, err := to.Client(t).Pull(t.Context(), ref, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, wasm[i])
			if a.Digest != was.Digest || !bytes.Equal(a.Manifest, was.Manifest) {
				t.Errorf("%s came as %s with the manifest %s", ref, a.Digest, a.Manifest)
			}
			if had, has := registrytest.Referrers(t, from, was), registrytest.Referrers(t, to, a); !maps.Equal(had, has) || len(has) == 0 {
				t.Errorf("%s had %v attached and has %v", ref, had, has)
			}
			if i == 0 {
				ref.Tag = "sha256-" + a.Digest.Hex() + ".sig"
				if _, err := to.Client(t).Resolve(t.Context(), ref); errors.Is(err, registry.ErrNotFound) {
					t.Error("the signature did not come along")
				}
			}
		}
	}
	// Once more: nothing is sent that is there.
	faulty.Forget()
	if _, err := to.Client(t).Import(t.Context(), bytes.NewReader(bundle), int64(len(bundle)), registry.Reference{Registry: to.Host}, nil); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(faulty.Requests(), func(r string) bool { return strings.Contains(r, "/uploads/") }) {
		t.Errorf("blobs were sent again: %q", faulty.Requests())
	}
}

// What is attached and cannot be in a bundle does not keep the rest from it, and is named.
func TestExportLeavesOut(t *testing.T) {
	from, refs, _ := shipped(t)
	a, err := from.Client(t).Resolve(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	index := registrytest.AttachIndex(t, from, a)
	bundle, told := export(t, from, refs[0])
	if len(told.LeftOut) != 1 || told.LeftOut[0].Digest != index || told.Attached == 0 {
		t.Errorf("exported %+v", told)
	}
	to := registrytest.Start(t)
	if _, err := to.Client(t).Import(t.Context(), bytes.NewReader(bundle), int64(len(bundle)), registry.Reference{Registry: to.Host}, nil); err != nil {
		t.Error(err)
	}
}

// The same artifacts give the same bytes, from whatever registry and in whatever order.
func TestBundleIsReproducible(t *testing.T) {
	from, refs, _ := shipped(t)
	first, _ := export(t, from, refs...)
	second, _ := export(t, from, refs[1], refs[0], refs[1])
	if !bytes.Equal(first, second) {
		t.Error("another order gives another bundle")
	}
	to := registrytest.Start(t)
	if _, err := to.Client(t).Import(t.Context(), bytes.NewReader(first), int64(len(first)), registry.Reference{Registry: to.Host}, nil); err != nil {
		t.Fatal(err)
	}
	for i := range refs {
		refs[i].Registry = to.Host
	}
	third, _ := export(t, to, refs...)
	if !bytes.Equal(first, third) {
		t.Error("another registry gives another bundle")
	}
}

// Other tools read a bundle as the OCI image layout that it is.
func TestBundleIsAnImageLayout(t *testing.T) {
	from, refs, _ := shipped(t)
	bundle, _ := export(t, from, refs...)
	path := t.TempDir() + "/bundle.tar"
	writeTestFile(t, path, bundle)
	store, err := oci.NewFromTar(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := store.Resolve(t.Context(), "filters/authz:1.2.0")
	if err != nil {
		t.Fatal(err)
	}
	above, err := store.Predecessors(t.Context(), desc)
	if err != nil || len(above) != 2 {
		t.Errorf("%d manifests are attached, want 2: %v", len(above), err)
	}
}

// A registry that fails in the middle of an export, or gives something else, fails it.
func TestExportFaults(t *testing.T) {
	e, faulty, _, _ := published(t)
	for name, tc := range map[string]struct {
		fault registrytest.Fault
		kind  error
	}{
		"wrong bytes": {registrytest.WrongBytes, registry.ErrDigestMismatch}, "half": {registrytest.HalfBody, registry.ErrUnavailable},
		"short": {registrytest.ShortBody, registry.ErrSizeMismatch}, "gone": {registrytest.Answer(404), registry.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			faulty.Break(registrytest.Path("GET", "/blobs/"), tc.fault)
			defer faulty.Mend()
			_, err := e.Client(t).Export(t.Context(), []registry.Reference{e.Reference(t, "filters/authz:1")}, io.Discard, nil)
			checkKind(t, err, tc.kind)
		})
	}
}

// A bundle that was damaged on its way is refused, and leaves no tag.
func TestImportRefuses(t *testing.T) {
	from, refs, _ := shipped(t)
	good, _ := export(t, from, refs...)
	change := func(f func(h *tar.Header, data []byte) (*tar.Header, []byte), more ...*tar.Header) []byte {
		var buf bytes.Buffer
		r, w := tar.NewReader(bytes.NewReader(good)), tar.NewWriter(&buf)
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if h, data = f(h, data); h == nil {
				continue
			}
			h.Size = int64(len(data))
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range more {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	same := func(h *tar.Header, data []byte) (*tar.Header, []byte) { return h, data }
	without := func(name string) func(*tar.Header, []byte) (*tar.Header, []byte) {
		return func(h *tar.Header, data []byte) (*tar.Header, []byte) {
			if h.Name == name {
				return nil, nil
			}
			return h, data
		}
	}
	// big says whether an entry is a module's blob, small whether it is a manifest.
	big := func(h *tar.Header) bool { return h.Size > 100_000 }
	// Go reads sparse files and does not write them: the name of the record is changed behind its back. The file is one hole of no size.
	var hole bytes.Buffer
	w := tar.NewWriter(&hole)
	err := w.WriteHeader(&tar.Header{Name: "sparse", Mode: 0o600, Size: 512, Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"ABC.sparse.major": "1", "ABC.sparse.minor": "0", "ABC.sparse.name": "sparse", "ABC.sparse.realsize": "0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(append([]byte("0\n"), make([]byte, 510)...)); err != nil {
		t.Fatal(err)
	}
	sparse := append(bytes.ReplaceAll(hole.Bytes(), []byte("ABC.sparse."), []byte("GNU.sparse.")), good...)
	for _, tc := range []struct {
		name   string
		bundle []byte
		kind   error
	}{
		{"a name that is too long", change(same, &tar.Header{Name: strings.Repeat("a/", 128) + "x", Typeflag: tar.TypeReg}), registry.ErrInvalidArchive},
		{"a sparse file", sparse, registry.ErrInvalidArchive},
		{"a flipped bit in a module", change(func(h *tar.Header, data []byte) (*tar.Header, []byte) {
			if big(h) {
				data[len(data)/2] ^= 1
			}
			return h, data
		}), registry.ErrDigestMismatch},
		{"a flipped bit in a manifest", change(func(h *tar.Header, data []byte) (*tar.Header, []byte) {
			return h, bytes.Replace(data, []byte(`"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest`), []byte(`"schemaVersion":3,"mediaType":"application/vnd.oci.image.manifest`), 1)
		}), registry.ErrDigestMismatch},
		{"a module that is too short", change(func(h *tar.Header, data []byte) (*tar.Header, []byte) {
			if big(h) {
				data = data[:len(data)-1]
			}
			return h, data
		}), registry.ErrSizeMismatch},
		{"a module that is missing", change(func(h *tar.Header, data []byte) (*tar.Header, []byte) {
			if big(h) {
				return nil, nil
			}
			return h, data
		}), registry.ErrInvalidArchive},
		{"cut short", good[:len(good)/2], registry.ErrInvalidArchive},
		{"not a tar", []byte("PK\x03\x04 and so on"), registry.ErrInvalidArchive},
		{"empty", nil, registry.ErrInvalidArchive},
		{"no index", change(without("index.json")), registry.ErrInvalidArchive},
		{"no layout", change(without("oci-layout")), registry.ErrInvalidArchive},
		{"a link", change(same, &tar.Header{Name: "blobs/sha256/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), registry.ErrInvalidArchive},
		{"a path that goes up", change(same, &tar.Header{Name: "../x", Typeflag: tar.TypeReg}), registry.ErrInvalidArchive},
		{"a file twice", change(same, &tar.Header{Name: "./index.json", Typeflag: tar.TypeReg}), registry.ErrInvalidArchive},
		{"a name that is none", change(func(h *tar.Header, data []byte) (*tar.Header, []byte) {
			return h, bytes.Replace(data, []byte("filters/authz:1.2.0"), []byte("filters/AUTHZ:1.2.0"), 1)
		}), registry.ErrInvalidArchive},
		{"an index of garbage", change(func(h *tar.Header, data []byte) (*tar.Header, []byte) {
			if h.Name == "index.json" {
				data = []byte("{")
			}
			return h, data
		}), registry.ErrInvalidArchive},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faulty := registrytest.NewFaulty(registrytest.Start(t).Handler)
			to := registrytest.Serve(t, faulty)
			_, err := to.Client(t).Import(t.Context(), bytes.NewReader(tc.bundle), int64(len(tc.bundle)), registry.Reference{Registry: to.Host}, nil)
			checkKind(t, err, tc.kind)
			if slices.ContainsFunc(faulty.Requests(), func(r string) bool { return strings.HasPrefix(r, http.MethodPut) && strings.Contains(r, "/manifests/") }) {
				t.Errorf("manifests were written: %q", faulty.Requests())
			}
		})
	}
}
