package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
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

func tarZstd(t testing.TB, write func(*tar.Writer), options ...zstd.EOption) []byte {
	t.Helper()
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf, options...)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(z)
	write(tw)
	if err := errors.Join(tw.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Every way to be refused has an error of its own, whatever the packing.
func TestArchiveRefusals(t *testing.T) {
	module := []byte(wasmMagic + "and more")
	link := func(tw *tar.Writer, name string, kind byte) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Linkname: "/etc/passwd"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name  string
		write func(*tar.Writer)
		want  error // nil: it is taken
	}{
		{"a module", func(tw *tar.Writer) { entry(t, tw, "./plugin.wasm", module) }, nil},
		{"a module in a folder", func(tw *tar.Writer) { entry(t, tw, "a/b/plugin.wasm", module) }, nil},
		{"an absolute path", func(tw *tar.Writer) { entry(t, tw, "/plugin.wasm", module) }, ErrArchivePath},
		{"a path that goes up", func(tw *tar.Writer) { entry(t, tw, "a/../../plugin.wasm", module) }, ErrArchivePath},
		{"a path of Windows", func(tw *tar.Writer) { entry(t, tw, `..\plugin.wasm`, module) }, ErrArchivePath},
		{"such a path behind the module", func(tw *tar.Writer) { entry(t, tw, "plugin.wasm", module); entry(t, tw, "../x", nil) }, ErrArchivePath},
		{"a symbolic link", func(tw *tar.Writer) { link(tw, "plugin.wasm", tar.TypeSymlink) }, ErrArchiveLink},
		{"a hard link", func(tw *tar.Writer) { entry(t, tw, "plugin.wasm", module); link(tw, "x", tar.TypeLink) }, ErrArchiveLink},
		{"a device", func(tw *tar.Writer) { link(tw, "x", tar.TypeChar) }, ErrArchiveLink},
		{"two modules", func(tw *tar.Writer) { entry(t, tw, "plugin.wasm", module); entry(t, tw, "b/plugin.wasm", module) }, ErrArchiveCandidates},
		{"no module", func(tw *tar.Writer) { entry(t, tw, "x.wasm", module) }, ErrArchiveNoModule},
	} {
		for packing, data := range map[string][]byte{"gzip": tarGzip(t, tc.write), "zstd": tarZstd(t, tc.write)} {
			t.Run(tc.name+", "+packing, func(t *testing.T) {
				r, err := openArchive(bytes.NewReader(data), 1<<20)
				var got []byte
				if err == nil {
					got, err = io.ReadAll(r)
				}
				if tc.want == nil && (err != nil || !bytes.Equal(got, module)) {
					t.Errorf("have %q, %v", got, err)
				}
				if tc.want != nil && (!errors.Is(err, tc.want) || !errors.Is(err, ErrInvalidArchive)) {
					t.Errorf("want %v, have %v", tc.want, err)
				}
			})
		}
	}
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
			if !errors.Is(err, ErrTooLarge) || !errors.Is(err, ErrArchiveBomb) {
				t.Errorf("want ErrTooLarge and ErrArchiveBomb, have %v", err)
			}
		})
	}
	t.Run("in zstd", func(t *testing.T) {
		bomb := tarZstd(t, func(tw *tar.Writer) { entry(t, tw, filePlugin, make([]byte, limit+maxArchiveSlack+1)) })
		r, err := openArchive(bytes.NewReader(bomb), limit)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, ErrTooLarge) || !errors.Is(err, ErrArchiveBomb) {
			t.Errorf("want ErrTooLarge and ErrArchiveBomb, have %v", err)
		}
	})
	t.Run("a window of zstd", func(t *testing.T) {
		bomb := tarZstd(t, func(tw *tar.Writer) { entry(t, tw, filePlugin, bytes.Repeat([]byte(wasmMagic), 8<<20)) }, zstd.WithWindowSize(64<<20))
		r, err := openArchive(bytes.NewReader(bomb), 1<<30)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, ErrTooLarge) || !errors.Is(err, ErrArchiveBomb) {
			t.Errorf("want ErrTooLarge and ErrArchiveBomb, have %v", err)
		}
	})
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
	f.Add(tarZstd(f, func(tw *tar.Writer) { entry(f, tw, "./plugin.wasm", []byte(wasmMagic)) }))
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
