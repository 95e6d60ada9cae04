package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
)

func tarGzip(t testing.TB, write func(*tar.Writer)) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	write(tw)
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func entry(t testing.TB, tw *tar.Writer, name string, body []byte) {
	t.Helper()
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(body); err != nil {
		t.Fatal(err)
	}
}

// An archive that unpacks to far more than a module may have is refused without being unpacked to its end.
func TestArchiveBomb(t *testing.T) {
	const limit = 1 << 20
	for _, tc := range []struct{ name, file string }{{"in the module", filePlugin}, {"before it", "big"}} {
		t.Run(tc.name, func(t *testing.T) {
			bomb := tarGzip(t, func(tw *tar.Writer) {
				entry(t, tw, tc.file, make([]byte, limit+maxArchiveSlack+1))
				if tc.file != filePlugin {
					entry(t, tw, filePlugin, []byte(wasmMagic))
				}
			})
			r, err := openArchive(bytes.NewReader(bomb), limit)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("want ErrTooLarge, have %v", err)
			}
		})
	}
	t.Run("too many entries", func(t *testing.T) {
		many := tarGzip(t, func(tw *tar.Writer) {
			for range maxArchiveEntries + 1 {
				entry(t, tw, "x", nil)
			}
		})
		if _, err := openArchive(bytes.NewReader(many), limit); !errors.Is(err, ErrInvalidArchive) {
			t.Errorf("want ErrInvalidArchive, have %v", err)
		}
	})
	t.Run("cut short", func(t *testing.T) {
		whole := tarGzip(t, func(tw *tar.Writer) { entry(t, tw, filePlugin, bytes.Repeat([]byte(wasmMagic), 1000)) })
		r, err := openArchive(bytes.NewReader(whole[:len(whole)/2]), limit)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, ErrInvalidArchive) {
			t.Errorf("want ErrInvalidArchive, have %v", err)
		}
	})
}

// Whatever the archive, reading it ends, within the limit, in bytes or in an error of ours.
func FuzzArchive(f *testing.F) {
	f.Add(tarGzip(f, func(tw *tar.Writer) { entry(f, tw, "./plugin.wasm", []byte(wasmMagic)) }))
	f.Add(tarGzip(f, func(tw *tar.Writer) { entry(f, tw, "../plugin.wasm", []byte(wasmMagic)) }))
	f.Add(tarGzip(f, func(tw *tar.Writer) { entry(f, tw, "a", nil); entry(f, tw, "b/plugin.wasm", []byte("x")) }))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		// Most mutations break gzip's checksum; try the bytes as a bare tar, too.
		var buf bytes.Buffer
		gz := gzip.NewWriter(&buf)
		if _, err := gz.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := gz.Close(); err != nil {
			t.Fatal(err)
		}
		for _, in := range [][]byte{data, buf.Bytes()} {
			r, err := openArchive(bytes.NewReader(in), limit)
			var n int64
			if err == nil {
				n, err = io.Copy(io.Discard, r)
			}
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("not an Error: %v", err)
			}
			if n > limit+maxArchiveSlack {
				t.Fatalf("gave %d bytes", n)
			}
		}
	})
}

// Whatever the manifest, it is an image whose layer can be fetched, or an error of ours.
func FuzzImageManifest(f *testing.F) {
	m := Module{Content: bytes.NewReader([]byte(wasmMagic)), Size: 8, Name: "a", Manifest: []byte("{}")}
	p, err := plan(m, Descriptor{MediaType: mediaTypeModuleContent, Digest: DigestOf([]byte(wasmMagic)), Size: 8})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.image.data, mediaTypeOCIManifest)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"`+mediaTypeOCIIndex+`","manifests":[{"digest":"x"}]}`), "")
	f.Add([]byte(strings.ReplaceAll(string(p.image.data), mediaTypeModuleContent, mediaTypeOCITarGzip)), "")
	f.Add([]byte(strings.ReplaceAll(string(p.image.data), mediaTypeEmpty, mediaTypeCNCFConfig)), "")
	f.Fuzz(func(t *testing.T, data []byte, contentType string) {
		img, err := parseImage(data, contentType)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Next == "" {
				t.Fatalf("not an Error with a next step: %v", err)
			}
			return
		}
		if !img.layer.Digest.Valid() || img.layer.Size <= 0 || img.layout == "" || img.layout != LayoutCompat && img.module != img.layer {
			t.Fatalf("%+v", img)
		}
	})
}
