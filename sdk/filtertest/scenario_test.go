package filtertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

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
		{"a wanted status that is none", head + "  want: {response: {status: -1}}\n", "want.response.status: -1"},
		{"fewer requests than none", "clusters: {a: {}}\n" + head + "  want: {clusters: {a: {times: -1}}}\n", "want.clusters: a: times: -1"},
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

// FuzzParse reads whatever may stand in a scenario file. What is taken can be played: its names are its own, its times and counts are bounded, its configuration is JSON
// or a text; an error names the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte("config: {a: 1}\nscenarios:\n- name: s\n  request: {headers: {a: [b]}}\n  want: {upstream: none}\n"))
	f.Add([]byte("config: &a [*a]\nconfigError: x\n"))
	f.Add([]byte("clusters: {a: {status: 200}}\nscenarios:\n- name: s\n  repeat: 10000\n  after: 1s\n  want: {clusters: {a: {times: -1}}, response: {status: -1}}\n"))
	f.Add([]byte("scenarios:\n- name: s\n  connection: [{client: hello}, {wait: 1ms}, {ends: client}]\n  want: {client: {closed: end}}\n"))
	written, err := filepath.Glob("../../filters/*/scenarios/*.yaml")
	if err != nil || len(written) == 0 {
		f.Fatal(written, err)
	}
	for _, path := range written {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 4<<10 { // larger ones make it slow, and say nothing else
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("a.yaml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "a.yaml") || len(file.Scenarios) > 0 {
				t.Errorf("%q: %v, %+v", data, err, file)
			}
			return
		}
		if (file.ConfigError == "") == (len(file.Scenarios) == 0) || len(file.Config) > 2*MaxFileSize {
			t.Errorf("%q is taken for %+v", data, file)
		}
		var root struct{ Config yaml.Node }
		if err := yaml.Unmarshal(data, &root); err == nil && root.Config.Kind != yaml.ScalarNode && !root.Config.IsZero() && !json.Valid(file.Config) {
			t.Errorf("%q has the configuration %q", data, file.Config)
		}
		names := map[string]bool{}
		for _, s := range file.Scenarios {
			if s.Name == "" || names[s.Name] || s.Repeat < 1 || s.Repeat > MaxRepeat || (s.Connection != nil) != file.TCP() {
				t.Errorf("%q has the scenario %+v", data, s)
			}
			names[s.Name] = true
			for _, d := range []time.Duration{s.After, s.Request.Leave, s.Upstream.Delay} {
				if d < 0 || d > MaxDelay {
					t.Errorf("%q waits for %s", data, d)
				}
			}
			if s.Connection == nil && (s.Request.check() != nil || s.Upstream.check() != nil) {
				t.Errorf("%q sends %+v, and answers %+v", data, s.Request, s.Upstream)
			}
			for name, w := range s.Want.Clusters {
				if w.Times < 0 {
					t.Errorf("%q wants %d requests at %q", data, w.Times, name)
				}
			}
			if w := s.Want.Response; w != nil && w.Status != 0 && (w.Status < 100 || w.Status > 599) {
				t.Errorf("%q wants the status %d", data, w.Status)
			}
		}
	})
}
