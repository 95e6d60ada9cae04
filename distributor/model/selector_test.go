package model

import (
	"errors"
	"strings"
	"testing"
)

func TestSelectorSyntax(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"  ", ""},
		{"\rx", "x"},
		{"!x", "!x"},
		{"! x", "!x"},
		{"x=a,y=b,z=c", "x=a,y=b,z=c"},
		{"x==a", "x=a"},
		{"x != a , y=b", "x!=a,y=b"},
		{"x=", "x="},
		{"x= ,z= ", "x=,z="},
		{"x>1,z<5", "x>1,z<5"},
		{"x>007", "x>7"},
		{"this-is-a-dns.domain.com/key-with-dash", "this-is-a-dns.domain.com/key-with-dash"},
		{"0.1.2.domain/99 notin (10.10.100.1, tick.tack.clock)", "0.1.2.domain/99 notin (10.10.100.1,tick.tack.clock)"},
		{"foo  in\t (abc)", "foo in (abc)"},
		{"x notin\n (abc)", "x notin (abc)"},
		{"x in (b,a,b)", "x in (a,b)"},
		{"x in (abc,)", "x in (,abc)"},
		{"x in ()", "x in ()"},
		{"x notin ( )", "x notin ()"},
		{"x notin (abc,,def),bar,z in (),w", "x notin (,abc,def),bar,z in (),w"},
		{"x,y in (a)", "x,y in (a)"},
		{"a in (x,y,notin, z,in)", "a in (in,notin,x,y,z)"},
		{"in in (in)", "in in (in)"},
	} {
		got, err := ParseSelector(test.in)
		if err != nil || got.String() != test.want {
			t.Errorf("%q: got %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestSelectorRefuses(t *testing.T) {
	for _, in := range []string{
		"x=a||y=b", "x==a==b", "!x=a", "x<a", "x>", "x>9223372036854775808", "x,,y", ",x,y", "x,", "x nott in (y)", "a in (xyz),", "a in (xyz)b",
		"a in (xyz abc)", "a notin(", "a notin", "a (", "(", "a in b", "=a", "x=a b", "x=-a", "x=a-", "é=a", "x=é", "/x", "a/", "a/b/c", "UP.case/x",
		strings.Repeat("x", 64), "x=" + strings.Repeat("a", 64), strings.Repeat("x,", MaxRequirements) + "x", strings.Repeat(" ", MaxSelectorLength+1),
	} {
		if got, err := ParseSelector(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %q, %v; want an error of kind ErrInvalid", in, got, err)
		}
	}
	_, err := ParseSelector("zone in (a,b")
	if want := `the selector "zone in (a,b", at byte 12: expected a comma or ), not the end`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"env": "prod", "zone": "a", "cores": "8", "canary": "", "word": "many"}
	for in, want := range map[string]bool{
		"":                         true,
		"env=prod":                 true,
		"env=test":                 false,
		"missing=":                 false,
		"canary=":                  true,
		"env!=prod":                false,
		"env!=test":                true,
		"missing!=x":               true,
		"zone in (a,b)":            true,
		"zone in (b)":              false,
		"missing in ()":            false,
		"zone notin (b)":           true,
		"zone notin (a,b)":         false,
		"missing notin (a)":        true,
		"canary":                   true,
		"missing":                  false,
		"!canary":                  false,
		"!missing":                 true,
		"cores>4":                  true,
		"cores>8":                  false,
		"cores<8":                  false,
		"cores<9":                  true,
		"word>4":                   false,
		"missing<4":                false,
		"env=prod,zone=a":          true,
		"env=prod,zone=b":          false,
		"env=prod,!missing,zone=a": true,
	} {
		s, err := ParseSelector(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(labels); got != want {
			t.Errorf("%q: got %v", in, got)
		}
	}
	if !(Selector{}).Matches(nil) || !(Selector{}).Empty() {
		t.Error("the zero value does not select everything")
	}
}

func FuzzSelector(f *testing.F) {
	for _, seed := range []string{"a=b,c!=d", "a in (b,,c),!d", "a>1,b<-2", "x notin (", "==", "in in(in)"} {
		f.Add(seed, "a", "b")
	}
	f.Fuzz(func(t *testing.T, in, key, value string) {
		s, err := ParseSelector(in)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v is of no kind", in, err)
			}
			return
		}
		again, err := ParseSelector(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q prints as %q, which prints as %q, %v", in, s, again, err)
		}
		labels := map[string]string{key: value}
		if s.Matches(labels) != again.Matches(labels) {
			t.Fatalf("%q and %q differ on %v", in, again, labels)
		}
	})
}
