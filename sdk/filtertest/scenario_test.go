package filtertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

func TestParse(t *testing.T) {
	f, err := Parse("a.yaml", []byte(`
description: d
config: {b: [1, 2.5, "x", null, true], a: {z: 1, y: "1"}}
upstream: {status: 404, headers: {X-A: [1, two]}, body: gone}
clusters: {auth: {body: ann}}
scenarios:
- name: first
  request: {method: POST, path: "/p?q=1", authority: h, headers: {x-one: 1, X-Multi: [a, b]}, body: "hi"}
  repeat: 3
  want:
    upstream: none
    response: {status: 403, headers: {a: b}, absent: [X-Y], body: "", bodyContains: c}
    metrics: {m: -1}
    logs: [l]
- name: second
  upstream: {}
  want: {upstream: {method: GET, path: /x, headers: {a: [b, c]}, absent: [D], body: e}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.Config); got != `{"b":[1,2.5,"x",null,true],"a":{"z":1,"y":"1"}}` {
		t.Errorf("config %s", got)
	}
	if f.Upstream.Status != 404 || f.Upstream.Body != "gone" || !slices.Equal(f.Upstream.Headers, wasmhost.NewHeaders("x-a", "1", "x-a", "two")) {
		t.Errorf("upstream %+v", f.Upstream)
	}
	if len(f.Clusters) != 1 || f.Clusters[0].Name != "auth" || f.Clusters[0].Reply.Status != 200 || f.Clusters[0].Reply.Body != "ann" {
		t.Errorf("clusters %+v", f.Clusters)
	}
	a, b := f.Scenarios[0], f.Scenarios[1]
	if a.Repeat != 3 || a.Request.Method != "POST" || !slices.Equal(a.Request.Headers, wasmhost.NewHeaders("x-one", "1", "x-multi", "a", "x-multi", "b")) ||
		!a.Want.NoUpstream || *a.Want.Response.Body != "" || a.Want.Response.Absent[0] != "x-y" || a.Want.Metrics["m"] != -1 || a.Upstream.Status != 404 {
		t.Errorf("first %+v", a)
	}
	if b.Repeat != 1 || b.Request.Method != "GET" || b.Request.Path != "/" || b.Request.Authority != "waft.test" || b.Upstream.Status != 200 ||
		b.Upstream.Body != "ok" || b.Want.NoUpstream || !slices.Equal(b.Want.Upstream.Headers["a"], []string{"b", "c"}) || b.Want.Response != nil {
		t.Errorf("second %+v", b)
	}
	for text, want := range map[string]string{`"{raw: text}"`: "{raw: text}", "5": "5", "[]": "[]", "~": "null", "{}": "{}"} {
		f, err := Parse("a.yaml", []byte("config: "+text+"\nconfigError: x\n"))
		if err != nil || string(f.Config) != want {
			t.Errorf("config %s gives %q, %v", text, f.Config, err)
		}
	}
	if f, err := Parse("a.yaml", []byte("configError: x\n")); err != nil || f.Config != nil {
		t.Errorf("no config gives %q, %v", f.Config, err)
	}
}

func TestParseErrors(t *testing.T) {
	const head = "scenarios:\n- name: s\n"
	for _, test := range []struct{ name, yaml, want string }{
		{"empty", "", "a.yaml: empty"},
		{"not YAML", "a: [", "a.yaml:"},
		{"an unknown key", "descripton: x\n", "a.yaml:1: unknown key descripton"},
		{"an unknown key in a scenario", head + "  wnat: {}\n", "a.yaml:3: unknown key wnat"},
		{"an unknown key in want.upstream", head + "  want: {upstream: {pth: /}}\n", "field pth is not known"},
		{"an unknown key in want.response", head + "  want: {response: {stauts: 1}}\n", "a.yaml:3: field stauts is not known"},
		{"an unknown key in a cluster", "clusters: {a: {stat: 1}}\n" + head, "field stat is not known"},
		{"a wrong type", head + "  repeat: often\n", "a.yaml:3: cannot unmarshal"},
		{"no scenarios", "config: {}\n", "neither scenarios nor configError"},
		{"both", "configError: x\n" + head, "configError and scenarios"},
		{"no name", "scenarios:\n- request: {}\n", "name: missing"},
		{"one name twice", head + "- name: s\n", "another scenario of this name"},
		{"repeat 0", head + "  repeat: 0\n", "repeat: 0"},
		{"a header that is not the scenario's", head + "  request: {headers: {Host: x}}\n", "host comes from the other fields"},
		{"a header that cannot be sent", head + "  request: {headers: {a: \"b\\nc\"}}\n", "cannot be sent"},
		{"a header twice", head + "  request: {headers: {a: 1, A: 2}}\n", "header A is there twice"},
		{"headers that are no mapping", head + "  request: {headers: [a]}\n", "want a mapping from names"},
		{"a path with a fragment", head + "  request: {path: /a#b}\n", "path:"},
		{"a path without a slash", head + "  request: {path: a}\n", "path:"},
		{"a status that is none", head + "  upstream: {status: 99}\n", "upstream.status: 99"},
		{"upstream neither none nor a mapping", head + "  want: {upstream: nobody}\n", `"nobody" is not "none"`},
		{"the cluster upstream", "clusters: {upstream: {}}\n" + head, "upstream is there twice"},
		{"two documents", head + "---\n" + head, "more than one YAML document"},
		{"an alias that contains itself", "config: &a [*a]\n" + head, "a.yaml"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("a.yaml", []byte(test.yaml))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "a.yaml") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("config: {a: 1}\nscenarios:\n- name: s\n  request: {headers: {a: [b]}}\n  want: {upstream: none}\n"))
	f.Add([]byte("config: &a [*a]\nconfigError: x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Parse("a.yaml", data); err != nil && !strings.HasPrefix(err.Error(), "a.yaml") {
			t.Errorf("an error without the file: %v", err)
		}
	})
}
