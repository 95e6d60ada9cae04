package filtertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// A pinned trace holds until the filter calls the host otherwise; --update writes it anew; what is not pinned is not looked at.
func TestTraces(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	module, profile := benchFilter(t), wasmhost.Profiles()[0]
	path := filepath.Join(t.TempDir(), "a.yaml")
	f, err := Parse(path, []byte(`scenarios: [{name: any, request: {headers: {x-do: headers}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	check := func(update bool) []Difference {
		t.Helper()
		ds, err := CheckTraces(t.Context(), host, module, []File{f}, profile, Options{}, update)
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	if ds := check(false); ds != nil {
		t.Errorf("nothing is pinned, and %v differ", ds)
	}
	if err := os.WriteFile(path+TraceSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if ds := check(false); len(ds) != 1 || !strings.Contains(ds[0].What, ":1") {
		t.Errorf("an empty trace gave %v", ds)
	}
	if ds := check(true); ds != nil {
		t.Errorf("updating gave %v", ds)
	}
	if ds := check(false); ds != nil {
		t.Errorf("after the update %v differ", ds)
	}
	text, err := os.ReadFile(path + TraceSuffix)
	if err != nil {
		t.Fatal(err)
	}
	const call = `proxy_add_header_map_value(request headers, "x-added-1", "1") = OK`
	if !strings.Contains(string(text), call) {
		t.Fatalf("the trace has no %q:\n%s", call, text)
	}
	changed := strings.Replace(string(text), `"x-added-1"`, `"x-added-7"`, 1)
	if err := os.WriteFile(path+TraceSuffix, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if ds := check(false); len(ds) != 1 || !strings.Contains(ds[0].Want, "x-added-7") || !strings.Contains(ds[0].Got, "x-added-1") {
		t.Errorf("another header gave %v", ds)
	}
}

// Two traces of a filter that keeps times and random numbers in shared data are the same.
func TestTracesRepeat(t *testing.T) {
	t.Parallel()
	dir, files, module := loadFilter(t, "../../filters/ratelimit")
	host, profile := newHost(t), wasmhost.Profiles()[0]
	for _, f := range files {
		var traces [2][]byte
		for i := range traces {
			var err error
			if traces[i], err = Trace(t.Context(), host, module, f, profile, Options{Name: filepath.Base(dir)}); err != nil {
				t.Fatal(err)
			}
		}
		if line, was, is, same := firstDifference(string(traces[0]), string(traces[1])); !same {
			t.Errorf("%s: line %d was %s, then %s", f.Path, line, was, is)
		}
	}
}
