package signing

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// Whatever is carried as evidence, it is the same when it is carried on, or an error of ours.
func FuzzEvidence(f *testing.F) {
	bundle := []byte(`{"mediaType":"` + bundleMediaType + `","verificationMaterial":{"certificate":{"rawBytes":"AAAA"}},"dsseEnvelope":{"payloadType":"` + payloadType + `","payload":"e30=","signatures":[{"sig":"AAAA"}]}}`)
	certified, err := parseBundle(bundle)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range []Evidence{{Form: FormTag, payload: []byte("{}"), signature: []byte("x")}, {Form: FormBundle, payload: []byte("{}"), signature: []byte("x")}, certified} {
		text, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add([]byte(strings.Replace(string(text), "bundle", "tag", 1)))
	}
	f.Add([]byte(`{"form":"bundle","bundle":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e Evidence
		if err := e.UnmarshalJSON(text); err != nil {
			wantOurs(t, err)
			return
		}
		if len(e.signature) == 0 || len(e.signature) > MaxSignatureBytes || e.bundle != nil && !e.certificate {
			t.Fatalf("%+v", e)
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var same Evidence
		if err := json.Unmarshal(again, &same); err != nil || same.Form != e.Form || !bytes.Equal(same.message, e.message) || !bytes.Equal(same.signature, e.signature) || !bytes.Equal(same.bundle, e.bundle) {
			t.Fatalf("%s became %+v, %v", text, same, err)
		}
	})
}
