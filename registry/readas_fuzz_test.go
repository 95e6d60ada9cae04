package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"
)

// FuzzReadLayer reads whatever a layer may hold as Istio and Envoy Gateway unpack it. The module is what is there to be hashed, within the limit, and is nothing but
// Wasm; a failure says what is to be done.
func FuzzReadLayer(f *testing.F) {
	module := []byte(wasmMagic + "and more")
	f.Add(tarGzip(f, func(tw *tar.Writer) { entry(f, tw, "a", nil); entry(f, tw, "b/plugin.wasm", module) }), true)
	f.Add(tarGzip(f, func(tw *tar.Writer) { entry(f, tw, "plugin.wasm", []byte("x")); entry(f, tw, "plugin.wasm", module) }), true)
	f.Add(tarGzip(f, func(tw *tar.Writer) {
		if err := tw.WriteHeader(&tar.Header{Name: "plugin.wasm", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}); err != nil {
			f.Fatal(err)
		}
	}), true)
	f.Add(module, false)
	f.Add([]byte("\x7fELF"), false)
	f.Fuzz(func(t *testing.T, data []byte, packed bool) {
		const limit = 1 << 16
		layers := [][]byte{data}
		if packed { // most mutations break gzip's checksum
			var buf bytes.Buffer
			gz := gzip.NewWriter(&buf)
			if _, err := gz.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := gz.Close(); err != nil {
				t.Fatal(err)
			}
			layers = append(layers, buf.Bytes())
		}
		for _, layer := range layers {
			got, err := readLayer(t.Context(), bytes.NewReader(layer), packed, limit)
			if err != nil {
				if e, ok := errors.AsType[*Error](err); !ok || e.Next == "" || e.Detail == "" || got != (Descriptor{}) {
					t.Errorf("%q gives %+v, and %T: %v", layer, got, err, err)
				}
				continue
			}
			have := layer
			if packed {
				var out bytes.Buffer
				if err := unpackPlugin(&out, bytes.NewReader(layer), limit); err != nil {
					t.Fatal(err)
				}
				have = out.Bytes()
			}
			if !got.Digest.Valid() || got.Digest != DigestOf(have) || got.Size != int64(len(have)) || packed && got.Size > limit || !bytes.HasPrefix(have, []byte(wasmMagic[:4])) {
				t.Errorf("%q is the module %+v, of %d bytes", layer, got, len(have))
			}
			// A layer that ends too early is none, wherever its reader fails.
			broken := errors.New("the connection broke")
			if _, err := readLayer(t.Context(), io.MultiReader(bytes.NewReader(layer), failing{broken}), packed, limit); !errors.Is(err, broken) {
				t.Errorf("%q, and no end, is a module: %v", layer, err)
			}
		}
	})
}

// failing is a reader that fails.
type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }
