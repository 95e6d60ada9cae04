package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/testresult"
	"github.com/waft-project/waft/sdk/wasmhost"
)

func newTest() *cobra.Command {
	var out output
	var inEnvoy bool
	var envoyPath string
	var fuzzing fuzzFlags
	var update bool
	var report, moduleFile string
	cmd := &cobra.Command{
		Use:   "test [DIR…]",
		Short: "Run filters' scenarios as compiled Wasm; --envoy runs them in real Envoy too, and compares",
		Long: `Test builds each filter and runs its scenarios (DIR/scenarios/*.yaml), requests or TCP connections, in wazero, once for each
Envoy version that waft knows, offering what that version offers. With --envoy the same files run in a real Envoy, and a difference between the two is a
failure.

With --report it writes a report that names the module by its digest; waft push publishes it beside the module, signed if it signs, and a
trust policy can ask for it.

With --fuzz it sends what the scenarios send, damaged, mixed and cut into random pieces, has callouts answered in any order, late or
never, and clients go away; the filter must not trap, leave a stream stuck, or take memory without bound. A finding names the seed that
finds it again.`,
		Example: `  waft test ./filters/authz
  waft test --envoy ./filters/...
  waft test --report dist/ ./filters/authz
  waft test --fuzz --runs 1000 ./filters/authz`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if err := fuzzing.check(cmd); err != nil {
				return err
			}
			ctx := cmd.Context()
			dirs, err := testDirs(ctx, args)
			if err != nil {
				return err
			}
			if err := checkReport(report, moduleFile, fuzzing.on, dirs); err != nil {
				return err
			}
			if fuzzing.on {
				return fuzz(ctx, cmd.OutOrStdout(), dirs, fuzzing, out)
			}
			tester, err := newTester(ctx, inEnvoy, envoyPath)
			if err != nil {
				return err
			}
			defer tester.close(ctx)
			tester.update, tester.moduleFile = update, moduleFile
			var summary testSummary
			for _, dir := range dirs {
				tested, err := tester.test(ctx, dir.path)
				if err != nil {
					return err
				}
				if report != "" {
					if err := writeReport(reportPath(report, dir.path), tested); err != nil {
						return err
					}
				}
				summary.add(tested)
				if out.format == "table" {
					tested.draw(cmd.OutOrStdout())
				}
			}
			if out.format != "table" {
				if err := out.print(cmd.OutOrStdout(), summary, nil); err != nil {
					return err
				}
			} else {
				fmt.Fprintf(cmd.OutOrStdout(), "%d passed, %d failed\n", summary.Passed, summary.Failed)
			}
			if summary.Failed > 0 {
				return errSaid
			}
			return nil
		},
	}
	out.flag(cmd)
	fuzzing.flags(cmd)
	cmd.Flags().StringVar(&report, "report", "", "write what came of it to this file, to be published with the module; of several filters, to NAME.report.json in this folder")
	cmd.Flags().StringVar(&moduleFile, "module", "", "test these bytes (a .wasm file), and not what would be built now")
	cmd.Flags().BoolVar(&update, "update", false, "write pinned traces (scenarios/FILE.yaml.trace) anew instead of comparing them")
	// --envoy alone runs the Envoy that is found; --envoy=PATH names one.
	cmd.Flags().StringVar(&envoyPath, "envoy", "", "also run in real Envoy, and compare; --envoy=PATH names the binary (default: $ENVOY, envoy on the PATH, or what `make envoy` fetched)")
	cmd.Flags().Lookup("envoy").NoOptDefVal = findEnvoy
	cmd.PreRun = func(cmd *cobra.Command, _ []string) {
		inEnvoy = cmd.Flags().Changed("envoy")
		if envoyPath == findEnvoy {
			envoyPath = ""
		}
	}
	return cmd
}

// findEnvoy is the value of --envoy where it names no path.
const findEnvoy = "found by waft"

// testDirs are the directories whose scenarios are to be run. A pattern passes over filters without scenarios; a directory
// that is named must have some.
func testDirs(ctx context.Context, args []string) ([]filterDir, error) {
	dirs, err := filterDirs(ctx, args)
	if err != nil {
		return nil, err
	}
	var with []filterDir
	for _, dir := range dirs {
		has, err := dir.hasScenarios()
		if err != nil {
			return nil, err
		}
		if has || dir.named {
			with = append(with, dir)
		}
	}
	if len(with) == 0 {
		return nil, fmt.Errorf("no filter that was named has scenarios; write some into DIR/scenarios/*.yaml, see docs/scenarios.md")
	}
	return with, nil
}

