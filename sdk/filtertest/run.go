package filtertest

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Run builds the filter in dir as `waft build` does, loads it under every profile, and runs every scenario of dir/scenarios as a subtest,
// named PROFILE/FILE/SCENARIO. A filter's test is:
//
//	func TestScenarios(t *testing.T) { filtertest.Run(t, ".") }
//
// Under the newest of the profiles, pinned traces (see [CheckTraces]) and the calls, bytes and memory that budget.yaml allows (see [Budget])
// are checked as well. Its times and growth take more requests, and a quiet machine: `waft bench` judges those.
//
// A filter that not every Envoy can load names the profiles that it is for ("envoy-1.40"); a profile that cannot load it fails the test.
func Run(t *testing.T, dir string, profiles ...string) {
	t.Helper()
	under := wasmhost.Profiles()
	if len(profiles) > 0 {
		under = nil
		for _, name := range profiles {
			p, err := wasmhost.ProfileByName(name)
			if err != nil {
				t.Fatal(err)
			}
			under = append(under, p)
		}
	}
	abs, files, module := loadFilter(t, dir)
	host := newHost(t)
	for _, p := range under {
		t.Run(p.Name(), func(t *testing.T) {
			report, err := RunWasm(t.Context(), host, module, files, p, Options{Name: filepath.Base(abs)})
			if err != nil {
				t.Fatal(err)
			}
			reportTests(t, report)
		})
	}
	newest := under[len(under)-1]
	t.Run("pinned traces", func(t *testing.T) { checkTraces(t, host, abs, files, module, newest) })
	t.Run(BudgetFile, func(t *testing.T) { checkBudget(t, host, abs, files, module, newest) })
}

func checkTraces(t *testing.T, host *wasmhost.Host, dir string, files []File, module []byte, p wasmhost.Profile) {
	t.Helper()
	differences, err := CheckTraces(t.Context(), host, module, files, p, Options{Name: filepath.Base(dir)}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// testRequests is how many requests of each scenario a test measures: what it judges does not depend on how many there are.
const testRequests = 20

func checkBudget(t *testing.T, host *wasmhost.Host, dir string, files []File, module []byte, p wasmhost.Profile) {
	t.Helper()
	has, err := HasBudget(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !has {
		t.Skipf("there is no %s", BudgetFile)
	}
	budget, err := LoadBudget(dir)
	if err != nil {
		t.Fatal(err)
	}
	costs, err := Bench(t.Context(), host, module, files, p, Options{Name: filepath.Base(dir)}, testRequests)
	if err != nil {
		t.Fatal(err)
	}
	for i := range costs {
		costs[i].Time, costs[i].Growth = 0, 0
	}
	for _, over := range budget.Judge(costs) {
		t.Errorf("%s: %s; make the filter cheaper, or raise the budget and say why", budget.Path, over)
	}
}

// loadFilter is a filter's folder, its scenarios, and the module that waft build makes of it.
func loadFilter(t *testing.T, dir string) (abs string, files []File, module []byte) {
	t.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if files, err = Load(abs); err != nil {
		t.Fatal(err)
	}
	if module, err = compile(t.Context(), abs); err != nil {
		t.Fatal(err)
	}
	return abs, files, module
}

// newHost makes a host that ends with the test.
func newHost(t *testing.T) *wasmhost.Host {
	t.Helper()
	host, err := wasmhost.NewHost(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	return host
}

// reportTests makes a subtest of every scenario of a report.
func reportTests(t *testing.T, report Report) {
	t.Helper()
	for _, r := range report.Scenarios {
		file := strings.TrimSuffix(filepath.Base(r.File), filepath.Ext(r.File))
		t.Run(file+"/"+r.Name, func(t *testing.T) {
			for _, d := range r.Differences {
				t.Errorf("%s: scenario %q: %s", r.File, r.Name, d)
			}
			if !r.Pass && len(r.Observed.Logs) > 0 {
				t.Logf("the filter's log:\n%s", strings.Join(r.Observed.Logs, "\n"))
			}
		})
	}
}
