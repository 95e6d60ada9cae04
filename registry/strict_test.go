package registry

import (
	"errors"
	"strings"
	"testing"
)

// What two readers would read differently is refused wherever a manifest, a list or a sidecar is read.
func TestOneReadingOnly(t *testing.T) {
	d := DigestOf([]byte("x"))
	_, referrer, err := planReferrer(Descriptor{MediaType: mediaTypeOCIManifest, Digest: d, Size: 1}, Attachment{ArtifactType: "a/b", Data: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	sidecar, _, err := addToSidecar(nil, layerJSON{Descriptor: newBlob("a/b", []byte("x")).desc})
	if err != nil {
		t.Fatal(err)
	}
	list, err := addToIndex(nil, []indexEntry{{d, []byte(`{"digest":"` + string(d) + `"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text string
		read func([]byte) error
	}{
		"a referrer": {string(referrer.data), func(b []byte) error { _, err := parseReferrer(b, d); return err }},
		"a sidecar":  {string(sidecar.data), func(b []byte) error { _, err := parseSidecar(b); return err }},
		"a list":     {string(list.data), func(b []byte) error { _, err := addToIndex(b, []indexEntry{{DigestOf(nil), []byte("{}")}}); return err }},
		"a bundled":  {string(referrer.data), func(b []byte) error { _, err := parseBundled(b, mediaTypeOCIManifest); return err }},
	} {
		if err := tc.read([]byte(tc.text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, twice := range []string{`"MediaType":"x","mediaType"`, `"mediaType":"` + mediaTypeOCIManifest + `","mediaType"`} {
			text := strings.Replace(tc.text, `"mediaType"`, twice, 1)
			if err := tc.read([]byte(text)); !errors.Is(err, ErrInvalidManifest) || !strings.Contains(err.Error(), "twice") {
				t.Errorf("%s with a member twice: %v", name, err)
			}
		}
	}
}
