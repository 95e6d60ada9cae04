package registry

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

// What container tools read in a configuration. Both are Go's words, as the image specification asks.
const (
	architectureWasm = "wasm"
	osWasm           = "wasip1"
)

// annotationVariant marks LayoutCompat. Its readers do not ask for it.
const annotationVariant, variantCompat = "module.wasm.image/variant", "compat"

// imageConfigJSON is an image configuration.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
type imageConfigJSON struct {
	Architecture string     `json:"architecture"`
	OS           string     `json:"os"`
	Config       struct{}   `json:"config"`
	RootFS       rootFSJSON `json:"rootfs"`
}

type rootFSJSON struct {
	Type    string   `json:"type"`
	DiffIDs []Digest `json:"diff_ids"`
}

// shapeCompat lays out a module in LayoutCompat: an OCI image with one layer. The packed layer is made in memory.
func shapeCompat(m Module, module Descriptor) (shape, error) {
	packed, diffID, err := packModule(m, module.Digest)
	if err != nil {
		return shape{}, err
	}
	layer := newBlob(mediaTypeOCITarGzip, packed)
	data, err := encodeJSON(imageConfigJSON{Architecture: architectureWasm, OS: osWasm, RootFS: rootFSJSON{Type: "layers", DiffIDs: []Digest{diffID}}})
	if err != nil {
		return shape{}, err
	}
	config := newBlob(mediaTypeImageConfig, data)
	return shape{
		config: config, layer: layer.desc, layers: []layerJSON{{Descriptor: layer.desc}}, blobs: []blob{config, layer},
		annotations: map[string]string{annotationVariant: variantCompat},
	}, nil
}

// packModule is a gzipped tar with the module as its only file, and the digest of the tar before it was compressed.
// Everything that could differ from machine to machine is fixed: times, owner, mode, the header of gzip. The compressor is a
// pinned library and not Go's own, so that a new toolchain gives no new digests.
func packModule(m Module, want Digest) ([]byte, Digest, error) {
	var packed bytes.Buffer
	gz, err := gzip.NewWriterLevel(&packed, gzip.DefaultCompression)
	if err != nil {
		return nil, "", err
	}
	gz.ModTime = time.Unix(0, 0) // "not known", by RFC 1952; this library writes nonsense for the zero value
	diff := &verifier{hash: sha256.New()}
	tw := tar.NewWriter(io.MultiWriter(gz, diff.hash))
	err = tw.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: filePlugin, Size: m.Size, Mode: 0o644, ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatUSTAR,
	})
	if err != nil {
		return nil, "", err
	}
	// What is packed must be what was described: the file may have changed since.
	v := newVerifier("push", "the module", io.NewSectionReader(m.Content, 0, m.Size), Descriptor{Digest: want, Size: m.Size}, m.Size)
	if _, err := io.Copy(tw, v); err != nil {
		return nil, "", err
	}
	if err := tw.Close(); err != nil {
		return nil, "", err
	}
	if err := gz.Close(); err != nil {
		return nil, "", err
	}
	return packed.Bytes(), diff.digest(), nil
}
