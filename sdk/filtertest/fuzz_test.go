package filtertest

import (
	"reflect"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Each property is broken by a filter that is made to, the finding says which, and its seed alone finds it again.
func TestFuzzFinds(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	module, err := compile(t.Context(), "testdata/fragile")
	if err != nil {
		t.Fatal(err)
	}
	profile := wasmhost.Profiles()[len(wasmhost.Profiles())-1]
	for _, test := range []struct {
		breaks string // what the configuration asks for
		want   Property
		says   string
	}{
		{"nothing", "", ""},
		{"trap", NoTrap, "proxy_on_request_body"},
		{"stuck", NoStuckStream, "the filter holds the request: true"},
		{"memory", BoundedMemory, "memory"},
	} {
		t.Run(test.breaks, func(t *testing.T) {
			f, err := Parse("fragile.yaml", []byte(`{config: {breaks: `+test.breaks+`}, clusters: {auth: {body: "yes"}}, scenarios: [{name: any, request: {method: POST, body: abc}}]}`))
			if err != nil {
				t.Fatal(err)
			}
			fuzz := func(seed uint64, runs int) FuzzReport {
				t.Helper()
				report, err := Fuzz(t.Context(), host, module, []File{f}, profile, FuzzOptions{Seed: seed, Runs: runs})
				if err != nil {
					t.Fatal(err)
				}
				return report
			}
			first := fuzz(1, 20)
			if test.want == "" {
				if first.Finding != nil || first.Runs != 20 || first.Streams < 20 {
					t.Errorf("got %+v, %+v", first, first.Finding)
				}
				return
			}
			if first.Finding == nil || first.Finding.Property != test.want || !strings.Contains(first.Finding.Detail, test.says) {
				t.Fatalf("got %+v, want %s that says %q", first.Finding, test.want, test.says)
			}
			again := fuzz(first.Finding.Seed, 1)
			if again.Finding == nil || !reflect.DeepEqual(again.Finding.Steps, first.Finding.Steps) {
				t.Errorf("the seed %d does not find it again: %+v", first.Finding.Seed, again.Finding)
			}
		})
	}
}

// The same of connections.
func TestFuzzFindsInConnections(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	module, err := compile(t.Context(), "../testdata/tcpawait")
	if err != nil {
		t.Fatal(err)
	}
	profile := wasmhost.Profiles()[len(wasmhost.Profiles())-1]
	for _, test := range []struct {
		name, config, says string
		want               Property
		detail             string
	}{
		{"nothing", "{way: fetch}", "line one", "", ""},
		{"a crash", "{}", "die", NoTrap, "proxy_on_downstream_data"},
		{"never let in", "{way: hour}", "one", NoStuckStream, "the filter has not let it in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := Parse("tcp.yaml", []byte(`{config: `+test.config+`, clusters: {gate: {}}, scenarios: [{name: any, connection: [{client: `+test.says+`}, {upstream: two}]}]}`))
			if err != nil {
				t.Fatal(err)
			}
			report, err := Fuzz(t.Context(), host, module, []File{f}, profile, FuzzOptions{Seed: 1, Runs: 20})
			if err != nil {
				t.Fatal(err)
			}
			switch found := report.Finding; {
			case test.want == "":
				if found != nil || report.Runs != 20 || report.Streams < 20*fuzzStreams {
					t.Errorf("got %+v, %+v", report, found)
				}
			case found == nil || found.Property != test.want || !strings.Contains(found.Detail, test.detail):
				t.Errorf("got %+v, want %s that says %q", found, test.want, test.detail)
			default:
				again, err := Fuzz(t.Context(), host, module, []File{f}, profile, FuzzOptions{Seed: found.Seed, Runs: 1})
				if err != nil || again.Finding == nil || !reflect.DeepEqual(again.Finding.Steps, found.Steps) {
					t.Errorf("the seed %d does not find it again: %+v, %v", found.Seed, again.Finding, err)
				}
			}
		})
	}
}
