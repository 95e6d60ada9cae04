package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layouts, by the words of docs/publish.md. The packed one is there for each compression.
const (
	layoutOCI    = "oci"
	layoutCompat = "compat"
	layoutZstd   = "compat-zstd"
	layoutCNCF   = "cncf"
	layoutOld    = "wasm-to-oci"
)

var layouts = []string{layoutOCI, layoutCompat, layoutZstd, layoutCNCF, layoutOld}

// part is a file of an image, with its media type.
type part struct {
	name, mediaType string
	data            []byte
}

// image is an image as others write that layout. It is made here and not by package registry, so that a client that publishes it tells something
// about what we read.
type image struct {
	config part
	layers []part
}

// images lays out a module in every layout.
func images(wasm []byte) (map[string]image, error) {
	tarball, err := archive(wasm)
	if err != nil {
		return nil, err
	}
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	_, err = g.Write(tarball)
	if err := errors.Join(err, g.Close()); err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		return nil, err
	}
	_, err = z.Write(tarball)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	empty := []byte(`{}`)
	ordinary := part{"config.json", ocispec.MediaTypeImageConfig, fmt.Appendf(nil,
		`{"architecture":"wasm","os":"wasip1","config":{},"rootfs":{"type":"layers","diff_ids":["%s"]}}`, digestOf(tarball))}
	return map[string]image{
		layoutOCI: {part{"config.json", ocispec.MediaTypeImageConfig, empty}, []part{
			{"runtime-config.json", "application/vnd.module.wasm.config.v1+json", []byte(`{"type":"envoy_proxy","abiVersions":["v0.2.1"],"config":{"rootIds":[]}}`)},
			{"filter.wasm", "application/vnd.module.wasm.content.layer.v1+wasm", wasm},
		}},
		layoutCompat: {ordinary, []part{{"layer.tar.gz", ocispec.MediaTypeImageLayerGzip, gz.Bytes()}}},
		layoutZstd:   {ordinary, []part{{"layer.tar.zst", ocispec.MediaTypeImageLayerZstd, zst.Bytes()}}},
		layoutCNCF: {part{"config.json", "application/vnd.wasm.config.v0+json", fmt.Appendf(nil,
			`{"created":"2026-01-01T00:00:00Z","architecture":"wasm","os":"wasip1","layerDigests":["%s"]}`, digestOf(wasm))},
			[]part{{"filter.wasm", "application/wasm", wasm}}},
		layoutOld: {part{"config.json", "application/vnd.wasm.config.v1+json", empty}, []part{{"filter.wasm", "application/vnd.wasm.content.layer.v1+wasm", wasm}}},
	}, nil
}

func archive(wasm []byte) ([]byte, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "plugin.wasm", Mode: 0o644, Size: int64(len(wasm))})
	if err != nil {
		return nil, err
	}
	_, err = tw.Write(wasm)
	return buf.Bytes(), errors.Join(err, tw.Close())
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// writeFiles writes an image's files into a folder, under their names.
func (img image) writeFiles(dir string) error {
	for _, p := range append([]part{img.config}, img.layers...) {
		if err := os.WriteFile(filepath.Join(dir, p.name), p.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeLayout writes an image as an OCI image layout. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
func (img image) writeLayout(dir, tag string) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return err
	}
	var errs []error
	blob := func(p part) ocispec.Descriptor {
		var d ocispec.Descriptor
		text := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, p.mediaType, digestOf(p.data), len(p.data))
		errs = append(errs, json.Unmarshal([]byte(text), &d), os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), p.data, 0o600))
		return d
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: blob(img.config)}
	m.SchemaVersion = 2
	for _, l := range img.layers {
		m.Layers = append(m.Layers, blob(l))
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	top := blob(part{"", m.MediaType, raw})
	top.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{top}}
	index.SchemaVersion = 2
	raw, err = json.Marshal(index)
	errs = append(errs, err, os.WriteFile(filepath.Join(dir, "index.json"), raw, 0o600),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600))
	return errors.Join(errs...)
}

// fetched is what a client got: digests.
type fetched struct {
	Manifest string `json:"manifest"`
	Module   string `json:"module"`
}

// readLayout finds the one image of an OCI image layout that a client wrote, verifies its digests and takes the module out.
func readLayout(dir string) (fetched, error) {
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return fetched{}, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(text, &index); err != nil {
		return fetched{}, err
	}
	if len(index.Manifests) != 1 {
		return fetched{}, fmt.Errorf("the layout has %d images, want 1", len(index.Manifests))
	}
	read := func(d ocispec.Descriptor) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", d.Digest.Encoded()))
		if err == nil && digestOf(data) != string(d.Digest) {
			err = fmt.Errorf("%s is %s", d.Digest, digestOf(data))
		}
		return data, err
	}
	raw, err := read(index.Manifests[0])
	if err != nil {
		return fetched{}, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return fetched{}, err
	}
	if _, err := read(m.Config); err != nil {
		return fetched{}, err
	}
	if len(m.Layers) == 0 {
		return fetched{}, errors.New("the image has no layers")
	}
	var data []byte // of the last layer
	for _, l := range m.Layers {
		if data, err = read(l); err != nil {
			return fetched{}, err
		}
	}
	if strings.HasSuffix(m.Layers[len(m.Layers)-1].MediaType, ".tar+gzip") {
		if data, err = unpack(data); err != nil {
			return fetched{}, err
		}
	}
	return fetched{digestOf(raw), digestOf(data)}, nil
}

// unpack takes plugin.wasm out of a gzipped tar.
func unpack(data []byte) ([]byte, error) {
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if err != nil {
			return nil, fmt.Errorf("plugin.wasm: %w", err)
		}
		if h.Name == "plugin.wasm" {
			return io.ReadAll(tr)
		}
	}
}

// untar writes a tar's files into a folder; it is one that waft wrote.
func untar(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%s: %q leads out of the folder", file, h.Name)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			var data []byte
			if data, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
}
