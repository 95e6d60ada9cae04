package build_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/filtertest"
)

// A filter with timers, sleeps and calls for files does the same on all Envoys that are here. wasmhost's clock stands still while a
// guest sleeps, so it is no place for this one.
func TestOlderEnvoys(t *testing.T) {
	const dir = "testdata/older"
	r := mustBuild(t, dir, build.Options{OutDir: t.TempDir()})
	wantChange(t, r, "poll_oneoff is answered in the module, with errno 0, so that timers")
	wantChange(t, r, "fd_readdir is answered in the module, with errno 20, since Envoy 1.36, 1.37, 1.38 has no such function; it is reached by main.(*filter).OnRequestHeaders → os.ReadDir")
	wantChange(t, r, "path_link is answered in the module, with errno 58, since Envoy 1.36, 1.37, 1.38, 1.39, 1.40 has no such function")
	module := readFile(t, r.Module)
	files, err := filtertest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	opts := filtertest.Options{Name: "older"}
	cached, err := envoy.Cached()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cached {
		t.Run("Envoy "+c.Number.String(), func(t *testing.T) {
			report, err := filtertest.RunEnvoy(t.Context(), c.Binary, module, files, opts)
			wantPassed(t, report, err)
		})
	}
}

func wantPassed(t *testing.T, report filtertest.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Scenarios {
		for _, d := range r.Differences {
			t.Errorf("%s: %s", r.Name, d)
		}
	}
	if !report.OK() {
		t.Errorf("%d scenarios failed", report.Failed())
	}
}

func wantChange(t *testing.T, r build.Result, says string) {
	t.Helper()
	for _, c := range r.Changes {
		if strings.Contains(c.String(), says) {
			return
		}
	}
	t.Errorf("no change says %q: %v", says, r.Changes)
}
