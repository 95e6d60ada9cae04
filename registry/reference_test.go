package registry_test

import (
	"encoding/json"
	"strings"
	"testing"

	oras "oras.land/oras-go/v2/registry"

	"github.com/waft-project/waft/registry"
)

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     registry.Reference
	}{
		{"tag", "localhost:7071/filters/authz:1.2.0", registry.Reference{Registry: "localhost:7071", Repository: "filters/authz", Tag: "1.2.0"}},
		{"no port", "ghcr.io/a/b:x", registry.Reference{Registry: "ghcr.io", Repository: "a/b", Tag: "x"}},
		{"localhost alone", "localhost/a", registry.Reference{Registry: "localhost", Repository: "a"}},
		{"digest", "ghcr.io/a@sha256:" + hex64, registry.Reference{Registry: "ghcr.io", Repository: "a", Digest: "sha256:" + hex64}},
		{"both", "ghcr.io/a:1@sha256:" + hex64, registry.Reference{Registry: "ghcr.io", Repository: "a", Tag: "1", Digest: "sha256:" + hex64}},
		{"IPv4", "127.0.0.1:5000/a:1", registry.Reference{Registry: "127.0.0.1:5000", Repository: "a", Tag: "1"}},
		{"IPv6", "[::1]:5000/a:1", registry.Reference{Registry: "[::1]:5000", Repository: "a", Tag: "1"}},
		{"IPv6 without a port", "[::1]/a:1", registry.Reference{Registry: "[::1]", Repository: "a", Tag: "1"}},
		{"separators", "a.b/x-y.z__w--v/0:_1-.", registry.Reference{Registry: "a.b", Repository: "x-y.z__w--v/0", Tag: "_1-."}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := registry.ParseReference(tc.in)
			if err != nil || got != tc.want {
				t.Fatalf("%+v, %v", got, err)
			}
			if got.String() != tc.in {
				t.Errorf("written as %s", got)
			}
			data, err := json.Marshal(got)
			var back registry.Reference
			if err != nil || json.Unmarshal(data, &back) != nil || back != got {
				t.Errorf("JSON %s: %v", data, err)
			}
		})
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, tc := range []struct{ name, in, says string }{
		{"empty", "", "it is empty"},
		{"scheme", "https://ghcr.io/a:1", "scheme"},
		{"oci scheme", "oci://ghcr.io/a:1", "leave out"},
		{"no registry", "authz:1", "no registry"},
		{"no host", "filters/authz:1", "docker.io/filters/authz:1"},
		{"empty host", "/a:1", "not a registry host"},
		{"port 0", "localhost:0/a", "port"},
		{"port too high", "localhost:70000/a", "port"},
		{"port of letters", "localhost:x/a", "port"},
		{"host with a space", "a b.c/a", "unexpected"},
		{"host with user", "me:pw@ghcr.io/a:1", "sha256"},
		{"empty repository", "ghcr.io/", "1 to 255"},
		{"double slash", "ghcr.io/a//b", "empty part"},
		{"upper case", "ghcr.io/Team/authz:1", "upper-case"},
		{"dots", "ghcr.io/../etc", "unexpected"},
		{"three underscores", "ghcr.io/a___b", "unexpected"},
		{"separator at the end", "ghcr.io/a-:1", "unexpected"},
		{"mixed separators", "ghcr.io/a.-b", "unexpected"},
		{"empty tag", "ghcr.io/a:", "tag"},
		{"tag with a slash", "ghcr.io/a:b/c", "tag"},
		{"tag too long", "ghcr.io/a:" + strings.Repeat("x", 129), "128"},
		{"tag begins with a dot", "ghcr.io/a:.x", "tag"},
		{"short digest", "ghcr.io/a@sha256:abc", "64"},
		{"digest in capitals", "ghcr.io/a@sha256:" + strings.ToUpper(hex64), "lower-case"},
		{"other algorithm", "ghcr.io/a@sha512:" + hex64 + hex64, "sha512"},
		{"line break", "ghcr.io/a:1\n", "tag"},
		{"too long", "ghcr.io/" + strings.Repeat("a", 2000), "limit"},
		{"IPv6 without brackets", "::1/a", "host"},
		{"not IPv6", "[zz]:1/a", "IPv6"},
		{"open bracket", "[::1/a", "IPv6"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ref, err := registry.ParseReference(tc.in)
			checkKind(t, err, registry.ErrInvalidReference)
			if ref != (registry.Reference{}) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%+v; %v does not say %q", ref, err, tc.says)
			}
		})
	}
}

// What is taken as a reference survives a round trip, and is one for oras-go, too.
func FuzzReference(f *testing.F) {
	for _, s := range []string{"localhost:7071/filters/authz:1.2.0", "[::1]:5000/a:1", "ghcr.io/a__b/c-d@sha256:" + hex64, "a.b/x:1@sha256:" + hex64, "docker.io/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := registry.ParseReference(s)
		if err != nil {
			return
		}
		if ref.String() != s {
			t.Fatalf("%q became %q", s, ref)
		}
		if _, err := oras.ParseReference(s); err != nil {
			t.Fatalf("oras-go refuses %q: %v", s, err)
		}
	})
}
