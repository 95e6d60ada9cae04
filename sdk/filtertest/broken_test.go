package filtertest

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// newest is the newest Envoy of a profile, and the profile.
func newest(t *testing.T) (envoy.Binary, wasmhost.Profile) {
	t.Helper()
	all := binaries(t)
	names := slices.Sorted(maps.Keys(all))
	name := names[len(names)-1]
	p, err := wasmhost.ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return all[name], p
}

// built holds the modules of testdata's filters, each built once for all tests.
var built sync.Map // filter → func() ([]byte, error)

// testFilter builds a filter of wasmhost's testdata.
func testFilter(t *testing.T, filter string) []byte {
	t.Helper()
	dir, err := filepath.Abs("../wasmhost/testdata/" + filter)
	if err != nil {
		t.Fatal(err)
	}
	build, _ := built.LoadOrStore(filter, sync.OnceValues(func() ([]byte, error) { return compile(context.Background(), dir) }))
	module, err := build.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// wasmOnly runs files in wazero.
func wasmOnly(t *testing.T, filter string, files []File) Report {
	t.Helper()
	host := newHost(t)
	_, profile := newest(t)
	report, err := RunWasm(t.Context(), host, testFilter(t, filter), files, profile, Options{Name: filter})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// bothBackends runs files in wazero and in the newest Envoy.
func bothBackends(t *testing.T, filter string, files []File) (wasm, real Report) {
	t.Helper()
	binary, _ := newest(t)
	real, err := RunEnvoy(t.Context(), binary, testFilter(t, filter), files, Options{Name: filter})
	if err != nil {
		t.Fatal(err)
	}
	return wasmOnly(t, filter, files), real
}

func parse(t *testing.T, text string) []File {
	t.Helper()
	f, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return []File{f}
}

// TestBroken breaks a filter on purpose: its scenarios must fail in both backends, and a comparison of the sound filter with the
// broken one must name what differs.
func TestBroken(t *testing.T) {
	t.Parallel()
	const scenarios = `
scenarios:
- name: denied
  request: {headers: {x-do: deny}}
  want: {upstream: none, response: {status: 403, headers: {x-why: denied}, body: "no"}, metrics: {gofilter.requests: 1}}
- name: passes
  want: {response: {status: 200, body: ok}}
`
	sound := parse(t, "config: {broken: false}"+scenarios)
	broken := parse(t, "config: {broken: true}"+scenarios)
	brokenWasm, brokenEnvoy := bothBackends(t, "gofilter", broken)
	wasm := wasmOnly(t, "gofilter", sound)
	if !wasm.OK() {
		t.Fatalf("the sound filter fails: %+v", wasm)
	}
	for _, r := range []Report{brokenWasm, brokenEnvoy} {
		if r.OK() || r.Failed() != 1 || r.Scenarios[0].Pass || !r.Scenarios[1].Pass {
			t.Errorf("%s: the broken filter: %+v", r.Backend, r)
			continue
		}
		var what []string
		for _, d := range r.Scenarios[0].Differences {
			what = append(what, d.What)
		}
		if want := []string{"upstream", "response.status", "response.headers.x-why", "response.body"}; !slices.Equal(what, want) {
			t.Errorf("%s: differences %q, want %q", r.Backend, what, want)
		}
	}
	if ms := Compare(brokenWasm, brokenEnvoy); len(ms) != 0 {
		t.Errorf("the backends disagree on the broken filter: %v", ms)
	}
	ms := Compare(wasm, brokenEnvoy)
	if len(ms) != 1 || ms[0].Name != "denied" {
		t.Fatalf("comparing the sound with the broken filter gives %v", ms)
	}
	for _, part := range []string{"upstream: none against there", "response.status: 403 against 200", `response.headers.x-why: ["denied"] against absent`} {
		if !strings.Contains(ms[0].String(), part) {
			t.Errorf("%q is not in %s", part, ms[0])
		}
	}
	if _, err := json.Marshal(brokenEnvoy); err != nil {
		t.Errorf("the report does not marshal: %v", err)
	}
}

// TestWantsThatFail has a scenario whose every wish is wrong: each must be named, in both backends.
func TestWantsThatFail(t *testing.T) {
	t.Parallel()
	wasm, real := bothBackends(t, "gofilter", parse(t, `
config: {greeting: hi}
scenarios:
- name: all wrong
  request: {headers: {x-do: headers}}
  repeat: 2
  want:
    upstream: {method: PUT, path: /x, authority: other, headers: {x-added: "1"}, absent: [x-added], body: b}
    response: {status: 201, headers: {x-greeting: bye}, absent: [x-greeting], body: b, bodyContains: c}
    metrics: {gofilter.requests: 3, gofilter.nothing: 1}
    logs: ["never said"]
- name: pauses for ever
  request: {headers: {x-do: pause}}
  want: {response: {status: 200}}
- name: crashes
  request: {headers: {x-do: panic}}
  want: {response: {status: 503}}
- name: serves again
  want: {response: {status: 200}}
`))
	each := []string{"upstream.method", "upstream.path", "upstream.authority", "upstream.headers.x-added", "upstream.headers.x-added", "upstream.body",
		"response.status", "response.headers.x-greeting", "response.headers.x-greeting", "response.body", "response.bodyContains"}
	var want []string
	for _, at := range []string{" (request 1 of 2)", " (request 2 of 2)"} {
		for _, w := range each {
			want = append(want, w+at)
		}
	}
	want = append(want, "metrics.gofilter.nothing", "metrics.gofilter.requests", "logs")
	for _, r := range []Report{wasm, real} {
		var got []string
		for _, d := range r.Scenarios[0].Differences {
			got = append(got, d.What)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", r.Backend, got, want)
		}
		if s := r.Scenarios[1]; s.Pass || s.Differences[0].What != "response" {
			t.Errorf("%s: %+v", r.Backend, s)
		}
		if s := r.Scenarios[2]; s.Pass || s.Differences[0].What != "filter" || !strings.Contains(s.Observed.Error, "proxy_on_request_headers failed") {
			t.Errorf("%s: %+v", r.Backend, s)
		}
		if s := r.Scenarios[3]; !s.Pass {
			t.Errorf("%s: %+v", r.Backend, s)
		}
	}
	if ms := Compare(wasm, real); len(ms) != 0 {
		t.Errorf("the backends disagree: %v", ms)
	}
}

// TestConfigErrors has configurations that must be refused: one is, with another reason, and one is not.
func TestConfigErrors(t *testing.T) {
	t.Parallel()
	var files []File
	for name, text := range map[string]string{
		"accepted.yaml":       "config: {}\nconfigError: x\n",
		"other-reason.yaml":   "config: \"{\"\nconfigError: no such words\n",
		"refused.yaml":        "config: \"{\"\nconfigError: unexpected end of JSON input\n",
		"not-configured.yaml": "config: \"{\"\nscenarios:\n- name: never runs\n",
	} {
		f, err := Parse(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	wasm, real := bothBackends(t, "gofilter", files)
	want := map[string]string{"accepted.yaml": "config", "other-reason.yaml": "configError", "refused.yaml": "", "not-configured.yaml": "config"}
	for _, r := range []Report{wasm, real} {
		for _, s := range r.Scenarios {
			got := ""
			if len(s.Differences) > 0 {
				got = s.Differences[0].What
			}
			if got != want[s.File] || s.Pass != (got == "") {
				t.Errorf("%s: %s: %+v", r.Backend, s.File, s.Differences)
			}
		}
	}
	if ms := Compare(wasm, real); len(ms) != 0 {
		t.Errorf("the backends disagree: %v", ms)
	}
}

// TestBodyLimit pauses bodies that are larger than Envoy buffers.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", wasmhost.MaxBodyBytes+1)
	files := parse(t, `
scenarios:
- name: request
  request: {method: POST, headers: {x-do: body}}
  want: {upstream: none, response: {status: 413}}
- name: response
  request: {headers: {x-do: response-body}}
- name: passes
  request: {method: POST}
  want: {response: {status: 200}}
`)
	files[0].Scenarios[0].Request.Body = big
	files[0].Scenarios[1].Upstream.Body = big
	files[0].Scenarios[2].Request.Body = big
	wasm, real := bothBackends(t, "gofilter", files)
	for _, r := range []Report{wasm, real} {
		for _, s := range r.Scenarios {
			if !s.Pass {
				t.Errorf("%s: %s: %.500s", r.Backend, s.Name, s.Differences)
			}
		}
	}
	for _, m := range Compare(wasm, real) {
		for _, d := range m.Differences {
			if d.What != "metrics.gofilter.sizes" { // Envoy reads a body in pieces
				t.Errorf("%s: %.300s", m.Name, d)
			}
		}
	}
}
