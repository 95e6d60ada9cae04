package registrytest

import (
	"archive/tar"
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/waft-project/waft/registry"
)

// TestTwoModulesInOneImage: an image with a raw module and a packed one is refused. Readers disagree which of the two is meant, and what was
// verified must be what is loaded.
func TestTwoModulesInOneImage(t *testing.T) {
	e := Start(t)
	raw, packed := Wasm(1000, 1), Wasm(1000, 2)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "plugin.wasm", Size: int64(len(packed)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zipped := encoder.EncodeAll(archive.Bytes(), nil)
	for tag, mediaType := range map[string]string{"zstd": "application/vnd.oci.image.layer.v1.tar+zstd", "gzip": "application/vnd.oci.image.layer.v1.tar+gzip"} {
		ref := e.Reference(t, "x/y:"+tag)
		put(t, e, ref, image{configType: ociConfig, layers: []layer{{"application/vnd.module.wasm.content.layer.v1+wasm", raw}, {mediaType, zipped}}})
		if _, _, err := e.Client(t).Pull(t.Context(), ref, nil); !errors.Is(err, registry.ErrUnsupportedLayout) {
			t.Errorf("%s: got %v, want a refusal", tag, err)
		}
	}
}
