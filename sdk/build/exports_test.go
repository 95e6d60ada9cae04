package build

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// always are the exports of each module that is built with the sdk.
var always = []string{"_initialize", "proxy_abi_version_0_2_1", "proxy_on_configure", "proxy_on_context_create", "proxy_on_delete",
	"proxy_on_memory_allocate", "proxy_on_request_headers", "proxy_on_tick"}

// A module exports what its handlers need, wherever their methods come from, and what the host functions that it calls answer by.
func TestExports(t *testing.T) {
	for name, more := range map[string][]string{
		"nothing":  nil,
		"body":     {"proxy_on_request_body", "proxy_on_request_trailers", "proxy_on_response_headers"},
		"embedded": {"proxy_on_request_trailers", "proxy_on_response_headers"},
		"promoted": {"proxy_on_response_trailers", "proxy_on_response_headers"},
		"foreign":  {"proxy_on_log"},
		"generic":  {"proxy_on_response_body", "proxy_on_response_headers"},
		"callout":  {"proxy_on_http_call_response", "proxy_on_response_headers"},
		"shutdown": {"proxy_on_done", "proxy_on_foreign_function"},
		"late":     {"proxy_on_response_body", "proxy_on_response_headers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Build(t.Context(), filepath.Join("testdata/callbacks", name), Options{OutDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Concat(always, more)
			slices.Sort(want)
			if !slices.Equal(r.Report.Exports, want) {
				t.Errorf("exports\n%q, want\n%q", r.Report.Exports, want)
			}
			if !slices.ContainsFunc(r.Changes, func(f Finding) bool { return strings.Contains(f.Message, "proxy_on_new_connection") }) {
				t.Errorf("what was left out is not told: %v", r.Changes)
			}
		})
	}
}

func TestParseOptionalFile(t *testing.T) {
	t.Parallel()
	const head, export = "//go:build !waft_without_x\n\npackage p\n\n", "\n//go:wasmexport proxy_on_x\nfunc x() {}\n"
	for name, tc := range map[string]struct {
		text string
		want string // the methods and imports, or - for a file that is not optional
	}{
		"methods":                     {head + "//waft:usedby method OnX OnY\n" + export, "OnX OnY"},
		"both, on two lines":          {head + "//waft:usedby method OnX\n//waft:usedby import env.x env.y\n" + export, "OnX env.x env.y"},
		"with another tag":            {"//go:build wasip1 && !waft_without_x\n//waft:usedby method OnX\n" + export, "OnX"},
		"no tag":                      {"package p\n//waft:usedby method OnX\n" + export, "-"},
		"the tag the wrong way round": {"//go:build waft_without_x\n//waft:usedby method OnX\n" + export, "-"},
		"no rule":                     {head + export, "-"},
		"no export":                   {head + "//waft:usedby method OnX\n", "-"},
		"a rule of later":             {head + "//waft:usedby method OnX\n//waft:usedby moon full\n" + export, "-"},
		"a rule of nothing":           {head + "//waft:usedby method \n" + export, "-"},
		"not a directive":             {head + "// //waft:usedby method OnX\n" + export, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ok := parseOptionalFile(tc.text)
			got := strings.Join(slices.Concat(f.methods, f.imports), " ")
			if !ok {
				got = "-"
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A rule may name methods that are called through an interface, which the linker keeps under their names, and which the sdk itself
// has on no type, since the rule would always hold then; and methods of the sdk's that are not inlined.
func TestRulesOfTheSDK(t *testing.T) {
	t.Parallel()
	var own string
	sources, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(path, "_test.go") {
			own += string(data)
		}
	}
	files, err := filepath.Glob("../internal/abi/export_*_wasip1.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	tags := map[string]bool{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, ok := parseOptionalFile(string(data))
		if !ok || tags[f.tag] {
			t.Errorf("%s: is not optional, or its tag is another file's", path)
		}
		tags[f.tag] = true
		for _, method := range f.methods {
			asked := regexp.MustCompile(`(?m)^\t` + method + `\(`).MatchString(own)
			has := regexp.MustCompile(`(?m)^func \(.*\) ` + method + `\(`).MatchString(own)
			whole := regexp.MustCompile(`(?m)^//go:noinline\nfunc \(.*\) ` + method + `\(`).MatchString(own)
			if asked == has || has != whole {
				t.Errorf("%s: %s is neither a method of an interface alone nor one of the sdk's that is marked go:noinline", path, method)
			}
		}
		for _, name := range f.imports {
			if _, fn, ok := strings.Cut(name, "env."); !ok || !strings.HasPrefix(fn, "proxy_") {
				t.Errorf("%s: %s is no host function", path, name)
			}
		}
	}
}
