package main

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	all := chosen(t, "card", "email")
	for _, tc := range []struct{ name, in, want string }{
		{"a card", "card 4111111111111111 ok", "card # ok"},
		{"with spaces", "4111 1111 1111 1111", "#"},
		{"with hyphens", "x:4111-1111-1111-1111,", "x:#,"},
		{"American Express", "3782 822463 10005", "#"},
		{"thirteen digits", "4222222222222", "#"},
		{"nineteen digits", "6304000000000000000", "#"},
		{"before a date", "4111 1111 1111 1111 12/27", "# 12/27"},
		{"behind a number", "12 4111 1111 1111 1111", "12 #"},
		{"two of them", "4111111111111111, 5500005555555559", "#, #"},
		{"a wrong check digit", "4111111111111112", "4111111111111112"},
		{"too short", "411111111111", "411111111111"},
		{"twenty digits", "41111111111111111111", "41111111111111111111"},
		{"a time in milliseconds", "1767225600000", "1767225600000"},
		{"in a word", "id4111111111111111", "id4111111111111111"},
		{"before a word", "4111111111111111a", "4111111111111111a"},
		{"two spaces", "4111  1111 1111 1111", "4111  1111 1111 1111"},
		{"an address", "write to ann.b+x@mail.shop.example!", "write to #!"},
		{"at the end of a sentence", "ann@shop.example.", "#."},
		{"in brackets", "<ann@shop.example>", "<#>"},
		{"two of those", "a@b.example,c@d.example", "#,#"},
		{"joined", "a@b.example@c.example", "#@c.example"},
		{"beyond ASCII", "änn@büro.example", "#"},
		{"no domain", "ann@localhost", "ann@localhost"},
		{"no name", "@shop.example", "@shop.example"},
		{"dots only", "..@shop.example", "..@shop.example"},
		{"a short end", "a@b.c", "a@b.c"},
		{"at signs", "@@@", "@@@"},
		{"nothing", "", ""},
	} {
		if got := all.replace(tc.in, "#", &counts{}); got != tc.want {
			t.Errorf("%s: %q becomes %q, want %q", tc.name, tc.in, got, tc.want)
		}
	}
	if got := chosen(t, "email").replace("4111111111111111 a@b.example", "#", &counts{}); got != "4111111111111111 #" {
		t.Errorf("only e-mail: %q", got)
	}
}

// chosen are some of the patterns that are built in.
func chosen(t testing.TB, names ...string) patterns {
	t.Helper()
	var p patterns
	for _, name := range names {
		i := slices.IndexFunc(builtin[:], func(p pattern) bool { return string(p.kind) == name })
		if i < 0 {
			t.Fatalf("there is no pattern %s", name)
		}
		p = append(p, builtin[i])
	}
	return p
}

