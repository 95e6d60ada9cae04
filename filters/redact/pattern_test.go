package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	all := patterns{card: true, email: true}
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
	if got := (patterns{email: true}).replace("4111111111111111 a@b.example", "#", &counts{}); got != "4111111111111111 #" {
		t.Errorf("only e-mail: %q", got)
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

func testPolicy(t testing.TB, fields ...string) *policy {
	p, err := compilePolicy("", &Policy{Messages: []string{"response"}, Fields: fields, Patterns: []string{"card", "email"}, Replacement: "[redacted]", MaxBodyBytes: 1 << 20})
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
	for _, s := range []string{`{"user":{"name":"Ann"}}`, `["a@b.example","4111 1111 1111 1111"]`, `{"secret":[{}],"a\u0040b.example":1}`, `4111111111111111`, `"\ud800@b.example"`} {
		f.Add(s)
	}
	p := testPolicy(f, "user.name", "**.secret")
	f.Fuzz(func(t *testing.T, in string) {
		out, ok := p.rewriteJSON([]byte(in), &counts{})
		if !ok {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q becomes %q, which is no JSON", in, out)
		}
		var again counts
		if _, ok := p.rewriteJSON(out, &again); !ok || again.card+again.email > 0 {
			t.Errorf("%q becomes %q, in which there is still something: %+v", in, out, again)
		}
	})
}