// tester runs filters' scenarios on every backend that was asked for.
type tester struct {
	host   *wasmhost.Host
	binary *envoy.Binary
	// same is the profile that is to behave as the binary does.
	same wasmhost.Profile
	// version is the binary's.
	version envoy.Number
	// update writes pinned traces anew.
	update bool
	// moduleFile is what is tested; empty: what is built.
	moduleFile string
}

func newTester(ctx context.Context, inEnvoy bool, envoyPath string) (*tester, error) {
	t := &tester{}
	if inEnvoy {
		binary, err := envoy.Find(envoyPath)
		if err != nil {
			return nil, err
		}
		v, err := binary.Version(ctx)
		if err != nil {
			return nil, err
		}
		if t.same, err = nearestProfile(v.Number); err != nil {
			return nil, fmt.Errorf("%s: %w", binary.Path, err)
		}
		t.binary, t.version = &binary, v.Number
	}
	var err error
	t.host, err = wasmhost.NewHost(ctx, wasmhost.Config{})
	return t, err
}

// nearestProfile is the profile of an Envoy's version, or of the next older version that there is one for: what Envoy
// offers to modules has only ever grown.
func nearestProfile(number envoy.Number) (wasmhost.Profile, error) {
	var nearest wasmhost.Profile
	found := false
	for _, p := range wasmhost.Profiles() { // oldest first
		version, err := envoy.ParseNumber(p.Envoy() + ".0")
		if err != nil {
			return nearest, err
		}
		if version.Major < number.Major || version.Major == number.Major && version.Minor <= number.Minor {
			nearest, found = p, true
		}
	}
	if !found {
		return nearest, fmt.Errorf("it is Envoy %s, older than all that waft knows; the oldest is %s", number, envoy.OldestSupported)
	}
	return nearest, nil
}

func (t *tester) close(ctx context.Context) { _ = t.host.Close(context.WithoutCancel(ctx)) }

// tested is what came of one filter.
type tested struct {
	Filter     string                `json:"filter"`
	Reports    []filtertest.Report   `json:"reports"`
	Mismatches []filtertest.Mismatch `json:"mismatches,omitempty"`
	// Traces are pinned traces that differ.
	Traces []filtertest.Difference `json:"traces,omitempty"`
	// Unloadable names the profiles that cannot load the module, with the reason; its scenarios do not run there.
	Unloadable map[string]string `json:"unloadable,omitempty"`
	Seconds    float64           `json:"seconds"`
	// SHA256 is the digest of the module that was tested, in hex.
	SHA256 string `json:"sha256"`

	files []testresult.File
	runs  []testresult.Run
}

// subject is a module to test.
type subject struct {
	wasm    []byte
	report  build.CheckReport
	symbols build.Symbols
}

