package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// order is a schema with references, a pattern and a format.
const order = `{"type":"object","required":["id","lines"],"additionalProperties":false,"properties":{
	"id":{"type":"string","pattern":"^[a-z0-9-]{1,36}$"},"lines":{"type":"array","minItems":1,"items":{"$ref":"#/$defs/line"}}},
	"$defs":{"line":{"type":"object","required":["sku"],"properties":{"sku":{"type":"string"},"count":{"type":"integer","minimum":1,"maximum":1e3}}}}}`

func config(more string) string { return `{"default":{"schema":` + order + more + `}}` }

func TestBodies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, more, kind, body string
		status                 int
		reason                 reason
		says                   string
	}{
		{"good", "", "application/json", `{"id":"a-1","lines":[{"sku":"x","count":2}]}`, 0, "", ""},
		{"good, with a character set", "", "Application/JSON; charset=utf-8", `{"id":"a-1","lines":[{"sku":"x"}]}`, 0, "", ""},
		{"another JSON", "", "application/merge-patch+json", `{"id":"a-1","lines":[{"sku":"x"}]}`, 0, "", ""},
		{"no JSON type", "", "text/plain", `{"id":"a-1","lines":[{"sku":"x"}]}`, 415, reasonType, ""},
		{"any type", `,"anyContentType":true`, "text/plain", `{"id":"a-1","lines":[{"sku":"x"}]}`, 0, "", ""},
		{"no body", "", "application/json", "", 400, reasonMissing, ""},
		{"no body, optional", `,"bodyOptional":true`, "application/json", "", 0, "", ""},
		{"a field is missing", `,"explain":true`, "application/json", `{"id":"a-1"}`, 422, reasonSchema, "missing property 'lines'"},
		{"no explanation", "", "application/json", `{"id":"a-1"}`, 422, reasonSchema, ""},
		{"a wrong type", `,"explain":true`, "application/json", `{"id":"a-1","lines":[{"sku":7}]}`, 422, reasonSchema, "at '/lines/0/sku': got number, want string"},
		{"a pattern", "", "application/json", `{"id":"A","lines":[{"sku":"x"}]}`, 422, reasonSchema, ""},
		{"an unknown field", "", "application/json", `{"id":"a","lines":[{"sku":"x"}],"admin":true}`, 422, reasonSchema, ""},
		{"too large a number", "", "application/json", `{"id":"a","lines":[{"sku":"x","count":1001}]}`, 422, reasonSchema, ""},
		{"a fraction", "", "application/json", `{"id":"a","lines":[{"sku":"x","count":1.5}]}`, 422, reasonSchema, ""},
		{"no JSON", `,"explain":true`, "application/json", `{"id":`, 400, reasonMalformed, "it ends too early"},
		{"two values", `,"explain":true`, "application/json", `{"id":"a","lines":[{"sku":"x"}]}{}`, 400, reasonMalformed, "behind the value"},
		{"a field twice", `,"explain":true`, "application/json", `{"id":"a","id":"b","lines":[{"sku":"x"}]}`, 400, reasonMalformed, "a field is there twice"},
		{"a huge number", `,"explain":true`, "application/json", `{"id":"a","lines":[{"sku":"x","count":1e999999999}]}`, 400, reasonMalformed, "an exponent beyond 400"},
		{"no UTF-8", `,"explain":true`, "application/json", "{\"id\":\"\xff\"}", 400, reasonMalformed, "it is not UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, config(tc.more))
			got := f.Do(sdktest.Request{Method: "POST", Headers: sdktest.Headers("content-type", tc.kind), Body: tc.body})
			if tc.reason == "" {
				if got.Upstream == nil || got.Upstream.Body != tc.body || f.Metric("validate.valid") != 1 {
					t.Fatalf("upstream %+v, %d %s", got.Upstream, got.Response.Status(), got.Response.Body)
				}
				return
			}
			if got.Upstream != nil || got.Response.Status() != tc.status || got.Details != "validate_"+string(tc.reason) {
				t.Fatalf("upstream %+v, %d %s", got.Upstream, got.Response.Status(), got.Details)
			}
			if !strings.Contains(got.Response.Body, tc.says) || tc.says == "" && got.Response.Body != "the body is not what is expected\n" {
				t.Errorf("it says %q, want %q", got.Response.Body, tc.says)
			}
			if n := f.Metric(sdk.MetricName("validate.invalid", sdk.Tag{Name: "reason", Value: string(tc.reason)})); n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

func TestOtherWaysIn(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, config(`,"maxBodyBytes":64`))
	kind := sdktest.Headers("content-type", "application/json")
	if got := f.Do(sdktest.Request{Method: "POST", Headers: append(sdktest.Headers("content-encoding", "gzip"), kind...), Body: "x"}); got.Response.Status() != 415 {
		t.Errorf("compressed: %d", got.Response.Status())
	}
	if got := f.Do(sdktest.Request{Method: "POST", Headers: kind, Chunks: []string{strings.Repeat(" ", 60), `{"id":"a"}`}}); got.Upstream != nil || got.Response.Status() != 413 {
		t.Errorf("long: %d", got.Response.Status())
	}
	if got := f.Do(sdktest.Request{Method: "POST", Headers: kind, Trailers: sdktest.Headers("x-t", "1")}); got.Upstream != nil || got.Details != "validate_missing" {
		t.Errorf("trailers in place of a body: %s", got.Details)
	}
	if got := f.Do(sdktest.Request{Method: "POST", Headers: kind, Chunks: []string{`{"id":"a","lines":`, `[{"sku":"x"}]}`}, Trailers: sdktest.Headers("x-t", "1")}); got.Upstream == nil {
		t.Errorf("in chunks: %s", got.Details)
	}
}

// What is reported never holds values.
func TestReportOnly(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, config(`,"reportOnly":true,"maxBodyBytes":64`))
	got := f.Do(sdktest.Request{Method: "POST", Headers: sdktest.Headers("content-type", "application/json"), Body: `{"id":"SECRET","lines":[{"sku":7}]}`})
	if got.Upstream == nil || !got.Logged("/id (pattern)") || !got.Logged("/lines/0/sku (type)") || got.Logged("SECRET") {
		t.Errorf("logs %q", got.Logs)
	}
	if n := f.Metric("validate.invalid.reason.schema"); n != 1 {
		t.Errorf("counted %d", n)
	}
	for _, r := range []sdktest.Request{{}, {Method: "POST", Body: "x"}, {Method: "POST", Headers: sdktest.Headers("content-type", "application/json"), Body: strings.Repeat("x", 65)}} {
		if got := f.Do(r); got.Upstream == nil || got.Upstream.Body != r.Body {
			t.Errorf("%+v does not pass: %s", r, got.Details)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"rules":[{"match":{"methods":["PUT"]},"config":{"schema":false}},{"match":{"methods":["POST"]},"config":{"schema":{"type":"array"}}}]}`)
	kind := sdktest.Headers("content-type", "application/json")
	for _, tc := range []struct {
		method, body string
		passes       bool
	}{{"GET", "", true}, {"DELETE", "x", true}, {"PUT", "[]", false}, {"POST", "[]", true}, {"POST", "{}", false}} {
		if got := f.Do(sdktest.Request{Method: tc.method, Headers: kind, Body: tc.body}); (got.Upstream != nil) != tc.passes {
			t.Errorf("%s %s: %s", tc.method, tc.body, got.Details)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, config, want string }{
		{"no schema", `{"default":{}}`, "default.schema: required field is missing"},
		{"a list", `{"default":{"schema":[]}}`, "default.schema: "},
		{"no JSON Schema", `{"default":{"schema":{"type":"text"}}}`, "default.schema: it is no JSON Schema"},
		{"another schema", `{"default":{"schema":{"$ref":"https://example.com/a.json"}}}`, "a schema may refer to itself only, not to https://example.com/a.json"},
		{"a file", `{"default":{"schema":{"$ref":"file:///etc/passwd"}}}`, "a schema may refer to itself only"},
		{"a part that is not there", `{"default":{"schema":{"$ref":"#/$defs/x"}}}`, "default.schema: it is no JSON Schema"},
		{"a bad pattern", `{"rules":[{"match":{},"config":{"schema":{"pattern":"("}}}]}`, "rules[0].config.schema: it is no JSON Schema"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, configure, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// FuzzDecode wants what is taken to be JSON, and of bounded depth and numbers.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, `{"a":1,"a":2}`, `1e401`, `[[[[`, `"x" 1`, `-0.5E-10`, `{"":{}}`} {
		f.Add(s)
	}
	p, err := compilePolicy("", &Policy{Schema: json.RawMessage(`{"type":["object","array","number"],"multipleOf":0.5,"uniqueItems":true}`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		value, err := decode([]byte(s))
		if err != nil {
			return
		}
		if !json.Valid([]byte(s)) {
			t.Errorf("%q is taken", s)
		}
		if err := p.schema.Validate(value); err != nil {
			_, _ = explain(err), places(err)
		}
	})
}