// b64 is JSON as a part of a token.
func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Each pattern finds what it is for, in the forms that people write, and not what only looks like it.
func TestEachPattern(t *testing.T) {
	t.Parallel()
	signed := b64(`{"alg":"RS256","typ":"JWT"}`) + "." + b64(`{"sub":"ann"}`) + ".c2ln"
	encrypted := b64(`{"alg":"dir","enc":"A256GCM"}`) + "..aXY.Y2lwaGVy.dGFn"
	for _, tc := range []struct{ kind, name, in, want string }{
		{"iban", "in one piece", "to DE89370400440532013000.", "to #."},
		{"iban", "in groups", "DE89 3704 0044 0532 0130 00 by noon", "# by noon"},
		{"iban", "of Malta, with letters", "(MT84 MALT 0110 0001 2345 MTLC AST0 01S)", "(#)"},
		{"iban", "of Norway, the shortest", "NO9386011117947", "#"},
		{"iban", "in lower case", "gb82west12345698765432", "#"},
		{"iban", "wrong check digits", "DE88370400440532013000", "DE88370400440532013000"},
		{"iban", "no such country", "XX89370400440532013000", "XX89370400440532013000"},
		{"iban", "another length than the country's", "DE8937040044053201300", "DE8937040044053201300"},
		{"iban", "in a word", "aDE89370400440532013000 DE89370400440532013000a", "aDE89370400440532013000 DE89370400440532013000a"},
		{"iban", "two spaces", "DE89  370400440532013000", "DE89  370400440532013000"},
		{"iban", "two of them", "NO9386011117947,NO9386011117947", "#,#"},

		{"ssn", "a number", "ssn 078-05-1120, she says", "ssn #, she says"},
		{"ssn", "at both ends", "219-09-9999", "#"},
		{"ssn", "in one piece", "078051120", "078051120"},
		{"ssn", "never given out", "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000", "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000"},
		{"ssn", "in a longer number", "1078-05-1120 078-05-11201 078-05-1120-1 1-078-05-1120", "1078-05-1120 078-05-11201 078-05-1120-1 1-078-05-1120"},
		{"ssn", "a date", "2026-01-31", "2026-01-31"},

		{"phone", "in one piece", "call +14155552671 now", "call # now"},
		{"phone", "in groups", "+44 20 7946 0958", "#"},
		{"phone", "with brackets", "tel:+1 (415) 555-2671;", "tel:#;"},
		{"phone", "with a zero in brackets", "+49 (0)30 901820.", "#."},
		{"phone", "with dots and slashes", "+49.30/901820", "#"},
		{"phone", "the longest", "+123456789012345", "#"},
		{"phone", "too long", "+1234567890123456", "+1234567890123456"},
		{"phone", "too short", "+1234567", "+1234567"},
		{"phone", "no country", "+0123456789", "+0123456789"},
		{"phone", "a sum", "12345678+12345678", "12345678+12345678"},
		{"phone", "a zone", "2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00+01:00"},
		{"phone", "in a word", "+14155552671a", "+14155552671a"},
		{"phone", "without a plus", "4155552671", "4155552671"},
		{"phone", "two of them", "+14155552671, +442079460958", "#, #"},

		{"ipv4", "an address", "from 192.0.2.17:443 to 198.51.100.0/24.", "from #:443 to #/24."},
		{"ipv4", "at the end of a sentence", "It was 192.0.2.17.", "It was #."},
		{"ipv4", "too large a number", "192.0.2.256", "192.0.2.256"},
		{"ipv4", "leading zeros", "192.00.2.1", "192.00.2.1"},
		{"ipv4", "three and five numbers", "1.2.3 1.2.3.4.5", "1.2.3 1.2.3.4.5"},
		{"ipv4", "a version", "v1.2.3.4 1.2.3.4a", "v1.2.3.4 1.2.3.4a"},

		{"ipv6", "an address", "from [2001:db8::17]:443.", "from [#]:443."},
		{"ipv6", "in full", "2001:0db8:0000:0000:0000:ff00:0042:8329", "#"},
		{"ipv6", "with an IPv4 address in it", "::ffff:192.0.2.17, ok", "#, ok"},
		{"ipv6", "with a zone", "fe80::1%eth0", "#%eth0"},
		{"ipv6", "this machine's", "::1", "#"},
		{"ipv6", "before a colon, and at an end", "fe80::1: yes, 2001:db8::.", "#: yes, #."},
		{"ipv6", "a time", "12:30:45", "12:30:45"},
		{"ipv6", "a MAC address", "00:1a:2b:3c:4d:5e", "00:1a:2b:3c:4d:5e"},
		{"ipv6", "a program", "std::string a::b ::x add::bed", "std::string a::b ::x add::bed"},
		{"ipv6", "too many groups", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:9"},

		{"jwt", "a signed one", "token=" + signed + "&x=1", "token=#&x=1"},
		{"jwt", "an encrypted one", encrypted, "#"},
		{"jwt", "without a signature", b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".", "#"},
		{"jwt", "two parts", b64(`{"alg":"none"}`) + "." + b64(`{}`), b64(`{"alg":"none"}`) + "." + b64(`{}`)},
		{"jwt", "no algorithm", b64(`{"typ":"x"}`) + ".a.b", b64(`{"typ":"x"}`) + ".a.b"},
		{"jwt", "no header", "eyJhYmM.eyJhYmM.abc eyJ", "eyJhYmM.eyJhYmM.abc eyJ"},
		{"jwt", "two of them", signed + " " + signed, "# #"},

		{"bearer", "a header", "authorization: Bearer 0123456789abcdef\r\nx: 1", "authorization: Bearer #\r\nx: 1"},
		{"bearer", "in lower case, with padding", "bearer  YWJjZGVmZ2hpamtsbW5v1Q==", "bearer  #"},
		{"bearer", "before a dot", "It says Bearer 0123456789abcdef.", "It says Bearer #."},
		{"bearer", "a word", "a bearer responsibilities-and-more", "a bearer responsibilities-and-more"},
		{"bearer", "a short one", "Bearer 0123456789abcde", "Bearer 0123456789abcde"},
		{"bearer", "another word", "forbearer 0123456789abcdef", "forbearer 0123456789abcdef"},
		{"bearer", "no space", "bearer0123456789abcdefgh", "bearer0123456789abcdefgh"},
	} {
		p := chosen(t, tc.kind)
		var found counts
		if got := p.replace(tc.in, "#", &found); got != tc.want {
			t.Errorf("%s, %s: %q becomes %q, want %q", tc.kind, tc.name, tc.in, got, tc.want)
		}
		if want := uint64(strings.Count(tc.want, "#")); found.sum() != want || found[0] != want {
			t.Errorf("%s, %s: counted %d, want %d", tc.kind, tc.name, found[0], want)
		}
		if got := p.replace(tc.want, "#", &counts{}); got != tc.want {
			t.Errorf("%s, %s: %q becomes %q when it is looked at again", tc.kind, tc.name, tc.want, got)
		}
	}
}

// What two patterns find is replaced once, whichever is looked for first.
func TestPatternsOverlap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in, want string
		patterns       []string
		first          uint64
	}{
		{"one in the other", "Bearer " + b64(`{"alg":"none"}`) + ".e30.c2ln0", "Bearer #", []string{"jwt", "bearer"}, 1},
		{"side by side", "::ffff:192.0.2.17", "#", []string{"ipv4", "ipv6"}, 0},
		{"one behind the other", "+14155552671@shop.example", "#", []string{"phone", "email"}, 1},
	} {
		for range 2 {
			var found counts
			if got := chosen(t, tc.patterns...).replace(tc.in, "#", &found); got != tc.want || found.sum() != 1 {
				t.Errorf("%s, %v: %q, counted %d", tc.name, tc.patterns, got, found.sum())
			}
			slices.Reverse(tc.patterns)
		}
	}
}

