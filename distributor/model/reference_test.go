package model

import (
	"errors"
	"strings"
	"testing"
)

func TestParseReleaseRef(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0f", 32)
	for _, test := range []struct {
		in    string
		want  ReleaseRef
		exact bool
	}{
		{"edge-auth", ReleaseRef{Name: "edge-auth"}, false},
		{"edge-auth@" + hash, ReleaseRef{Name: "edge-auth", Hash: hash}, true},
		{"edge-auth@sha256:0f0f", ReleaseRef{Name: "edge-auth", Hash: "sha256:0f0f"}, false},
	} {
		got, err := ParseReleaseRef(test.in)
		if err != nil || got != test.want || got.Exact() != test.exact || got.String() != test.in {
			t.Errorf("%q: got %+v, %v", test.in, got, err)
		}
		if !got.Matches(ReleaseID{Name: "edge-auth", Hash: hash}) || got.Matches(ReleaseID{Name: "other", Hash: hash}) {
			t.Errorf("%q matches the wrong releases", test.in)
		}
	}
	if (ReleaseRef{Name: "a", Hash: "sha256:0f0e"}).Matches(ReleaseID{Name: "a", Hash: hash}) {
		t.Error("a prefix matches another hash")
	}
	for _, in := range []string{"", "@" + hash, "Edge", "-a", "a-", "a b", strings.Repeat("a", 64), "a@", "a@sha256:", "a@sha256:0f0", "a@0f0f0f", "a@sha512:0f0f", "a@sha256:0F0F", "a@sha256:xyz0", "a@" + hash + "0", "a@b@" + hash} {
		if got, err := ParseReleaseRef(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %+v, %v; want an error of kind ErrInvalid", in, got, err)
		}
	}
}

func FuzzReleaseRef(f *testing.F) {
	f.Add("edge-auth@sha256:0f0f")
	f.Add("a@b")
	f.Fuzz(func(t *testing.T, in string) {
		ref, err := ParseReleaseRef(in)
		if err == nil && ref.String() != in {
			t.Fatalf("%q was read as %q", in, ref)
		}
	})
}
