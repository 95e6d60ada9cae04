package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// goldenModule is always the same.
func goldenModule() (Module, Descriptor) {
	wasm := []byte(wasmMagic)
	for x := uint32(1); len(wasm) < 200_000; x = x*1664525 + 1013904223 { // as well compressible as a real one
		wasm = append(wasm, bytes.Repeat([]byte{byte(x>>24) & 31}, int(x>>16&3)+1)...)
	}
	m := ModuleBytes(wasm)
	m.Name, m.Version, m.ABIVersions, m.RootIDs = "authz", "1.2.0", []string{"0.2.1"}, []string{"authz"}
	m.Annotations = map[string]string{"org.opencontainers.image.source": "https://example.com/authz?a=1&b=<2>"}
	m.Manifest = []byte(`{"name":"authz"}`)
	return m, Descriptor{MediaType: mediaTypeModuleContent, Digest: DigestOf(wasm), Size: m.Size}
}

// What is published must not change with the machine, the day or the toolchain: whoever has pinned a digest must get it
// again from the same module. A change here is a change for everybody, to be made on purpose.
func TestGoldenDigests(t *testing.T) {
	for layout, want := range map[Layout]struct{ image, layer, config, referrer Digest }{
		LayoutOCI: {
			image: "sha256:59a7027479cf0a37ddf24cc452804583a9c064917abb66aaab13dfeb561a1297", layer: "sha256:74c8c796d014cdc486f8b1e433bb17578a3fb3fbdf8942bd59089b8da8f05564",
			config: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", referrer: "sha256:c0907dd9be35947d59324fc018f8f1235bcc11b20bdbd1527feed5cfd8e6fbe5",
		},
		LayoutCompat: {
			image: "sha256:8a9554172e3e1e711e3771a65ac4ecbba949065b40c029dcd93dd308cd246bdb", layer: "sha256:6b9896b78da71577e9e4eccbc2ac666e633f9b18635cb07045c0b1b752e4468b",
			config: "sha256:201c68118507f1a25e61d9f227baef1e4fd3cd501a44e47ca7f72edbb682bda2", referrer: "sha256:65c956e72e170fb4d9279835bfc867359a9b9fd7ae311f76e15e0c9c05844d76",
		},
		LayoutCNCF: {
			image: "sha256:70e4ac2fdac6730b09cb5bea4bb296ff422b9bfdfb6e195c56b91ae20e936beb", layer: "sha256:74c8c796d014cdc486f8b1e433bb17578a3fb3fbdf8942bd59089b8da8f05564",
			config: "sha256:f3af3565168b645d3730389003cffa8b865622aaee9add67aebd4f941ca0fbe6", referrer: "sha256:22961eef13cd4a9064efa4a5ba055c9261e7fc6974ca35c54115e8a9e9bfb6f5",
		},
	} {
		t.Run(string(layout), func(t *testing.T) {
			m, desc := goldenModule()
			m.Layout = layout
			p, err := plan(m, desc)
			if err != nil {
				t.Fatal(err)
			}
			var image struct{ Config Descriptor }
			if err := json.Unmarshal(p.image.data, &image); err != nil {
				t.Fatal(err)
			}
			for _, part := range []struct {
				name       string
				have, want Digest
			}{
				{"image", p.image.desc.Digest, want.image}, {"layer", p.layer.Digest, want.layer},
				{"config", image.Config.Digest, want.config}, {"referrer", p.referrer.desc.Digest, want.referrer},
			} {
				if part.have != part.want {
					t.Errorf("%s: %s, want %s", part.name, part.have, part.want)
				}
			}
			if t.Failed() {
				t.Logf("image manifest: %s", p.image.data)
			}
			// What is written is read as what it is.
			img, err := parseImage(p.image.data, mediaTypeOCIManifest)
			if err != nil || img.layout != layout || img.layer.Digest != p.layer.Digest {
				t.Errorf("read as %+v, %v", img, err)
			}
		})
	}
}

// The archive holds nothing that tells when, where and by whom it was made.
func TestPackedModuleHasNoOrigin(t *testing.T) {
	m, desc := goldenModule()
	packed, diffID, err := packModule(m, "")
	if err != nil {
		t.Fatal(err)
	}
	gz, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if h := gz.Header; !h.ModTime.IsZero() || h.Name != "" || h.Comment != "" || h.OS != 255 || len(h.Extra) != 0 {
		t.Errorf("gzip header %+v", h)
	}
	plain, err := io.ReadAll(gz)
	if err != nil || DigestOf(plain) != diffID {
		t.Errorf("the tar has the digest %s, not %s; %v", DigestOf(plain), diffID, err)
	}
	tr := tar.NewReader(bytes.NewReader(plain))
	h, err := tr.Next()
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != "plugin.wasm" || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 || h.Format != tar.FormatUSTAR {
		t.Errorf("tar header %+v", h)
	}
	body, err := io.ReadAll(tr)
	if err != nil || DigestOf(body) != desc.Digest {
		t.Errorf("the module came out changed: %v", err)
	}
	if _, err := tr.Next(); err != io.EOF {
		t.Errorf("a second entry: %v", err)
	}
}

func TestParseLayout(t *testing.T) {
	for _, l := range WrittenLayouts() {
		if got, err := ParseLayout(string(l)); err != nil || got != l {
			t.Errorf("%s: %q, %v", l, got, err)
		}
	}
	for _, s := range []string{"", "OCI", "wasm-to-oci", "docker"} {
		_, err := ParseLayout(s)
		var e *Error
		if !errors.Is(err, ErrUnsupportedLayout) || !errors.As(err, &e) || !strings.Contains(e.Next, "oci, compat, cncf") {
			t.Errorf("%q: %v", s, err)
		}
	}
}
