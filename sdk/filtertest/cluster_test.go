package filtertest

import (
	"strings"
	"testing"
)

// TestClusterErrors wants mistakes in clusters named, with what would be right.
func TestClusterErrors(t *testing.T) {
	t.Parallel()
	file := func(clusters, scenario string) string {
		return "clusters: " + clusters + "\nscenarios:\n- name: a\n  " + scenario + "\n"
	}
	for _, test := range []struct{ name, text, want string }{
		{"an unknown fault", file("{a: {fault: maybe}}", "want: {}"), `clusters.a.fault: "maybe" is none of never`},
		{"a long delay", file("{a: {delay: 1h}}", "want: {}"), `"1h" is not a time from 0s to 3s`},
		{"an answer beside gRPC", file("{a: {status: 200, grpc: {}}}", "want: {}"), "stand under grpc"},
		{"a cut gRPC answer", file("{a: {fault: cut, grpc: {}}}", "want: {}"), "not for a gRPC server"},
		{"an unknown cluster in a scenario", file("{a: {}}", "clusters: {b: {}}"), "b is not among the file's, which are a"},
		{"an unknown cluster in want", file("{a: {}}", "want: {clusters: {b: none}}"), "b is not among the file's, which are a"},
		{"another protocol in a scenario", file("{a: {}}", "clusters: {a: {grpc: {}}}"), "cannot change between scenarios"},
		{"a fault of the configuration in a scenario", file("{a: {}}", "clusters: {a: {fault: unreachable}}"), "cannot change between scenarios"},
		{"a fault of a cluster for the upstream", file("{a: {}}", "upstream: {fault: reset}"), "reset is for clusters"},
		{"trailers that cannot be sent", file("{a: {trailers: {host: b}}}", "want: {}"), "trailers.headers: host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("a.yaml", []byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestWantClusters breaks every kind of want of callouts: each must be noticed.
func TestWantClusters(t *testing.T) {
	t.Parallel()
	seen := Observed{Clusters: map[string][]ObservedRequest{
		"a": {{Method: "GET", Path: "/p", Authority: "h", Headers: map[string][]string{"x": {"1"}}, Body: "b", Messages: []string{"m"}}},
	}}
	for _, test := range []struct {
		want string
		ok   bool
	}{
		{"{a: {method: GET, path: /p, authority: h, headers: {x: '1'}, absent: [y], body: b, messages: [m]}}", true},
		{"{a: none}", false},
		{"{a: {times: 2}}", false},
		{"{a: {method: POST}}", false},
		{"{a: {path: /q}}", false},
		{"{a: {headers: {x: '2'}}}", false},
		{"{a: {absent: [x]}}", false},
		{"{a: {body: c}}", false},
		{"{a: {messages: [n]}}", false},
		{"{b: {}}", false},
		{"{b: none}", true},
	} {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			f := parse(t, "clusters: {a: {}, b: {}}\nscenarios:\n- name: a\n  want: {clusters: "+test.want+"}\n")[0]
			if ds := judge(f.Scenarios[0], seen); (len(ds) == 0) != test.ok {
				t.Errorf("differences %v", ds)
			}
		})
	}
}

// TestVaries: a header that varies must be there, and is the same for all who compare.
func TestVaries(t *testing.T) {
	t.Parallel()
	s := parse(t, "scenarios:\n- name: a\n  want: {response: {varies: [X-Time, x-id]}}\n")[0].Scenarios[0]
	o := Observed{Exchanges: []Exchange{{Response: &ObservedResponse{Headers: map[string][]string{"x-time": {"17"}, "x-other": {"1"}}}}}}
	if ds := judge(s, o); len(ds) != 1 || ds[0].What != "response.headers.x-id" {
		t.Errorf("differences %v, want that x-id is absent", ds)
	}
	o.mask(s.Want)
	if got := o.Exchanges[0].Response.Headers; got["x-time"][0] != varying || got["x-other"][0] != "1" || got["x-id"] != nil {
		t.Errorf("masked: %v", got)
	}
}
