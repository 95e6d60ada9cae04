package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/filters/authz/internal/testtoken"
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

const issuer = "https://issuer.example"

// config is a configuration with all test keys, one rule for /admin, and more fields as JSON members.
func config(more ...string) string {
	return configWith(append([]string{`"rules":[{"path":"/admin","roles":["admin"]}]`}, more...)...)
}

// configWith is a configuration with the given members after issuer and jwks.
func configWith(members ...string) string {
	return fmt.Sprintf(`{"issuer":%q,"jwks":%s,%s}`, issuer, testtoken.JWKS(testtoken.All()...), strings.Join(members, ","))
}

func TestTheDesignsExampleIsAConfiguration(t *testing.T) {
	var c Config
	example := `{"issuer": "https://issuer.example", "rules": [{"path": "/admin", "roles": ["admin"]}], "jwks": ` + testtoken.JWKS(testtoken.EC()) + `}`
	if err := sdk.DecodeConfig([]byte(example), &c); err != nil {
		t.Fatal(err)
	}
	out, err := compile(&c)
	if err != nil {
		t.Fatal(err)
	}
	// What README.md says of fields that are left out.
	if v := out.verifier; v.ClockSkew != time.Minute || v.MaxTokenBytes != 8192 || out.remembered != 1000 {
		t.Errorf("skew %v, tokens of %d bytes, %d remembered", v.ClockSkew, v.MaxTokenBytes, out.remembered)
	}
	if !slices.Equal(out.sources, []source{{"authorization", "Bearer"}}) {
		t.Errorf("tokens are looked for in %v", out.sources)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	mac := testtoken.HMAC()
	rule := func(members string) string {
		return configWith(`"rules":[{"path":"/ok","public":true},{` + members + `}]`)
	}
	condition := func(members string) string { return rule(`"path":"/","allow":[{` + members + `}]`) }
	many := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	tests := []struct{ name, config, want string }{
		{"nothing", ``, `issuer: required field is missing`},
		{"no jwks", `{"issuer":"i","rules":[{"path":"/"}]}`, `jwks: required field is missing`},
		{"no rules", `{"issuer":"i","jwks":{}}`, `rules: required field is missing`},
		{"an unknown field", config(`"jwksUri":"https://x"`), `jwksUri: unknown field`},
		{"an unknown field of a rule", rule(`"path":"/","role":["a"]`), `rules[1].role: unknown field`},
		{"a wrong type", config(`"removeToken":"yes"`), `removeToken: want a boolean, got a string`},
		{"an empty issuer", fmt.Sprintf(`{"issuer":"","jwks":%s,"rules":[{"path":"/"}]}`, testtoken.JWKS(mac)), `issuer: it is empty`},
		{"jwks null", `{"issuer":"i","jwks":null,"rules":[{"path":"/"}]}`, `jwks: not a JSON object`},
		{"jwks without keys", `{"issuer":"i","jwks":{},"rules":[{"path":"/"}]}`, `jwks.keys: a list`},
		{"a key without n", `{"issuer":"i","jwks":{"keys":[{` + mac.Public + `},{"kty":"RSA","e":"AQAB"}]},"rules":[{"path":"/"}]}`, `jwks.keys[1].n: missing`},
		{"empty audiences", config(`"audiences":[]`), `audiences: it is empty; want at least 1`},
		{"an empty audience", config(`"audiences":["a",""]`), `audiences[1]: it is empty`},
		{"audiences and any", config(`"audiences":["a"],"anyAudience":true`), `anyAudience: excludes audiences`},
		{"empty types", config(`"types":[]`), `types: it is empty`},
		{"too much skew", config(`"clockSkewSeconds":601`), `clockSkewSeconds: want at most 600, got 601`},
		{"negative skew", config(`"clockSkewSeconds":-1`), `clockSkewSeconds: want at least 0, got -1`},
		{"too short tokens", config(`"maxTokenBytes":63`), `maxTokenBytes: want at least 64, got 63`},
		{"too long tokens", config(`"maxTokenBytes":50000`), `maxTokenBytes: want at most 49152, got 50000`},
		{"too many remembered", config(`"rememberedTokens":50001`), `rememberedTokens: want at most 50000, got 50001`},
		{"a realm with quotes", config(`"realm":"a\"b"`), `realm: only printable`},
		{"a realm with a line break", config(`"realm":"a\r\nb"`), `realm: only printable`},
		{"no token header", config(`"tokenHeaders":[]`), `tokenHeaders: it is empty; want at least 1`},
		{"too many token headers", config(`"tokenHeaders":` + many(5, `{"name":"x"}`)), `tokenHeaders: want at most 4, got 5`},
		{"a token header that is no name", config(`"tokenHeaders":[{"name":"a b"}]`), `tokenHeaders[0].name: "a b" is no header name`},
		{"a pseudo-header for the token", config(`"tokenHeaders":[{"name":":path"}]`), `tokenHeaders[0].name: ":path" is no header name`},
		{"a scheme with a space", config(`"tokenHeaders":[{"name":"x","scheme":"Bearer "}]`), `tokenHeaders[0].scheme: "Bearer " is no`},
		{"authorization without a scheme", config(`"tokenHeaders":[{"name":"Authorization"}]`), `tokenHeaders[0].scheme: missing`},
		{"a token header twice", config(`"tokenHeaders":[{"name":"x"},{"name":"X"}]`), `tokenHeaders[1].name: "x" is there twice`},
		{"too many forwarded", config(`"forward":` + many(17, `{}`)), `forward: want at most 16, got 17`},
		{"forward without header", config(`"forward":[{"claim":"a"}]`), `forward[0].header: required`},
		{"forward without claim", config(`"forward":[{"header":"x"}]`), `forward[0].claim: missing`},
		{"forward with two claims", config(`"forward":[{"claim":"a","claimPath":["a"],"header":"x"}]`), `forward[0].claim: excludes claimPath`},
		{"forward with an empty name", config(`"forward":[{"claim":"a..b","header":"x"}]`), `forward[0].claim: "a..b" has an empty name`},
		{"forward with an empty path", config(`"forward":[{"claimPath":[],"header":"x"}]`), `forward[0].claimPath: it is empty`},
		{"forward to host", config(`"forward":[{"claim":"a","header":"Host"}]`), `forward[0].header: "host" says how`},
		{"forward to a pseudo-header", config(`"forward":[{"claim":"a","header":":path"}]`), `forward[0].header: ":path" is no`},
		{"forward to the token's header", config(`"forward":[{"claim":"a","header":"Authorization"}]`), `forward[0].header: "authorization" carries`},
		{"forward twice", config(`"forward":[{"claim":"a","header":"x-a"},{"claim":"b","header":"x_a"}]`), `forward[1].header: "x_a" is there twice`},
		{"an empty rolesClaim part", config(`"rolesClaim":"a."`), `rolesClaim: "a." has an empty name`},
		{"an empty list of rules", configWith(`"rules":[]`), `rules: it is empty; want at least 1`},
		{"too many rules", configWith(`"rules":` + many(513, `{"path":"/"}`)), `rules: want at most 512, got 513`},
		{"a rule without a path", rule(`"roles":["a"]`), `rules[1].path: missing`},
		{"a rule with an empty list of paths", rule(`"paths":[]`), `rules[1].paths: it is empty`},
		{"a rule with path and paths", rule(`"path":"/a","paths":[{"exact":"/b"}]`), `rules[1].path: excludes paths`},
		{"a path without a slash", rule(`"path":"admin"`), `rules[1].path: "admin": does not begin with a slash`},
		{"a path that is encoded", rule(`"path":"/%61"`), `rules[1].path: "/%61": holds percent-encoding`},
		{"a path with a wildcard is literal and fine, one with a query not", rule(`"path":"/a?b"`), `rules[1].path: "/a?b": holds "?"`},
		{"too many paths", rule(`"paths":` + many(257, `{"exact":"/a"}`)), `rules[1].paths: want at most 256, got 257`},
		{"paths with nothing", rule(`"paths":[{"exact":"/a"},{}]`), `rules[1].paths[1]: exactly one of`},
		{"paths with two", rule(`"paths":[{"exact":"/a","prefix":"/b"}]`), `rules[1].paths[0]: exactly one of`},
		{"a bad exact path", rule(`"paths":[{"exact":"//"}]`), `rules[1].paths[0].exact: "//": has an empty segment`},
		{"a bad regex", rule(`"paths":[{"regex":"/("}]`), `rules[1].paths[0].regex: "/(": error parsing regexp`},
		{"empty methods", rule(`"path":"/","methods":[]`), `rules[1].methods: it is empty`},
		{"a method in lower case", rule(`"path":"/","methods":["GET","post"]`), `rules[1].methods[1]: "post" is no method`},
		{"a header without a name", rule(`"path":"/","headers":[{"exact":"x"}]`), `rules[1].headers[0].name: required`},
		{"a header that is no name", rule(`"path":"/","headers":[{"name":""}]`), `rules[1].headers[0].name: "" is no`},
		{"a pseudo-header", rule(`"path":"/","headers":[{"name":":method"}]`), `rules[1].headers[0].name: ":method" is no`},
		{"a header with two matches", rule(`"path":"/","headers":[{"name":"x","exact":"","absent":true}]`), `rules[1].headers[0]: at most one`},
		{"a header with a bad regex", rule(`"path":"/","headers":[{"name":"x","regex":"["}]`), `rules[1].headers[0].regex: "[": error parsing`},
		{"too many headers", rule(`"path":"/","headers":` + many(257, `{"name":"x"}`)), `rules[1].headers: want at most 256, got 257`},
		{"empty roles", rule(`"path":"/","roles":[]`), `rules[1].roles: it is empty`},
		{"an empty role", rule(`"path":"/","roles":[""]`), `rules[1].roles[0]: it is empty`},
		{"empty scopes", rule(`"path":"/","scopes":[]`), `rules[1].scopes: it is empty`},
		{"empty allow", rule(`"path":"/","allow":[]`), `rules[1].allow: it is empty`},
		{"empty allowAny", rule(`"path":"/","allowAny":[]`), `rules[1].allowAny: it is empty`},
		{"too many conditions", rule(`"path":"/","allow":` + many(257, `{"claim":"a","present":true}`)), `rules[1].allow: want at most 256, got 257`},
		{"public with roles", rule(`"path":"/","public":true,"roles":["a"]`), `rules[1]: public and conditions`},
		{"a condition without a claim", condition(`"present":true`), `rules[1].allow[0].claim: missing`},
		{"a condition without an operator", condition(`"claim":"a"`), `rules[1].allow[0]: exactly one of in`},
		{"a condition with two operators", condition(`"claim":"a","in":["x"],"present":true`), `rules[1].allow[0]: exactly one of in`},
		{"a condition with no values", condition(`"claim":"a","in":[]`), `rules[1].allow[0].in: it is empty; want at least 1`},
		{"a condition with an object", condition(`"claim":"a","containsAny":["x",{}]`), `rules[1].allow[0].containsAny[1]: want a string, a number or a boolean, got {}`},
		{"a condition with null", condition(`"claim":"a","containsAll":[null]`), `rules[1].allow[0].containsAll[0]: want a string`},
		{"split with in", condition(`"claim":"a","in":["x"],"split":" "`), `rules[1].allow[0].split: counts for`},
		{"a rule that is never reached", configWith(`"rules":[{"path":"/"},{"path":"/admin","roles":["admin"]}]`), `rules[1]: never reached, because rules[0]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := sdktest.Configure(t, configure, tt.config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
		})
	}
}

func TestFailOpenIsRefused(t *testing.T) {
	err := sdktest.Configure(t, configure, config(), sdktest.Env("WAFT_FAILURE_POLICY", "FAIL_OPEN"))
	if err == nil || !strings.Contains(err.Error(), "FAIL_OPEN") {
		t.Errorf("error %v", err)
	}
}

func TestScalar(t *testing.T) {
	for raw, want := range map[string]any{`"a"`: "a", `true`: true, ` 9007199254740993 `: json.Number("9007199254740993")} {
		if got, ok := scalar(json.RawMessage(raw)); !ok || got != want {
			t.Errorf("%s: %#v, want %#v", raw, got, want)
		}
	}
	for _, raw := range []string{`null`, `[]`, `{}`, `1e999`} {
		if got, ok := scalar(json.RawMessage(raw)); ok {
			t.Errorf("%s: %#v, want none", raw, got)
		}
	}
}

// FuzzConfigure looks for a configuration that makes the filter panic.
func FuzzConfigure(f *testing.F) {
	f.Add(config(`"forward":[{"claim":"sub","header":"x-user"}]`))
	f.Add(configWith(`"rules":[{"paths":[{"regex":"/a.*"}],"allow":[{"claim":"a","in":[1]}]}]`))
	f.Fuzz(func(t *testing.T, text string) {
		var c Config
		if sdk.DecodeConfig([]byte(text), &c) != nil {
			return
		}
		if out, err := compile(&c); (out == nil) == (err == nil) {
			t.Fatalf("both or neither of %v and %v", out, err)
		}
	})
}
