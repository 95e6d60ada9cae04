package sdk

import (
	"strings"
	"testing"
)

func TestNormalHost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ authority, want string }{
		{"shop.example", "shop.example"},
		{"Shop.Example:8443", "shop.example"},
		{"shop.example.", "shop.example"},
		{"shop.example.:80", "shop.example"},
		{"[::1]", "[::1]"},
		{"[2001:DB8::1]:80", "[2001:db8::1]"},
		{"", ""},
	} {
		if got := normalHost(tc.authority); got != tc.want {
			t.Errorf("%q is %q, want %q", tc.authority, got, tc.want)
		}
	}
}

func TestNormalPath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ raw, want string }{
		{"/", "/"},
		{"/a/b", "/a/b"},
		{"/a/b/", "/a/b"},
		{"/a?b=/c", "/a"},
		{"/a#b", "/a"},
		{"//a", "/a"},
		{"/a//b", "/a/b"},
		{"/x/../a", "/a"},
		{"/../../a", "/a"},
		{"/a/./b/.", "/a/b"},
		{"/a/b/..", "/a"},
		{"/..", "/"},
		{"/%61dmin", "/admin"},
		{"/x/%2e%2E/a", "/a"},
		{"/a%2Fb", "/a/b"},
		{"/a;v=1/b;c", "/a/b"},
		{"/a;/../b", "/b"},
		{`/a\b`, "/a/b"},
		{"/a%3Fb", "/a?b"},
		{"/a%", "/a%"},
		{"/a%zz", "/a%zz"},
		{"/%2561", "/%61"},
		{"/.well-known/x", "/.well-known/x"},
		{"*", "*"},
		{"", ""},
	} {
		if got := normalPath(tc.raw); got != tc.want {
			t.Errorf("%q is %q, want %q", tc.raw, got, tc.want)
		}
	}
}

// FuzzNormalPath wants the normal form to hold nothing that a server would read as something else.
func FuzzNormalPath(f *testing.F) {
	for _, s := range []string{"/a", "//", "/../a/./", "/%2e%2e/a", `\..\a`, "/;", "/a;b/../c", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := normalPath(raw)
		if !strings.HasPrefix(got, "/") {
			return
		}
		for segment := range strings.SplitSeq(got[1:], "/") {
			if segment == "." || segment == ".." || segment == "" && got != "/" {
				t.Errorf("%q is %q, which has the segment %q", raw, got, segment)
			}
		}
	})
}

// Choosing a rule costs no memory.
func TestMatchAllocatesNothing(t *testing.T) {
	match := Match{Route: "r", Hosts: []string{"*.shop.example"}, Methods: []string{"GET"}, Path: PathMatch{Prefix: "/api"}}
	m, err := match.Compile("match")
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(100, func() {
		facts := requestFacts{route: "r", host: normalHost("a.shop.example:443"), method: "GET", path: normalPath("/api/v1/?x=1")}
		if !m.matches(&facts) {
			t.Fatal("no match")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