func TestFieldPaths(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path, names string
		want        bool
	}{
		{"a", "a", true},
		{"a", "a.b", false},
		{"a.b", "a", false},
		{"a.b", "a.b", true},
		{"*.b", "x.b", true},
		{"*.b", "x.y.b", false},
		{"**.b", "b", true},
		{"**.b", "x.y.b", true},
		{"**.b", "x.b.y", false},
		{"**.b", "b.b", true},
		{"a.**.b", "a.b", true},
		{"a.**.b", "a.x.b.y.b", true},
		{"a.**.b.*", "a.b.b.c", true},
		{"**.a.**.b", "x.a.y.b", true},
		{"**.a.**.b", "x.y.b", false},
	} {
		path, ok := parsePath(tc.path)
		if !ok {
			t.Fatal(tc.path)
		}
		if got := path.matches(strings.Split(tc.names, ".")); got != tc.want {
			t.Errorf("%s matches %s: %v", tc.path, tc.names, got)
		}
	}
	for _, bad := range []string{"", ".a", "a.", "a..b", "a.**", "**.**.a", "a[0]"} {
		if _, ok := parsePath(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

// names are those of the patterns that are built in.
func names() []string {
	var names []string
	for _, p := range builtin {
		names = append(names, string(p.kind))
	}
	return names
}

func testPolicy(t testing.TB, fields ...string) *policy {
	p, err := compilePolicy("", &Policy{Messages: []string{"response"}, Fields: fields, Patterns: names(), Replacement: "[redacted]", MaxBodyBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRewriteJSON(t *testing.T) {
	t.Parallel()
	p := testPolicy(t, "user.name", "**.secret")
	for _, tc := range []struct{ name, in, want string }{
		{"nothing to find", ` { "a" : [ 1, 2.50 ,true,null , "x\n" ] } `, ` { "a" : [ 1, 2.50 ,true,null , "x\n" ] } `},
		{"a field", `{"user":{"name":"Ann","age":7}}`, `{"user":{"name":"[redacted]","age":7}}`},
		{"in a list", `{"user":[{"name":"Ann"},{"name":["A","B"]}]}`, `{"user":[{"name":"[redacted]"},{"name":"[redacted]"}]}`},
		{"elsewhere", `{"name":"Ann","x":{"user":{"name":"Bob"}}}`, `{"name":"Ann","x":{"user":{"name":"Bob"}}}`},
		{"an object", `{"secret": {"a":[1,{"b":2}]} ,"c":3}`, `{"secret": "[redacted]" ,"c":3}`},
		{"a name in disguise", `{"\u0073ecret":1}`, `{"\u0073ecret":"[redacted]"}`},
		{"a pattern in a string", `["to ann@shop.example"]`, `["to [redacted]"]`},
		{"a pattern in disguise", `["ann\u0040shop.example"]`, `["[redacted]"]`},
		{"a number", `{"card":4111111111111111,"n":-1e5}`, `{"card":"[redacted]","n":-1e5}`},
		{"a name", `{"ann@shop.example":1}`, `{"[redacted]":1}`},
		{"quotes stay quotes", `["\"ann@shop.example\""]`, `["\"[redacted]\""]`},
		{"an IBAN", `["DE89 3704 0044 0532 0130 00"]`, `["[redacted]"]`},
		{"words are nobody's", `[true,false,null]`, `[true,false,null]`},
		{"a text alone", `"ann@shop.example"`, `"[redacted]"`},
		{"empty ones", `[{},[],"",{"a":{}}]`, `[{},[],"",{"a":{}}]`},
	} {
		var found counts
		got, ok := p.rewriteJSON([]byte(tc.in), &found)
		if !ok || string(got) != tc.want {
			t.Errorf("%s: %s becomes %s, want %s", tc.name, tc.in, got, tc.want)
		}
		if (found.sum() > 0) != (tc.in != tc.want) {
			t.Errorf("%s: counted %+v", tc.name, found)
		}
	}
	for _, bad := range []string{"", "{", "{}x", `{"a":}`, strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)} {
		if got, ok := p.rewriteJSON([]byte(bad), &counts{}); ok {
			t.Errorf("%.20q becomes %s", bad, got)
		}
	}
}

// FuzzRewriteJSON wants what comes out to be JSON in which nothing is left to find.
func FuzzRewriteJSON(f *testing.F) {
	for _, s := range []string{`{"user":{"name":"Ann"}}`, `["a@b.example","4111 1111 1111 1111"]`, `{"secret":[{}],"a\u0040b.example":1}`, `4111111111111111`, `"\ud800@b.example"`,
		`["DE89 3704 0044 0532 0130 00","078-05-1120","+1 (415) 555-2671","192.0.2.17","2001:db8::17","eyJhbGciOiJub25lIn0.e30.","Bearer 0123456789abcdef"]`} {
		f.Add(s)
	}
	p := testPolicy(f, "user.name", "**.secret")
	p.patterns = chosen(f, "card", "email")
	f.Fuzz(func(t *testing.T, in string) {
		out, ok := p.rewriteJSON([]byte(in), &counts{})
		if !ok {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q becomes %q, which is no JSON", in, out)
		}
		var again counts
		if _, ok := p.rewriteJSON(out, &again); !ok || again.sum() > again[maxPatterns] {
			t.Errorf("%q becomes %q, in which there is still something: %+v", in, out, again)
		}
	})
}

// FuzzFinders wants each pattern to find parts of the text, from left to right, that do not overlap.
func FuzzFinders(f *testing.F) {
	for _, s := range []string{
		"4111 1111 1111 1111 a@b.example", "DE89 3704 0044 0532 0130 00", "078-05-1120", "+1 (415) 555-2671", "1.2.3.4 ::ffff:1.2.3.4", "2001:db8::",
		"eyJhbGciOiJub25lIn0.e30.", "Bearer 0123456789abcdef.", "+", "eyJ", "bearer", "@", "::", "DE89", "+1(",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range builtin {
			behind := 0
			p.find(s, func(start, end int) {
				if start < behind || end <= start || end > len(s) {
					t.Fatalf("%s finds %d to %d in %q, behind %d", p.kind, start, end, s, behind)
				}
				behind = end
			})
		}
	})
}
