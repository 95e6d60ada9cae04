package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/waft-project/waft/registry"
)

// The images below are made by oras-go and by hand, not by the code that is under test.

// layer is a layer of an image, by media type.
type layer struct {
	mediaType string
	data      []byte
}

// image is an image to put into a registry as it is.
type image struct {
	mediaType  string // of the manifest; empty for OCI's
	configType string
	config     []byte
	layers     []layer
}

const (
	ociTarGzip    = "application/vnd.oci.image.layer.v1.tar+gzip"
	dockerTarGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerImage   = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig  = "application/vnd.docker.container.image.v1+json"
	ociConfig     = "application/vnd.oci.image.config.v1+json"
	solConfig     = "application/vnd.module.wasm.config.v1+json"
	solContent    = "application/vnd.module.wasm.content.layer.v1+wasm"
)

// put writes an image under a tag and gives the digest of its manifest.
func put(t testing.TB, e Endpoint, ref registry.Reference, img image) registry.Digest {
	t.Helper()
	repo := orasRepository(t, e, ref)
	ctx := context.Background()
	blob := func(mediaType string, data []byte) ocispec.Descriptor {
		t.Helper()
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		if err := repo.Blobs().Push(ctx, d, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if img.mediaType == "" {
		img.mediaType = ocispec.MediaTypeImageManifest
	}
	if img.config == nil {
		img.config = []byte(`{}`)
	}
	m := ocispec.Manifest{MediaType: img.mediaType, Config: blob(img.configType, img.config)}
	m.SchemaVersion = 2
	for _, l := range img.layers {
		m.Layers = append(m.Layers, blob(l.mediaType, l.data))
	}
	return putManifest(t, repo, ref.Tag, img.mediaType, m)
}

func putManifest(t testing.TB, repo *remote.Repository, tag, mediaType string, m any) registry.Digest {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := repo.Manifests().PushReference(context.Background(), d, bytes.NewReader(data), tag); err != nil {
		t.Fatal(err)
	}
	return registry.Digest(d.Digest)
}

// attach pushes something as a referrer of an artifact.
func attach(t testing.TB, e Endpoint, a registry.Artifact, artifactType string, data []byte, created string) {
	t.Helper()
	repo := orasRepository(t, e, a.Reference)
	ctx := context.Background()
	d := ocispec.Descriptor{MediaType: artifactType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := repo.Blobs().Push(ctx, d, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := repo.Blobs().Push(ctx, ocispec.DescriptorEmptyJSON, bytes.NewReader([]byte("{}"))); err != nil {
		t.Fatal(err)
	}
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType, Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{d},
		Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(a.Digest), Size: int64(len(a.ImageManifest))},
	}
	m.SchemaVersion = 2
	if created != "" {
		m.Annotations = map[string]string{ocispec.AnnotationCreated: created}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	md := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := repo.Manifests().Push(ctx, md, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
}

func orasRepository(t testing.TB, e Endpoint, ref registry.Reference) *remote.Repository {
	t.Helper()
	repo, err := e.repository(ref)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// repository is oras-go's view of a repository.
func (e Endpoint) repository(ref registry.Reference) (*remote.Repository, error) {
	repo, err := remote.NewRepository(ref.InRepository().String())
	if err != nil {
		return nil, err
	}
	repo.PlainHTTP = e.PlainHTTP
	repo.SkipReferrersGC = true
	repo.Client = e.httpClient()
	return repo, nil
}

// TarEntry is an entry of an archive for tests.
type TarEntry struct {
	Name string
	Body []byte
	// Type is a tar type flag; 0 is a regular file.
	Type byte
	// Link is the target of a link.
	Link string
}

// TarGzip is a gzipped tar.
func TarGzip(t testing.TB, entries ...TarEntry) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	for _, e := range entries {
		h := &tar.Header{Name: e.Name, Mode: 0o644, Size: int64(len(e.Body)), Typeflag: e.Type, Linkname: e.Link}
		if e.Type == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(e.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// tarZstd is a gzipped tar, packed with zstd instead.
func tarZstd(t testing.TB, gzipped []byte) []byte {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(gzipped))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(z, gz)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func testLayouts(t *testing.T, e Endpoint) {
	wasm := Wasm(70_000, 9)
	packed := TarGzip(t, TarEntry{Name: "runtime-config.json", Body: []byte("{}")}, TarEntry{Name: "./plugin.wasm", Body: wasm})
	other := TarGzip(t, TarEntry{Name: "etc/passwd", Body: []byte("x")})
	for _, tc := range []struct {
		name  string
		want  registry.Layout
		img   image
		istio bool
	}{
		{"oci, layers in the other order", registry.LayoutOCI, image{configType: ociConfig, layers: []layer{{solContent, wasm}, {solConfig, []byte(`{"type":"envoy_proxy"}`)}}}, true},
		{"compat, OCI", registry.LayoutCompat, image{configType: ociConfig, layers: []layer{{ociTarGzip, packed}}}, true},
		{"compat, zstd", registry.LayoutCompat, image{configType: ociConfig, layers: []layer{{"application/vnd.oci.image.layer.v1.tar+zstd", tarZstd(t, packed)}}}, false},
		{"compat, Docker", registry.LayoutCompat, image{mediaType: dockerImage, configType: dockerConfig, layers: []layer{{dockerTarGzip, packed}}}, true},
		{"compat, the last of several", registry.LayoutCompat, image{configType: ociConfig, layers: []layer{{ociTarGzip, other}, {ociTarGzip, packed}}}, true},
		{"CNCF", registry.LayoutCNCF, image{configType: "application/vnd.wasm.config.v0+json", config: []byte(`{"architecture":"wasm","os":"wasip1"}`), layers: []layer{{"application/wasm", wasm}}}, false},
		{"wasm-to-oci", registry.LayoutWasmToOCI, image{configType: "application/vnd.wasm.config.v1+json", layers: []layer{{"application/vnd.wasm.content.layer.v1+wasm", wasm}}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ref := e.Reference(t, "layouts/x:1")
			digest := put(t, e, ref, tc.img)
			c := e.Client(t)
			for range 2 { // cold and warm
				a := mustPull(t, c, ref, wasm)
				if a.Layout != tc.want || a.Digest != digest {
					t.Errorf("read as %s with the digest %s, want %s and %s", a.Layout, a.Digest, tc.want, digest)
				}
				if entries, err := c.Cache().List(); err != nil || len(entries) != 1 || entries[0].Digest != registry.DigestOf(wasm) {
					t.Errorf("the cache holds %+v, %v; want the module alone", entries, err)
				}
			}
			got, err := ReadAsIstio(t.Context(), e, ref)
			if (err == nil) != tc.istio || tc.istio && !bytes.Equal(got.Module, wasm) {
				t.Errorf("the reader of Istio's rules says %v", err)
			}
			compareReaders(t, e, ref)
		})
	}
}

func testUnsupported(t *testing.T, e Endpoint) {
	wasm := Wasm(1000, 1)
	link := byte(tar.TypeSymlink)
	for _, tc := range []struct {
		name string
		kind error
		img  image
	}{
		{"no layers", registry.ErrUnsupportedLayout, image{configType: ociConfig}},
		{"an ordinary image", registry.ErrUnsupportedLayout, image{configType: ociConfig, layers: []layer{{"application/vnd.oci.image.layer.v1.tar", wasm}}}},
		{"three layers", registry.ErrUnsupportedLayout, image{configType: ociConfig, layers: []layer{{solConfig, []byte("{}")}, {solContent, wasm}, {"text/plain", []byte("x")}}}},
		{"one layer of two", registry.ErrUnsupportedLayout, image{configType: ociConfig, layers: []layer{{solContent, wasm}}}},
		{"CNCF with two layers", registry.ErrUnsupportedLayout, image{configType: "application/vnd.wasm.config.v0+json", layers: []layer{{"application/wasm", wasm}, {"application/wasm", Wasm(1000, 2)}}}},
		{"Docker layer under an OCI manifest", registry.ErrUnsupportedLayout, image{configType: ociConfig, layers: []layer{{dockerTarGzip, TarGzip(t, TarEntry{Name: "plugin.wasm", Body: wasm})}}}},
		{"not Wasm", registry.ErrInvalidModule, image{configType: ociConfig, layers: []layer{{solConfig, []byte("{}")}, {solContent, []byte("#!/bin/sh\necho hello\n")}}}},
		{"a component", registry.ErrInvalidModule, image{configType: ociConfig, layers: []layer{{solConfig, []byte("{}")}, {solContent, []byte("\x00asm\x0d\x00\x01\x00\x00")}}}},
		{"not gzip", registry.ErrInvalidArchive, image{configType: ociConfig, layers: []layer{{ociTarGzip, wasm}}}},
		{"an archive without a module", registry.ErrInvalidArchive, image{configType: ociConfig, layers: []layer{{ociTarGzip, TarGzip(t, TarEntry{Name: "x.wasm", Body: wasm})}}}},
		{"two modules in an archive", registry.ErrInvalidArchive, image{configType: ociConfig, layers: []layer{{ociTarGzip, TarGzip(t, TarEntry{Name: "plugin.wasm", Body: wasm}, TarEntry{Name: "b/plugin.wasm", Body: wasm})}}}},
		{"an archive that goes up", registry.ErrInvalidArchive, image{configType: ociConfig, layers: []layer{{ociTarGzip, TarGzip(t, TarEntry{Name: "../plugin.wasm", Body: wasm})}}}},
		{"an absolute path in an archive", registry.ErrInvalidArchive, image{configType: ociConfig, layers: []layer{{ociTarGzip, TarGzip(t, TarEntry{Name: "/plugin.wasm", Body: wasm})}}}},
		{"a link in an archive", registry.ErrInvalidArchive, image{configType: ociConfig, layers: []layer{{ociTarGzip, TarGzip(t, TarEntry{Name: "plugin.wasm", Type: link, Link: "/etc/passwd"})}}}},
		{"something bad behind the module", registry.ErrInvalidArchive, image{configType: ociConfig, layers: []layer{{ociTarGzip, TarGzip(t, TarEntry{Name: "plugin.wasm", Body: wasm}, TarEntry{Name: "l", Type: link, Link: "/"})}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ref := e.Reference(t, "unsupported/x:1")
			put(t, e, ref, tc.img)
			c := e.Client(t)
			_, _, err := c.Pull(t.Context(), ref, nil)
			wantKind(t, err, tc.kind)
			compareReaders(t, e, ref)
		})
	}
	t.Run("an index", func(t *testing.T) {
		ref := e.Reference(t, "unsupported/x:index")
		inner := put(t, e, e.Reference(t, "unsupported/x:1"), image{configType: ociConfig, layers: []layer{{solConfig, []byte("{}")}, {solContent, wasm}}})
		repo := orasRepository(t, e, ref)
		desc, err := repo.Manifests().Resolve(t.Context(), string(inner))
		if err != nil {
			t.Fatal(err)
		}
		index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc}}
		index.SchemaVersion = 2
		putManifest(t, repo, ref.Tag, ocispec.MediaTypeImageIndex, index)
		_, err = e.Client(t).Resolve(t.Context(), ref)
		wantKind(t, err, registry.ErrUnsupportedLayout)
	})
}
