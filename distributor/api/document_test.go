package api

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waft-project/waft/distributor/model"
)

const releaseYAML = `apiVersion: waft.dev/v1
kind: Release
metadata: {name: edge-auth}
spec:
  filters:
  - name: authz
    module: localhost:7071/filters/authz:1.2.0
    phase: AUTHN
    priority: 10
    failurePolicy: FAIL_RELOAD
    config: {issuer: https://issuer.example, rules: [{path: /admin, roles: [admin]}], since: 2026-01-01, big: "9007199254740993"}
  - name: text
    config: plain
`

const rolloutYAML = `
apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: edge-auth-1-2}
spec:
  release: edge-auth@sha256:00
  target: {selector: "env=prod"}
  waves:
  - {nodes: 1, soak: 30s}
  - {percent: 25, soak: 2m, gates: [{errorRatio: {max: 0.01}}]}
  - {percent: 100}
status: {phase: Done}
`

func TestDecodeDocument(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"release": {releaseYAML, `{"apiVersion":"waft.dev/v1","kind":"Release","metadata":{"name":"edge-auth"},"spec":{"filters":[` +
			`{"name":"authz","module":"localhost:7071/filters/authz:1.2.0","phase":"AUTHN","priority":10,"failurePolicy":"FAIL_RELOAD",` +
			`"config":{"big":"9007199254740993","issuer":"https://issuer.example","rules":[{"path":"/admin","roles":["admin"]}],"since":"2026-01-01"}},` +
			`{"name":"text","config":"plain"}]}}`},
		"rollout, without its status": {rolloutYAML, `{"apiVersion":"waft.dev/v1","kind":"Rollout","metadata":{"name":"edge-auth-1-2"},"spec":{` +
			`"release":"edge-auth@sha256:00","target":{"selector":"env=prod"},"waves":[{"nodes":1,"soak":"30s"},` +
			`{"percent":25,"soak":"2m","gates":[{"errorRatio":{"max":0.01}}]},{"percent":100}]}}`},
		"JSON": {`{"apiVersion":"waft.dev/v1","kind":"Release","metadata":{"name":"a"}}`,
			`{"apiVersion":"waft.dev/v1","kind":"Release","metadata":{"name":"a"}}`},
		"JSON with surrogates": {`{"apiVersion":"waft.dev/v1","kind":"Release","metadata":{"name":"\ud83d\ude00 \\\ud83d\ude00 \\\\ud83d \u00e9"}}`,
			`{"apiVersion":"waft.dev/v1","kind":"Release","metadata":{"name":"😀 \\😀 \\\\ud83d é"}}`},
		"an alias": {"apiVersion: waft.dev/v1\nkind: Release\nspec: {filters: [{name: a, config: &c {x: 1}}, {name: b, config: *c}]}",
			`{"apiVersion":"waft.dev/v1","kind":"Release","spec":{"filters":[{"name":"a","config":{"x":1}},{"name":"b","config":{"x":1}}]}}`},
		"null is left out, but a null configuration is one": {"apiVersion: waft.dev/v1\nkind: Release\nspec: {filters: [{name: a, priority: null, config: null}]}",
			`{"apiVersion":"waft.dev/v1","kind":"Release","spec":{"filters":[{"name":"a","config":null}]}}`},
		"exactly 2^53": {"apiVersion: waft.dev/v1\nkind: Release\nspec: {filters: [{config: [9007199254740992, -9007199254740992, 0x10]}]}",
			`{"apiVersion":"waft.dev/v1","kind":"Release","spec":{"filters":[{"config":[9007199254740992,-9007199254740992,16]}]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := DecodeDocument([]byte(tc.yaml))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := protojson.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if got := compactJSON(t, raw); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestDecodeDocumentRefuses(t *testing.T) {
	head := "apiVersion: waft.dev/v1\nkind: Release\n"
	for name, tc := range map[string]struct{ yaml, field, want string }{
		"nothing":           {"", "", "empty"},
		"a list":            {"[]", "", "not a mapping"},
		"broken":            {"a: [", "", "not YAML"},
		"two documents":     {releaseYAML + "---\n" + releaseYAML, "", "more than one document"},
		"no version":        {"kind: Release", "apiVersion", "is missing; want waft.dev/v1"},
		"another version":   {"apiVersion: waft.dev/v9\nkind: Release", "apiVersion", `"waft.dev/v9"`},
		"another kind":      {"apiVersion: waft.dev/v1\nkind: Pod", "kind", "Release, Rollout, Resource or Collection"},
		"unknown field":     {head + "spec:\n  filters:\n  - name: a\n    modul: x", "spec.filters[0].modul", "line 6: no such field"},
		"snake case":        {head + "spec: {filters: [{failure_policy: FAIL_OPEN}]}", "spec.filters[0].failure_policy", "write failurePolicy"},
		"twice":             {head + "metadata:\n  name: a\n  name: b", "metadata.name", "line 5: is there already on line 4"},
		"number as name":    {head + "metadata: {name: 12}", "metadata.name", "want a string, not the number 12; put it in quotes"},
		"wrong enum":        {head + "spec: {filters: [{phase: AUTH}]}", "spec.filters[0].phase", "write one of AUTHN, AUTHZ, STATS"},
		"zero enum":         {head + "spec: {filters: [{phase: PHASE_UNSPECIFIED}]}", "spec.filters[0].phase", "is no Phase"},
		"fraction as int":   {head + "spec: {filters: [{priority: 1.5}]}", "spec.filters[0].priority", "whole number"},
		"large int":         {head + "spec: {filters: [{priority: 3000000000}]}", "spec.filters[0].priority", "32 bits"},
		"list wanted":       {head + "spec: {filters: {name: a}}", "spec.filters", "want a list, not a mapping"},
		"items forgotten":   {head + "spec:\n  filters:\n", "spec.filters", "want a list, not nothing; write its items, or [] for none"},
		"mapping wanted":    {head + "spec: [1]", "spec", "want a mapping with filters, overrides, resources, resourceOverrides, collections, disable, not a list"},
		"beyond 2^53":       {head + "spec:\n  filters:\n  - config:\n      limits: [1, 9007199254740993]", "spec.filters[0].config.limits[1]", "line 6: the number 9007199254740993 is beyond 2^53, where JSON readers round; put it in quotes"},
		"beyond int64":      {head + "spec: {filters: [{config: 99999999999999999999}]}", "spec.filters[0].config", "beyond 2^53"},
		"infinity":          {head + "spec: {filters: [{config: .inf}]}", "spec.filters[0].config", "does not exist in JSON"},
		"number as key":     {head + "spec: {filters: [{config: {1: x}}]}", "spec.filters[0].config", "is not a string"},
		"merge key":         {head + "spec: {filters: [{config: {a: &a {x: 1}, b: {<<: *a}}}]}", "spec.filters[0].config.b", "merge keys"},
		"binary":            {head + "spec: {filters: [{config: !!binary aGk=}]}", "spec.filters[0].config", "!!binary"},
		"duration":          {"apiVersion: waft.dev/v1\nkind: Rollout\nspec:\n  waves:\n  - {nodes: 1, soak: 30}", "spec.waves[0].soak", "put it in quotes"},
		"duration in words": {"apiVersion: waft.dev/v1\nkind: Rollout\nspec:\n  waves:\n  - {nodes: 1, soak: long}", "spec.waves[0].soak", "such as 30s or 2m"},
		"negative duration": {"apiVersion: waft.dev/v1\nkind: Rollout\nspec:\n  waves:\n  - {nodes: 1, soak: -1s}", "spec.waves[0].soak", "such as 30s or 2m"},
		"alias in itself":   {head + "spec: {filters: [{config: &a [*a]}]}", "", "contains itself"},
		"too deep":          {head + "spec: {filters: [{config: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}]}", "", "deeper"},
		"too large":         {strings.Repeat("#", MaxDocumentBytes+1), "", "the limit is"},
		"billion laughs": {head + "spec: {filters: [{config: {a: &a [x,x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]," +
			" d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]}}]}", "", "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := DecodeDocument([]byte(tc.yaml))
			if err == nil {
				t.Fatalf("read it as %v", m)
			}
			var e *model.Error
			if !errors.As(err, &e) || !errors.Is(err, model.ErrInvalid) {
				t.Fatalf("%T is no *model.Error of kind invalid", err)
			}
			if tc.field != "" && e.Field != tc.field {
				t.Errorf("field %q, want %q", e.Field, tc.field)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q does not say %q", err, tc.want)
			}
		})
	}
}

func FuzzDecodeDocument(f *testing.F) {
	f.Add([]byte(releaseYAML))
	f.Add([]byte(rolloutYAML))
	f.Fuzz(func(t *testing.T, document []byte) {
		m, err := DecodeDocument(document)
		if err != nil {
			if !errors.Is(err, model.ErrInvalid) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		// What was read can be written and read again as the same.
		raw, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeDocument(raw); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	})
}
