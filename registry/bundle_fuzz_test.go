package registry

import (
	"archive/tar"
	"bytes"
	"errors"
	"strconv"
	"testing"
)

// Whatever the bundle, reading it ends, in manifests that can be written or in an error of ours.
func FuzzBundle(f *testing.F) {
	manifest := []byte(`{"schemaVersion":2,"mediaType":"` + mediaTypeOCIManifest + `","config":{"mediaType":"x","digest":"` + string(DigestOf([]byte("{}"))) + `","size":2},"layers":[]}`)
	seed := func(index string) []byte {
		var buf bytes.Buffer
		tw := tar.NewWriter(&buf)
		entry(f, tw, bundleLayoutFile, []byte(bundleLayoutText))
		entry(f, tw, bundleIndexFile, []byte(index))
		entry(f, tw, bundleBlobs+DigestOf(manifest).Hex(), manifest)
		if err := tw.Close(); err != nil {
			f.Fatal(err)
		}
		return buf.Bytes()
	}
	for _, name := range []string{"a/b:1", "1", "", "a@" + string(DigestOf(manifest))} {
		f.Add(seed(`{"schemaVersion":2,"manifests":[{"digest":"`+string(DigestOf(manifest))+`","size":`+strconv.Itoa(len(manifest))+`,"annotations":{"org.opencontainers.image.ref.name":"`+name+`"}}]}`), "team")
	}
	f.Fuzz(func(t *testing.T, data []byte, prefix string) {
		files, err := scanBundle(bytes.NewReader(data), int64(len(data)))
		var manifests []bundleManifest
		if err == nil {
			manifests, err = files.manifests(prefix)
		}
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("not an Error: %v", err)
		}
		for _, m := range manifests {
			if validRepository(m.repository) != nil || m.tag != "" && validTag(m.tag) != nil || DigestOf(m.data) != m.desc.Digest {
				t.Fatalf("%+v", m)
			}
		}
	})
}