// subject builds the filter of a directory into a temporary folder, or reads the module that is to be tested in its place.
func (t *tester) subject(ctx context.Context, dir string) (s subject, err error) {
	if t.moduleFile != "" {
		if s.wasm, err = os.ReadFile(t.moduleFile); err != nil {
			return s, err
		}
		if s.report, err = build.Check(s.wasm); err != nil {
			return s, fmt.Errorf("%s: %w", t.moduleFile, err)
		}
		// They only make stacks readable, and may be missing or another build's.
		symbols, err := build.ReadSymbols(strings.TrimSuffix(t.moduleFile, filepath.Ext(t.moduleFile)) + build.SymbolsSuffix)
		if err == nil && symbols.SHA256 == s.report.SHA256 {
			s.symbols = symbols
		}
		return s, nil
	}
	temporary, err := os.MkdirTemp("", "waft-test-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(temporary)
	built, err := build.Build(ctx, dir, build.Options{OutDir: temporary})
	if err != nil {
		return s, err
	}
	s.report = built.Report
	if s.wasm, err = os.ReadFile(built.Module); err != nil {
		return s, err
	}
	s.symbols, err = build.ReadSymbols(built.Symbols)
	return s, err
}

// test runs the scenarios of a directory's filter.
func (t *tester) test(ctx context.Context, dir string) (tested, error) {
	started := time.Now()
	files, err := filtertest.Load(dir)
	if err != nil {
		return tested{}, err
	}
	subject, err := t.subject(ctx, dir)
	if err != nil {
		return tested{}, err
	}
	module, symbols := subject.wasm, subject.symbols
	result := tested{Filter: dir, Unloadable: map[string]string{}, SHA256: subject.report.SHA256}
	if result.files, err = fileDigests(files); err != nil {
		return tested{}, err
	}
	options := filtertest.Options{Name: filepath.Base(mustAbs(dir))}
	var same *filtertest.Report
	for _, p := range subject.report.Profiles {
		if !p.Loadable {
			result.Unloadable[p.Name] = whyNot(p)
			continue
		}
		profile, err := wasmhost.ProfileByName(p.Name)
		if err != nil {
			return result, err
		}
		report, err := filtertest.RunWasm(ctx, t.host, module, files, profile, options)
		if err != nil {
			return result, fmt.Errorf("%s: %w", dir, err)
		}
		resolve(report, symbols)
		result.Reports = append(result.Reports, report)
		result.runs = append(result.runs, testresult.Run{Profile: p.Name, Host: testresult.HostWasm, Report: report})
		if t.binary != nil && p.Name == t.same.Name() {
			same = &report
		}
		if p.Name == newestProfile() {
			if result.Traces, err = filtertest.CheckTraces(ctx, t.host, module, files, profile, options, t.update); err != nil {
				return result, fmt.Errorf("%s: %w", dir, err)
			}
		}
	}
	if t.binary != nil {
		report, err := filtertest.RunEnvoy(ctx, *t.binary, module, files, options)
		if err != nil {
			return result, fmt.Errorf("%s: %w", dir, err)
		}
		resolve(report, symbols)
		result.Reports = append(result.Reports, report)
		result.runs = append(result.runs, testresult.Run{Profile: t.version.Profile(), Host: testresult.HostEnvoy, Version: t.version.String(), Report: report})
		if same != nil {
			result.Mismatches = filtertest.Compare(*same, report)
		}
	}
	result.Seconds = time.Since(started).Seconds()
	return result, nil
}

// resolve names the functions on the stacks of what crashed.
func resolve(report filtertest.Report, symbols build.Symbols) {
	for _, s := range report.Scenarios {
		for i := range s.Differences {
			s.Differences[i].Got = symbols.Resolve(s.Differences[i].Got)
		}
		for i := range s.Observed.Logs {
			s.Observed.Logs[i] = symbols.Resolve(s.Observed.Logs[i])
		}
	}
}

// mustAbs is the absolute path, or the path itself where the working directory is gone.
func mustAbs(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// counts of scenarios: a scenario that two backends see differently counts as one more failure.
func (t tested) counts() (passed, failed int) {
	for _, r := range t.Reports {
		failed += r.Failed()
		passed += len(r.Scenarios) - r.Failed()
	}
	return passed, failed + len(t.Mismatches) + len(t.Traces)
}

// testSummary is what -o json prints.
type testSummary struct {
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Filters []tested `json:"filters"`
}

func (s *testSummary) add(t tested) {
	passed, failed := t.counts()
	s.Passed += passed
	s.Failed += failed
	s.Filters = append(s.Filters, t)
}

func (t tested) draw(w io.Writer) {
	for _, r := range t.Reports {
		mark := "ok  "
		if !r.OK() {
			mark = "FAIL"
		}
		fmt.Fprintf(w, "%s %s on %s: %d scenarios\n", mark, t.Filter, r.Backend, len(r.Scenarios))
		for _, s := range r.Scenarios {
			if s.Pass {
				continue
			}
			fmt.Fprintf(w, "     %s: %s\n", s.File, s.Name)
			for _, d := range s.Differences {
				fmt.Fprintf(w, "       %s\n", d)
			}
		}
	}
	for profile, why := range t.Unloadable {
		fmt.Fprintf(w, "skip %s on %s: it cannot be loaded there: %s\n", t.Filter, profile, why)
	}
	for _, d := range t.Traces {
		fmt.Fprintf(w, "DIFF %s\n", d)
	}
	for _, m := range t.Mismatches {
		fmt.Fprintf(w, "DIFF %s\n", m)
	}
}
