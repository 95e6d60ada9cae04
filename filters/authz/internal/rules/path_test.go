package rules

import (
	"net/url"
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	tests := []struct {
		name, raw, want string
		problem         Problem
	}{
		{"plain", "/admin", "/admin", ""},
		{"the root", "/", "/", ""},
		{"below", "/admin/users", "/admin/users", ""},
		{"a query", "/admin?x=/../y//z;a#b", "/admin", ""},
		{"an empty query", "/admin?", "/admin", ""},
		{"a query of the root", "/?", "/", ""},
		{"a trailing slash", "/admin/", "/admin", ""},
		{"a trailing slash before a query", "/admin/?x", "/admin", ""},
		{"an encoded letter", "/%61dmin", "/admin", ""},
		{"everything encoded", "/%61%64%6d%69%6E", "/admin", ""},
		{"an encoded space", "/a%20b", "/a b", ""},
		{"an encoded letter beyond ASCII", "/caf%C3%A9", "/café", ""},
		{"an encoded percent sign", "/100%25", "/100%", ""},
		{"an encoded percent sign and one digit", "/%254", "/%4", ""},
		{"a name that begins with dots", "/.well-known/..x/...", "/.well-known/..x/...", ""},
		{"sub-delimiters", "/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b", ""},

		{"empty", "", "", ProblemForm},
		{"only a query", "?x", "", ProblemForm},
		{"an asterisk", "*", "", ProblemForm},
		{"with scheme and host", "http://host/admin", "", ProblemForm},
		{"without a slash", "admin", "", ProblemForm},
		{"too long", "/" + strings.Repeat("a", MaxPathBytes), "", ProblemLong},
		{"the longest", "/" + strings.Repeat("a", MaxPathBytes-1), "/" + strings.Repeat("a", MaxPathBytes-1), ""},

		{"an empty segment first", "//admin", "", ProblemEmptySegment},
		{"an empty segment inside", "/x//admin", "", ProblemEmptySegment},
		{"two trailing slashes", "/admin//", "", ProblemEmptySegment},
		{"slashes only", "//", "", ProblemEmptySegment},
		{"dot dot", "/x/../admin", "", ProblemDotSegment},
		{"dot dot at the end", "/admin/..", "", ProblemDotSegment},
		{"dot dot and a slash at the end", "/admin/../", "", ProblemDotSegment},
		{"a dot", "/./admin", "", ProblemDotSegment},
		{"a dot at the end", "/admin/.", "", ProblemDotSegment},
		{"encoded dots", "/x/%2e%2e/admin", "", ProblemDotSegment},
		{"one encoded dot", "/x/.%2E/admin", "", ProblemDotSegment},
		{"dots with parameters", "/x/..;/admin", "", ProblemCharacter},

		{"path parameters", "/admin;x=1", "", ProblemCharacter},
		{"a bare semicolon", "/admin;", "", ProblemCharacter},
		{"encoded path parameters", "/admin%3bx", "", ProblemEncoded},
		{"a backslash", `/x\..\admin`, "", ProblemCharacter},
		{"an encoded backslash", "/x%5cadmin", "", ProblemEncoded},
		{"a fragment", "/admin#x", "", ProblemCharacter},
		{"an encoded fragment", "/admin%23x", "", ProblemEncoded},
		{"an encoded question mark", "/admin%3Fx", "", ProblemEncoded},
		{"an encoded slash", "/x%2fadmin", "", ProblemEncoded},
		{"an encoded slash first", "/%2fadmin", "", ProblemEncoded},
		{"encoded twice", "/%2561dmin", "", ProblemEncoded},
		{"encoded dots twice", "/x/%252e%252e/admin", "", ProblemEncoded},
		{"encoded twice, in pieces", "/%25%36%31dmin", "", ProblemEncoded},
		{"an encoded NUL", "/admin%00.html", "", ProblemEncoded},
		{"an encoded line break", "/admin%0d%0a", "", ProblemEncoded},
		{"a tab", "/admin\t", "", ProblemCharacter},
		{"a space", "/admin x", "", ProblemCharacter},
		{"a NUL", "/admin\x00", "", ProblemCharacter},
		{"DEL", "/admin\x7f", "", ProblemCharacter},
		{"a raw letter beyond ASCII", "/café", "", ProblemCharacter},
		{"a percent sign alone", "/100%", "", ProblemEncoding},
		{"a percent sign and one digit", "/%6", "", ProblemEncoding},
		{"a percent sign and no digits", "/%zz", "", ProblemEncoding},
		{"a percent sign and u", "/%u0061dmin", "", ProblemEncoding},
		{"an overlong dot", "/x/%c0%ae%c0%ae/admin", "", ProblemEncoding},
		{"an overlong slash", "/x%c0%afadmin", "", ProblemEncoding},
		{"half a letter", "/caf%C3", "", ProblemEncoding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problem := NormalizePath(tt.raw)
			if got != tt.want || problem != tt.problem {
				t.Errorf("%q: got %q, problem %q; want %q, problem %q", tt.raw, got, problem, tt.want, tt.problem)
			}
		})
	}
}

func TestNormalizePathAllocatesNothingForPlainPaths(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { NormalizePath("/api/v1/users/17/orders?page=2") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzNormalizePath holds what is accepted against net/url: decoding once must give the normal form, which must be one
// that stays as it is.
func FuzzNormalizePath(f *testing.F) {
	for _, seed := range []string{"/", "/admin/", "/%61dmin?x", "/x/%2e%2e/admin", "//a", "/a;b", "/%25", "/%C3%A9", "/a%252f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, problem := NormalizePath(raw)
		if (got == "") != (problem != "") {
			t.Fatalf("%q: path %q and problem %q", raw, got, problem)
		}
		if problem != "" {
			return
		}
		path, _, _ := strings.Cut(raw, "?")
		decoded, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("%q is accepted: %v", raw, err)
		}
		if want := trimSlash(decoded); got != want {
			t.Fatalf("%q: got %q, want %q", raw, got, want)
		}
		if again, err := url.PathUnescape(decoded); err == nil && again != decoded {
			t.Fatalf("%q decodes to %q and again to %q", raw, decoded, again)
		}
		if got != "/" {
			for _, segment := range strings.Split(got[1:], "/") {
				if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "\\;?#\x00") {
					t.Fatalf("%q: segment %q", raw, segment)
				}
			}
		}
		if problem := checkPattern(got); problem != "" {
			t.Fatalf("%q: a rule could not name %q: it %s", raw, got, problem)
		}
	})
}
