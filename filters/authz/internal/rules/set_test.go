package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// must gives the pattern of a rule in a test.
func must(t testing.TB) func(PathPattern, error) PathPattern {
	return func(p PathPattern, err error) PathPattern {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func newSet(t testing.TB, ignoreCase bool, list ...Rule) *Set {
	t.Helper()
	s, err := NewSet(list, ignoreCase)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPathPatterns(t *testing.T) {
	p := must(t)
	tests := []struct {
		name    string
		pattern PathPattern
		yes, no []string
	}{
		{"prefix", p(Prefix("/admin")), []string{"/admin", "/admin/users", "/admin/a/b"}, []string{"/", "/administrator", "/Admin", "/x/admin"}},
		{"prefix written with a slash", p(Prefix("/admin/")), []string{"/admin", "/admin/users"}, []string{"/administrator"}},
		{"prefix of everything", p(Prefix("/")), []string{"/", "/admin", "/a/b"}, nil},
		{"exact", p(Exact("/admin")), []string{"/admin"}, []string{"/admin/users", "/", "/admin2"}},
		{"exact root", p(Exact("/")), []string{"/"}, []string{"/admin"}},
		{"exact beyond ASCII", p(Exact("/café")), []string{"/café"}, []string{"/cafe"}},
		{"regex is anchored", p(Regex("/users/[0-9]+")), []string{"/users/1", "/users/42"}, []string{"/users/", "/users/x", "/x/users/1", "/users/1/orders"}},
		{"regex with alternatives is anchored", p(Regex("/a|/b")), []string{"/a", "/b"}, []string{"/ax", "/x/b", "/a|/b"}},
		{"regex with anchors of its own", p(Regex("^/a$")), []string{"/a"}, []string{"/ab"}},
		{"zero", PathPattern{}, nil, []string{"", "/"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range tt.yes {
				if !tt.pattern.matches(path) {
					t.Errorf("%q does not match", path)
				}
			}
			for _, path := range tt.no {
				if tt.pattern.matches(path) {
					t.Errorf("%q matches", path)
				}
			}
		})
	}
}

func TestPatternsThatCannotBeUsed(t *testing.T) {
	for _, tt := range []struct{ path, problem string }{
		{"", "empty"}, {"admin", "begin with a slash"}, {"//a", "empty segment"}, {"/a/../b", "dot segment"},
		{"/a?b", `"?"`}, {"/a;b", `";"`}, {"/a#b", `"#"`}, {`/a\b`, `"\"`}, {"/a\x00", "control character"},
		{"/%61", "percent-encoding"}, {"/\xff", "UTF-8"}, {"/" + strings.Repeat("a", MaxPathBytes), "too long"},
	} {
		for name, make := range map[string]func(string) (PathPattern, error){"prefix": Prefix, "exact": Exact} {
			if _, err := make(tt.path); err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%s %q: error %v, want %q", name, tt.path, err, tt.problem)
			}
		}
	}
	for _, expression := range []string{"", "(", "a)|(b", `\C`, strings.Repeat("a", MaxPatternBytes+1)} {
		if _, err := Regex(expression); err == nil {
			t.Errorf("regex %q is accepted", expression)
		}
	}
}

func TestFindTakesTheFirstThatMatches(t *testing.T) {
	p := must(t)
	yes := "yes"
	s := newSet(t, false,
		Rule{Paths: []PathPattern{p(Exact("/health"))}, Public: true},
		Rule{Paths: []PathPattern{p(Prefix("/admin"))}, Methods: []string{"GET", "HEAD"}},
		Rule{Paths: []PathPattern{p(Prefix("/admin"))}, Headers: []HeaderPattern{{Name: "x-breakglass", Exact: &yes}}},
		Rule{Paths: []PathPattern{p(Prefix("/admin")), p(Regex("/users/[0-9]+/secrets"))}},
		Rule{Paths: []PathPattern{p(Prefix("/users"))}, Headers: []HeaderPattern{{Name: "x-tenant"}, {Name: "x-breakglass", Absent: true}}},
	)
	if got := strings.Join(s.HeaderNames(), " "); got != "x-breakglass x-tenant" {
		t.Fatalf("header names %q", got)
	}
	none, once, twice := Field{}, Field{"yes", 1}, Field{"yes", 2}
	other := Field{"no", 1}
	for _, tt := range []struct {
		method, path       string
		breakglass, tenant Field
		want               int
	}{
		{"GET", "/health", none, none, 0},
		{"GET", "/health/x", none, none, NoRule},
		{"GET", "/admin/x", none, none, 1},
		{"HEAD", "/admin/x", none, none, 1},
		{"get", "/admin/x", none, none, 3},
		{"POST", "/admin", once, none, 2},
		{"POST", "/admin", other, none, 3},
		{"POST", "/admin", none, none, 3},
		{"POST", "/admin", twice, none, Ambiguous},
		{"GET", "/admin", twice, none, 1}, // decided before the header counts
		{"GET", "/users/1/secrets", none, once, 3},
		{"GET", "/users/1", none, once, 4},
		{"GET", "/users/1", none, none, NoRule},
		{"GET", "/users/1", once, once, NoRule},
		{"GET", "/users/1", none, twice, Ambiguous},
		{"GET", "/", none, once, NoRule},
	} {
		t.Run(fmt.Sprint(tt.method, tt.path, tt.breakglass, tt.tenant), func(t *testing.T) {
			if got := s.Find(tt.method, tt.path, []Field{tt.breakglass, tt.tenant}); got != tt.want {
				t.Errorf("rule %d, want %d", got, tt.want)
			}
		})
	}
	if got := (&Set{}).Find("GET", "/", nil); got != NoRule {
		t.Errorf("the zero set gives %d", got)
	}
}

func TestFindWithoutRegardToCase(t *testing.T) {
	p := must(t)
	s := newSet(t, true,
		Rule{Paths: []PathPattern{p(Prefix("/Admin"))}},
		Rule{Paths: []PathPattern{p(Regex("/API/[A-Z]+"))}},
		Rule{Paths: []PathPattern{p(Prefix("/"))}, Public: true},
	)
	for path, want := range map[string]int{"/ADMIN/x": 0, "/admin": 0, "/api/x": 1, "/Api/X": 1, "/other": 2, "/\u212Aelvin": 2} {
		if got := s.Find("GET", path, nil); got != want {
			t.Errorf("%s: rule %d, want %d", path, got, want)
		}
	}
	// The Kelvin sign is a k in lower case, and IIS agrees.
	s = newSet(t, true, Rule{Paths: []PathPattern{p(Prefix("/key"))}})
	if got := s.Find("GET", "/\u212Aey", nil); got != 0 {
		t.Errorf("Kelvin sign: rule %d", got)
	}
}

func TestHeaderPatterns(t *testing.T) {
	re, err := CompileRegex("v[0-9]")
	if err != nil {
		t.Fatal(err)
	}
	empty := ""
	for _, tt := range []struct {
		name    string
		pattern HeaderPattern
		field   Field
		want    bool
	}{
		{"present", HeaderPattern{}, Field{"x", 1}, true},
		{"present and empty", HeaderPattern{}, Field{"", 1}, true},
		{"not present", HeaderPattern{}, Field{}, false},
		{"absent", HeaderPattern{Absent: true}, Field{}, true},
		{"not absent", HeaderPattern{Absent: true}, Field{"x", 1}, false},
		{"exactly empty", HeaderPattern{Exact: &empty}, Field{"", 1}, true},
		{"exactly empty, not there", HeaderPattern{Exact: &empty}, Field{}, false},
		{"prefix", HeaderPattern{Prefix: "ab"}, Field{"abc", 1}, true},
		{"not the prefix", HeaderPattern{Prefix: "ab"}, Field{"xab", 1}, false},
		{"regex", HeaderPattern{Regex: re}, Field{"v1", 1}, true},
		{"regex is anchored", HeaderPattern{Regex: re}, Field{"v12", 1}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.pattern.matches(tt.field); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestNewSetRefusesRulesThatAreNeverReached(t *testing.T) {
	p := must(t)
	rule := func(methods string, paths ...PathPattern) Rule {
		return Rule{Methods: strings.Fields(methods), Paths: paths}
	}
	header := func(r Rule) Rule {
		r.Headers = []HeaderPattern{{Name: "x"}}
		return r
	}
	tests := []struct {
		name    string
		first   Rule
		second  Rule
		covered bool
	}{
		{"everything first", rule("", p(Prefix("/"))), rule("", p(Prefix("/admin"))), true},
		{"everything first, then a regex", rule("", p(Prefix("/"))), rule("", p(Regex("/a.*"))), true},
		{"the same", rule("", p(Exact("/a"))), rule("GET", p(Exact("/a/"))), true},
		{"the same regex", rule("", p(Regex("/a.*"))), rule("", p(Regex("/a.*"))), true},
		{"a prefix, then below", rule("", p(Prefix("/a"))), rule("", p(Exact("/a/b"))), true},
		{"two of two", rule("", p(Prefix("/a")), p(Prefix("/b"))), rule("", p(Exact("/a")), p(Exact("/b/c"))), true},
		{"one of two", rule("", p(Prefix("/a"))), rule("", p(Exact("/a")), p(Exact("/b"))), false},
		{"the narrower first", rule("", p(Prefix("/admin"))), rule("", p(Prefix("/"))), false},
		{"a neighbour", rule("", p(Prefix("/admin"))), rule("", p(Prefix("/administrator"))), false},
		{"exact, then prefix", rule("", p(Exact("/a"))), rule("", p(Prefix("/a"))), false},
		{"fewer methods first", rule("GET", p(Prefix("/a"))), rule("", p(Prefix("/a"))), false},
		{"more methods first", rule("GET POST", p(Prefix("/a"))), rule("POST", p(Prefix("/a"))), true},
		{"other methods first", rule("GET", p(Prefix("/a"))), rule("POST", p(Prefix("/a"))), false},
		{"a header first", header(rule("", p(Prefix("/a")))), rule("", p(Prefix("/a"))), false},
		{"a header second", rule("", p(Prefix("/a"))), header(rule("", p(Prefix("/a")))), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewSet([]Rule{tt.first, tt.second}, false)
			var wrong *RuleError
			switch {
			case tt.covered && (!errors.As(err, &wrong) || wrong.Index != 1 || !strings.Contains(wrong.Problem, "rules[0]")):
				t.Errorf("error %v, want rules[1] to be refused because of rules[0]", err)
			case !tt.covered && err != nil:
				t.Error(err)
			}
		})
	}
	if _, err := NewSet([]Rule{rule("", p(Prefix("/A"))), rule("", p(Prefix("/a")))}, true); err == nil {
		t.Error("without regard to case, /A covers /a")
	}
}

func TestNewSetRefuses(t *testing.T) {
	p := must(t)
	for name, list := range map[string][]Rule{
		"a rule without a path":  {{}},
		"public with conditions": {{Paths: []PathPattern{p(Prefix("/"))}, Public: true, Any: []Condition{{}}}},
		"too many rules":         make([]Rule, MaxRules+1),
	} {
		if _, err := NewSet(list, false); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestGrants(t *testing.T) {
	p := must(t)
	role := func(values ...any) Condition {
		return Condition{Claim: []string{"roles"}, Operator: ContainsAny, Values: values}
	}
	var list []Rule
	for i := range 70 { // more than one word of bits
		list = append(list, Rule{Paths: []PathPattern{p(Exact(fmt.Sprintf("/%d", i)))}, All: []Condition{role(fmt.Sprint("r", i))}})
	}
	list[3].All = nil
	list[4].Any = []Condition{role("x"), role("y")}
	list[4].All = nil
	list[5].All = append(list[5].All, role("x"))
	s := newSet(t, false, list...)
	g := s.Grants(map[string]any{"roles": []any{"r0", "r69", "y", "r5"}})
	for i := range list {
		want := i == 0 || i == 3 || i == 4 || i == 69
		if g.Has(i) != want {
			t.Errorf("rule %d: %v", i, g.Has(i))
		}
	}
	if g.Has(NoRule) || g.Has(Ambiguous) || g.Has(1000) || (Grants)(nil).Has(0) {
		t.Error("granted what is no rule")
	}
}

func TestConditions(t *testing.T) {
	var claims map[string]any
	d := json.NewDecoder(strings.NewReader(`{
		"roles": ["admin", "ops"], "role": "admin", "text": "not admin", "scope": "read  write", "n": 7, "f": 7.0,
		"big": 9007199254740993, "yes": true, "null": null, "empty": [], "mixed": [1, "1", true, null, {"a": 1}],
		"realm_access": {"roles": ["admin"], "deep": {"x": "y"}}, "https://x.example/roles": ["admin"], "object": {}
	}`))
	d.UseNumber()
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	c := func(operator Operator, claim string, values ...any) Condition {
		return Condition{Claim: strings.Split(claim, "/"), Operator: operator, Values: values}
	}
	split := func(c Condition) Condition { c.Split = " "; return c }
	n := func(s string) json.Number { return json.Number(s) }
	for _, tt := range []struct {
		name      string
		condition Condition
		want      bool
	}{
		{"a role of the list", c(ContainsAny, "roles", "admin"), true},
		{"one of two roles", c(ContainsAny, "roles", "x", "ops"), true},
		{"another role", c(ContainsAny, "roles", "x"), false},
		{"a part of a role", c(ContainsAny, "roles", "adm"), false},
		{"a role in another case", c(ContainsAny, "roles", "Admin"), false},
		{"all roles", c(ContainsAll, "roles", "ops", "admin"), true},
		{"one role of two missing", c(ContainsAll, "roles", "ops", "x"), false},
		{"a single value as a list", c(ContainsAny, "role", "admin"), true},
		{"a string is not split by itself", c(ContainsAny, "text", "admin"), false},
		{"a string that is split", split(c(ContainsAll, "scope", "read", "write")), true},
		{"a string that is split has no empty parts", split(c(ContainsAny, "scope", "")), false},
		{"in", c(In, "role", "x", "admin"), true},
		{"in does not look into lists", c(In, "roles", "admin"), false},
		{"a number", c(In, "n", n("7")), true},
		{"a number in another spelling", c(In, "n", n("7.0")), true},
		{"a number with a fraction", c(In, "f", n("7")), true},
		{"a number is no string", c(In, "n", "7"), false},
		{"a large number", c(In, "big", n("9007199254740993")), true},
		{"a large number next to it", c(In, "big", n("9007199254740992")), false},
		{"a boolean", c(In, "yes", true), true},
		{"a boolean is no string", c(In, "yes", "true"), false},
		{"null equals nothing", c(In, "null", "null"), false},
		{"a mixed list with a string", c(ContainsAll, "mixed", "1", true, n("1")), true},
		{"nested", c(ContainsAny, "realm_access/roles", "admin"), true},
		{"nested deeper", c(In, "realm_access/deep/x", "y"), true},
		{"nested below a list", c(ContainsAny, "roles/admin", "x"), false},
		{"nested that is not there", c(ContainsAny, "realm_access/x/y", "admin"), false},
		{"a name with dots", Condition{Claim: []string{"https://x.example/roles"}, Operator: ContainsAny, Values: []any{"admin"}}, true},
		{"an empty list has none", c(ContainsAny, "empty", "admin"), false},
		{"all of nothing is not enough", c(ContainsAll, "roles"), false},
		{"present", c(Present, "object"), true},
		{"null is not present", c(Present, "null"), false},
		{"missing is not present", c(Present, "x"), false},
		{"missing contains nothing", c(ContainsAny, "x", "admin"), false},
		{"the zero condition", Condition{}, false},
		{"no claim named", Condition{Operator: Present}, false},
		{"no operator", Condition{Claim: []string{"role"}, Values: []any{"admin"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.condition.Holds(claims); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestValidMethod(t *testing.T) {
	for method, want := range map[string]bool{"GET": true, "M-SEARCH": true, "": false, "get": false, "Get": false, "GET ": false, "GÉT": false} {
		if got := ValidMethod(method); got != want {
			t.Errorf("%q: %v", method, got)
		}
	}
}

// FuzzFind looks for a path that reaches what /admin protects while the rule for / lets everybody in.
func FuzzFind(f *testing.F) {
	p := must(f)
	s := newSet(f, false, Rule{Paths: []PathPattern{p(Prefix("/admin"))}}, Rule{Paths: []PathPattern{p(Prefix("/"))}, Public: true})
	for _, seed := range []string{"/admin", "/%61dmin", "//admin", "/x/../admin", "/admin;x", "/./admin"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		path, problem := NormalizePath(raw)
		if problem != "" {
			return
		}
		if s.Find("GET", path, nil) != 1 {
			return
		}
		if lenient := readLeniently(raw); lenient == "/admin" || strings.HasPrefix(lenient, "/admin/") {
			t.Fatalf("%q is let in as %q, and a lenient server reads it as %q", raw, path, lenient)
		}
	})
}

// readLeniently is a server that repairs whatever it gets: it decodes until nothing is left to decode, takes backslashes
// for slashes, drops parameters, empty segments and dots, and goes up at dot dot.
func readLeniently(raw string) string {
	path, _, _ := strings.Cut(raw, "?")
	for range 5 {
		var out []byte
		for i := 0; i < len(path); i++ {
			if path[i] == '%' && encodedAt(path, i) {
				out = append(out, unhex(path[i+1])<<4|unhex(path[i+2]))
				i += 2
				continue
			}
			out = append(out, path[i])
		}
		path = string(out)
	}
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "\x00")
	var segments []string
	for segment := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		switch segment, _, _ = strings.Cut(segment, ";"); segment {
		case "", ".":
		case "..":
			segments = segments[:max(0, len(segments)-1)]
		default:
			segments = append(segments, segment)
		}
	}
	return "/" + strings.Join(segments, "/")
}
