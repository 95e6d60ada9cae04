package sdk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// limits are a configuration that depends on the request.
type limits struct {
	sdk.Rules[limit]
}

type limit struct {
	Name string `json:"name" minLength:"1"`
}

// chooser tells the upstream which rule it chose.
type chooser struct{ rules *sdk.Selector[string] }

func configureChooser(_ *sdk.Plugin, c *limits) (sdk.Filter, error) {
	rules, err := sdk.CompileRules("", &c.Rules, func(at string, l *limit) (string, error) {
		if l.Name == "bad" {
			return "", sdk.ConfigErrorf(at+".name", "it is bad")
		}
		return l.Name, nil
	})
	return &chooser{rules}, err
}

func (c *chooser) NewHandler() sdk.Handler { return c }

func (c *chooser) OnRequestHeaders(r *sdk.Request) sdk.Action {
	name, ok := c.rules.For(r)
	if !ok {
		name = "none"
	}
	if err := r.Headers().Set("x-rule", name); err != nil {
		return r.Reply(sdk.Reply{})
	}
	return sdk.Continue
}

func TestRules(t *testing.T) {
	t.Parallel()
	rule := func(match string) string {
		return `{"default":{"name":"default"},"rules":[{"match":` + match + `,"config":{"name":"rule"}}]}`
	}
	for _, tc := range []struct {
		name, config string
		request      sdktest.Request
		want         string
	}{
		{"no configuration", ``, sdktest.Request{}, "none"},
		{"the default", `{"default":{"name":"default"}}`, sdktest.Request{}, "default"},
		{"no rule and no default", `{"rules":[{"match":{"methods":["PUT"]},"config":{"name":"rule"}}]}`, sdktest.Request{}, "none"},
		{"the first rule counts", `{"rules":[{"match":{"methods":["GET"]},"config":{"name":"first"}},{"match":{},"config":{"name":"second"}}]}`, sdktest.Request{}, "first"},
		{"a rule for everything", rule(`{}`), sdktest.Request{}, "rule"},
		{"method", rule(`{"methods":["PUT","POST"]}`), sdktest.Request{Method: "POST"}, "rule"},
		{"another method", rule(`{"methods":["PUT","POST"]}`), sdktest.Request{Method: "post"}, "default"},
		{"route", rule(`{"route":"checkout"}`), sdktest.Request{Properties: map[string]any{"xds.route_name": "checkout"}}, "rule"},
		{"another route", rule(`{"route":"checkout"}`), sdktest.Request{Properties: map[string]any{"xds.route_name": "checkout2"}}, "default"},
		{"no route", rule(`{"route":"checkout"}`), sdktest.Request{}, "default"},
		{"host", rule(`{"hosts":["a.example","Shop.Example"]}`), sdktest.Request{Authority: "shop.EXAMPLE.:8443"}, "rule"},
		{"another host", rule(`{"hosts":["shop.example"]}`), sdktest.Request{Authority: "shop.example.evil.example"}, "default"},
		{"a host below", rule(`{"hosts":["*.shop.example"]}`), sdktest.Request{Authority: "a.b.shop.example"}, "rule"},
		{"the host itself is not below", rule(`{"hosts":["*.shop.example"]}`), sdktest.Request{Authority: "shop.example"}, "default"},
		{"a host that ends alike is not below", rule(`{"hosts":["*.shop.example"]}`), sdktest.Request{Authority: "myshop.example"}, "default"},
		{"a later host", rule(`{"hosts":["*.a.example","b.example"]}`), sdktest.Request{Authority: "b.example"}, "rule"},
		{"path", rule(`{"path":{"exact":"/a"}}`), sdktest.Request{Path: "/a?x=/b"}, "rule"},
		{"path with a slash behind", rule(`{"path":{"exact":"/a/"}}`), sdktest.Request{Path: "/a"}, "rule"},
		{"a longer path", rule(`{"path":{"exact":"/a"}}`), sdktest.Request{Path: "/a/b"}, "default"},
		{"path below", rule(`{"path":{"prefix":"/a"}}`), sdktest.Request{Path: "/a/b"}, "rule"},
		{"path below the root", rule(`{"path":{"prefix":"/"}}`), sdktest.Request{Path: "/a/b"}, "rule"},
		{"half a segment", rule(`{"path":{"prefix":"/adm"}}`), sdktest.Request{Path: "/admin"}, "default"},
		{"path in disguise", rule(`{"path":{"prefix":"/admin"}}`), sdktest.Request{Path: "/x/..//%61dmin;v=1/users"}, "rule"},
		{"a header is there", rule(`{"headers":[{"name":"X-A"}]}`), sdktest.Request{Headers: sdktest.Headers("x-a", "")}, "rule"},
		{"a header is not there", rule(`{"headers":[{"name":"x-a"}]}`), sdktest.Request{}, "default"},
		{"absent", rule(`{"headers":[{"name":"x-a","absent":true}]}`), sdktest.Request{}, "rule"},
		{"not absent", rule(`{"headers":[{"name":"x-a","absent":true}]}`), sdktest.Request{Headers: sdktest.Headers("x-a", "1")}, "default"},
		{"one value of several", rule(`{"headers":[{"name":"x-a","exact":"2"}]}`), sdktest.Request{Headers: sdktest.Headers("x-a", "1", "x-a", "2")}, "rule"},
		{"an empty value", rule(`{"headers":[{"name":"x-a","exact":""}]}`), sdktest.Request{Headers: sdktest.Headers("x-a", "1")}, "default"},
		{"how a value begins", rule(`{"headers":[{"name":"x-a","prefix":"v"}]}`), sdktest.Request{Headers: sdktest.Headers("x-a", "v1")}, "rule"},
		{"all must hold", rule(`{"methods":["GET"],"path":{"prefix":"/b"}}`), sdktest.Request{Path: "/a"}, "default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.New(t, configureChooser, tc.config).Do(tc.request)
			if rule := got.Upstream.Get("x-rule"); rule != tc.want {
				t.Errorf("the rule is %s, want %s", rule, tc.want)
			}
		})
	}
}

