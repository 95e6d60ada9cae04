package signing

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
)

func TestClaim(t *testing.T) {
	id := registry.DigestOf([]byte("a key"))
	raw := make([]byte, 32)
	raw[0] = 0xab
	for _, tc := range []struct {
		name, hint string
		want       KeyID
	}{
		{"as it is written here", string(id), id},
		{"as cosign writes it", base64.StdEncoding.EncodeToString(raw), KeyID("sha256:ab" + strings.Repeat("00", 31))},
		{"none", "", ""},
		{"something else", "my key", ""},
		{"too short", base64.StdEncoding.EncodeToString(raw[:31]), ""},
	} {
		e := Evidence{Form: FormBundle, hint: tc.hint, payload: []byte(`{"predicateType":"https://example.com/x"}`)}
		if got := e.Claim(); got.Key != tc.want || got.PredicateType != "https://example.com/x" || got.Form != FormBundle {
			t.Errorf("%s: %+v, want %s", tc.name, got, tc.want)
		}
	}
	if got := (Evidence{Form: FormBundle, payload: []byte("nonsense"), certificate: true}).Claim(); !got.Certificate || got.PredicateType != "unknown" {
		t.Errorf("nonsense: %+v", got)
	}
	if got := (Evidence{Form: FormBundle, payload: []byte(`{"predicateType":"` + strings.Repeat("x", 2000) + `"}`)}).Claim(); len(got.PredicateType) > maxPredicateType {
		t.Errorf("%d bytes of a type", len(got.PredicateType))
	}
	if got := (Evidence{Form: FormTag, payload: []byte("nonsense")}).Claim(); got.PredicateType != PredicateSignature || got.Key != "" {
		t.Errorf("at the tag: %+v", got)
	}
}