func TestRulesErrors(t *testing.T) {
	t.Parallel()
	rule := func(match string) string { return `{"rules":[{"match":` + match + `,"config":{"name":"n"}}]}` }
	for _, tc := range []struct{ name, config, want string }{
		{"its config", `{"rules":[{"match":{},"config":{"name":"bad"}}]}`, "rules[0].config.name: it is bad"},
		{"the default's config", `{"default":{"name":"bad"}}`, "default.name: it is bad"},
		{"a tag of its config", `{"default":{"name":""}}`, "default.name: it is empty"},
		{"a rule that never counts", `{"rules":[{"match":{},"config":{"name":"a"}},{"match":{"route":"r"},"config":{"name":"b"}}]}`, "rules[1]: it never counts"},
		{"host with a port", rule(`{"hosts":["shop.example:80"]}`), `rules[0].match.hosts[0]: "shop.example:80" is no host`},
		{"host with a scheme", rule(`{"hosts":["https://shop.example"]}`), "is no host"},
		{"a star within", rule(`{"hosts":["a.*.example"]}`), "is no host"},
		{"every host", rule(`{"hosts":["*."]}`), "is no host"},
		{"no hosts", rule(`{"hosts":[]}`), "rules[0].match.hosts: it is empty"},
		{"method in lower case", rule(`{"methods":["get"]}`), "rules[0].match.methods[0]: \"get\": methods are in upper case"},
		{"two paths", rule(`{"path":{"exact":"/a","prefix":"/b"}}`), "rules[0].match.path: want exact or prefix"},
		{"a path without a slash", rule(`{"path":{"exact":"a"}}`), "does not begin with a slash"},
		{"a path that is never compared", rule(`{"path":{"prefix":"/a//b"}}`), `no path is ever compared as "/a//b"; write "/a/b"`},
		{"two ways for a header", rule(`{"headers":[{"name":"x-a","exact":"1","absent":true}]}`), "rules[0].match.headers[0]: want at most one"},
		{"no header name", rule(`{"headers":[{"name":"x a"}]}`), "rules[0].match.headers[0].name: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, configureChooser, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestDecodeConfigTagFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		into any
		want string
	}{
		{"bad tag", &struct {
			A int `json:"a" min:"x"`
		}{}, "a: the filter's config type is wrong: the tags min and max want a decimal number"},
		{"pattern without a matcher", &struct {
			A string `json:"a" pattern:"x"`
		}{}, "a: the filter's config type has a pattern and no method MatchPattern"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			raw := `{"a":1}`
			if strings.Contains(tc.name, "pattern") {
				raw = `{"a":"1"}`
			}
			err := sdk.DecodeConfig([]byte(raw), tc.into)
			var fault *sdk.ConfigError
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
