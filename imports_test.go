// Package waft_test holds what is checked about the module as a whole.
package waft_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/waft-project/waft"

// within says whether a package is one of the folders or below it. "sdk$" means the folder alone.
func within(pkg string, folders ...string) bool {
	rel := strings.TrimPrefix(strings.TrimPrefix(pkg, module), "/")
	return slices.ContainsFunc(folders, func(f string) bool {
		if exact, ok := strings.CutSuffix(f, "$"); ok {
			return rel == exact
		}
		return rel == f || strings.HasPrefix(rel, f+"/")
	})
}

func ours(pkg string) bool { return pkg == module || strings.HasPrefix(pkg, module+"/") }

// standard says whether a package is of the standard library: its first element has no dot.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

// rule forbids what the packages that it is about may reach, directly or through others.
type rule struct {
	why   string
	about func(pkg string) bool
	// allowed says whether a package may be reached; it is asked only about packages that the rule is not about.
	allowed func(pkg string) bool
	// direct: only direct imports count, because the way through another package is that package's business.
	direct bool
}

// generated are the schema packages that the adapters and clients share.
var generated = []string{"distributor/api/gen", "distributor/mcp/gen"}

func folder(folders ...string) func(string) bool {
	return func(pkg string) bool { return within(pkg, folders...) }
}

// only allows the standard library and these folders of the module; other modules as well when theirs is true.
func only(theirs bool, folders ...string) func(string) bool {
	return func(pkg string) bool {
		if ours(pkg) {
			return within(pkg, folders...)
		}
		return theirs || standard(pkg)
	}
}

// rules are those of the design, by number.
var rules = []rule{
	{
		why: "1: a filter imports sdk and nothing else of the project", about: folder("filters"),
		allowed: func(pkg string) bool { return !ours(pkg) || within(pkg, "sdk$", "sdk/internal") },
	},
	{
		why: "1: guest code depends on proxy-wasm-go-sdk and the standard library only", about: folder("sdk$", "sdk/internal"),
		allowed: func(pkg string) bool {
			return standard(pkg) || within(pkg, "sdk$", "sdk/internal") || strings.HasPrefix(pkg, "github.com/proxy-wasm/proxy-wasm-go-sdk/")
		},
	},
	{why: "2: registry stands alone as a library", about: folder("registry"), allowed: only(true, "registry")},
	{why: "3: model imports the standard library only", about: folder("distributor/model"), allowed: only(false, "distributor/model")},
	{
		why:     "3: rollout, delivery and access import model and nothing else of the project",
		about:   folder("distributor/rollout", "distributor/delivery", "distributor/access"),
		allowed: only(true, "distributor/model"),
	},
	{
		why: "3: store imports model, and certfile for etcd's certificates", about: folder("distributor/store$"),
		allowed: only(true, "distributor/model", "distributor/certfile"), direct: true,
	},
	{
		why: "4: service imports model, rollout and delivery; adapters implement what it declares", about: folder("distributor/service"),
		allowed: only(true, "distributor/model", "distributor/rollout", "distributor/delivery", "distributor/service"),
	},
	{
		why: "5: api imports service and model, never mcp or xds", about: func(pkg string) bool { return within(pkg, "distributor/api") && !within(pkg, generated...) },
		allowed: only(true, append(generated, "distributor/service", "distributor/model", "distributor/encoded")...), direct: true,
	},
	{
		why: "5: gates imports service and model, never another adapter", about: folder("distributor/gates$"),
		allowed: only(true, "distributor/service", "distributor/model"), direct: true,
	},
	{
		why: "5: mcp imports service and model, never api or xds", about: func(pkg string) bool { return within(pkg, "distributor/mcp") && !within(pkg, generated...) },
		allowed: only(true, append(generated, "distributor/service", "distributor/model", "distributor/encoded", "distributor/inbox", "distributor/paced", "distributor/proxied")...), direct: true,
	},
	{
		// The chain that an Envoy is sent over ADS is rendered where that of an agent is, so that both run the same.
		why: "5: xds imports service, model and envoy, never api or mcp", about: folder("distributor/xds"),
		allowed: only(true, append(generated, "distributor/service", "distributor/model", "distributor/encoded", "distributor/inbox", "distributor/paced", "envoy")...), direct: true,
	},
	{
		why: "5: the agent talks to the distributor by its public protocols only", about: folder("distributor/agent"),
		allowed: only(true, append(generated, "distributor/agent", "distributor/mcp$", "distributor/model", "distributor/descriptors", "distributor/certfile", "distributor/sealed", "distributor/reporting", "registry", "envoy", "wholefile")...), direct: true,
	},
	{
		why: "8: client talks to the distributor by its public protocols only", about: folder("client"),
		allowed: only(true, append(generated, "client", "distributor/mcp$", "distributor/model", "distributor/certfile", "distributor/sealed", "distributor/reporting", "wholefile")...), direct: true,
	},
	{
		why: "5: descriptors imports model, and envoy for the messages that it links", about: folder("distributor/descriptors"),
		allowed: only(true, "distributor/descriptors", "distributor/model", "envoy"), direct: true,
	},
	{why: "5: generated code imports nothing of the project", about: folder(generated...), allowed: only(true)},
	{why: "5: envoy imports nothing of distributor, registry or sdk", about: folder("envoy"), allowed: only(true, "envoy", "wholefile")},
	{
		why: "5: Envoy's types stay in envoy, xds and agent",
		about: func(pkg string) bool {
			return ours(pkg) && !within(pkg, "envoy", "distributor/xds", "distributor/agent")
		},
		allowed: func(pkg string) bool { return !strings.HasPrefix(pkg, "github.com/envoyproxy/go-control-plane/") }, direct: true,
	},
	{why: "5: reporting imports generated code", about: folder("distributor/reporting"), allowed: only(true, append(generated, "distributor/reporting")...)},
	{why: "5: sealed imports model and wholefile", about: folder("distributor/sealed"), allowed: only(true, "distributor/sealed", "distributor/model", "wholefile")},
	{why: "loopback imports the standard library only", about: folder("loopback"), allowed: only(false, "loopback")},
	{why: "6: envelope imports model", about: folder("distributor/envelope"), allowed: only(false, "distributor/envelope", "distributor/model")},
	{why: "wholefile imports the standard library only", about: folder("wholefile"), allowed: only(false, "wholefile")},
	{why: "6: certfile imports watched and proxied, and nothing else of the project", about: folder("distributor/certfile"), allowed: only(true, "distributor/certfile", "distributor/watched", "distributor/proxied")},
	{why: "6: watched imports the standard library only", about: folder("distributor/watched"), allowed: only(false, "distributor/watched")},
	{why: "5: proxied stands alone", about: folder("distributor/proxied"), allowed: only(true, "distributor/proxied")},
	{why: "6: cluster imports model and nothing else of the project", about: folder("distributor/cluster"), allowed: only(true, "distributor/cluster", "distributor/model")},
	{why: "6: retention imports registry for digests, and wholefile", about: folder("distributor/retention"), allowed: only(true, "distributor/retention", "registry", "wholefile"), direct: true},
	{why: "6: backup imports model and nothing else of the project", about: folder("distributor/backup"), allowed: only(true, "distributor/backup", "distributor/model")},
	{why: "5: port imports inbox for how receivers are woken, and nothing else of the project", about: folder("distributor/port"), allowed: only(true, "distributor/port", "distributor/inbox")},
	{why: "5: paced stands alone", about: folder("distributor/paced"), allowed: only(true, "distributor/paced")},
	{why: "5: inbox stands alone", about: folder("distributor/inbox"), allowed: only(true, "distributor/inbox")},
	{why: "5: encoded stands alone", about: folder("distributor/encoded"), allowed: only(true, "distributor/encoded")},
	{why: "6: oidc stands alone", about: folder("distributor/oidc"), allowed: only(true, "distributor/oidc")},
	{why: "6: authority imports the standard library only", about: folder("distributor/authority"), allowed: only(false, "distributor/authority")},
	{
		why: "6: only the root package distributor, cmd and end-to-end tests know concrete implementations",
		about: func(pkg string) bool {
			return ours(pkg) && !within(pkg, "distributor$", "cmd", "e2e", "distributor/store", "distributor/access", "distributor/authority", "distributor/oidc", "distributor/cluster", "distributor/backup", "distributor/envelope")
		},
		allowed: func(pkg string) bool {
			return !within(pkg, "distributor$", "distributor/store", "distributor/xds", "distributor/access", "distributor/authority", "distributor/oidc", "distributor/cluster", "distributor/backup", "distributor/envelope")
		}, direct: true,
	},
}

// forbiddenNames are of drawers, not of concepts (rule 7).
var forbiddenNames = []string{"util", "utils", "common", "helpers", "misc", "types"}

// graph is package → direct imports, of the packages as they are compiled, tests left out: all of them for the host,
// and the guest code for Wasm as well.
func graph(t *testing.T) map[string][]string {
	t.Helper()
	g := map[string][]string{}
	for _, build := range []struct{ env, patterns []string }{
		{nil, []string{"./..."}},
		{[]string{"GOOS=wasip1", "GOARCH=wasm"}, []string{"./filters/...", "./sdk"}},
	} {
		cmd := exec.Command("go", append([]string{"list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`}, build.patterns...)...)
		cmd.Env = append(os.Environ(), build.env...)
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				t.Fatalf("go list: %s", exit.Stderr)
			}
			t.Fatalf("go list: %v", err)
		}
		for line := range strings.Lines(string(out)) {
			fields := strings.Fields(line)
			g[fields[0]] = append(g[fields[0]], fields[1:]...)
		}
	}
	return g
}

// chain is the shortest way from a package to one that the rule forbids, or nil.
func chain(g map[string][]string, r rule, from string) []string {
	type step struct {
		pkg string
		way []string
	}
	seen := map[string]bool{from: true}
	for queue := []step{{from, []string{from}}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, next := range g[at.pkg] {
			if seen[next] {
				continue
			}
			seen[next] = true
			way := append(slices.Clone(at.way), next)
			if !r.about(next) && !r.allowed(next) {
				return way
			}
			if !r.direct && ours(next) {
				// What other modules import is theirs to know.
				queue = append(queue, step{next, way})
			}
		}
	}
	return nil
}

func TestImports(t *testing.T) {
	g := graph(t)
	for _, r := range rules {
		for pkg := range g {
			if ours(pkg) && r.about(pkg) {
				if way := chain(g, r, pkg); way != nil {
					t.Errorf("rule %s\n\t%s", r.why, strings.Join(way, "\n\t  imports "))
				}
			}
		}
	}
	for pkg := range g {
		if ours(pkg) && slices.Contains(forbiddenNames, path.Base(pkg)) {
			t.Errorf("rule 7: %s: code lives beside its only user, or in the package it is about, not in one called %s", pkg, path.Base(pkg))
		}
	}
}

// TestImportRulesBite has each rule find what it forbids.
func TestImportRulesBite(t *testing.T) {
	at := func(rel string) string { return module + "/" + rel }
	for _, tc := range []struct {
		from, to string
		good     bool
	}{
		{"filters/authz", at("sdk"), true},
		{"filters/authz", at("sdk/wasmhost"), false},
		{"filters/authz", at("registry"), false},
		{"sdk", "github.com/tetratelabs/wazero", false},
		{"sdk", "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm", true},
		{"sdk", at("sdk/wasmhost"), false},
		{"registry", at("distributor/model"), false},
		{"distributor/model", "google.golang.org/grpc", false},
		{"distributor/model", "encoding/json", true},
		{"distributor/rollout", at("distributor/model"), true},
		{"distributor/rollout", at("distributor/service"), false},
		{"distributor/store", at("distributor/service"), false},
		{"distributor/access", at("distributor/model"), true},
		{"distributor/access", at("distributor/service"), false},
		{"distributor/service", at("distributor/access"), false},
		{"distributor/api", at("distributor/access"), false},
		{"distributor/mcp", at("distributor/access"), false},
		{"distributor", at("distributor/access"), true},
		{"distributor/authority", "google.golang.org/grpc", false},
		{"distributor/agent", at("distributor/authority"), false},
		{"distributor/oidc", at("distributor/access"), false},
		{"distributor/access", at("distributor/oidc"), false},
		{"distributor/service", at("distributor/store"), false},
		{"distributor/service", at("registry"), false},
		{"distributor/api", at("distributor/mcp"), false},
		{"distributor/api", at("distributor/mcp/gen/istio/mcp/v1alpha1"), true},
		{"distributor/mcp", at("distributor/api"), false},
		{"distributor/port", at("distributor/api"), false},
		{"distributor/mcp", at("distributor/api/gen/waft/v1"), true},
		{"distributor/xds", at("envoy"), true},
		{"distributor/xds", at("distributor/mcp"), false},
		{"distributor/agent", at("distributor/service"), false},
		{"distributor/agent", at("distributor/api"), false},
		{"distributor/agent", at("distributor/mcp"), true},
		{"client", at("distributor/mcp"), true},
		{"client", at("distributor/service"), false},
		{"client", at("distributor/api"), false},
		{"client", at("distributor/agent"), false},
		{"client", at("envoy"), false},
		{"client", at("registry"), false},
		{"envoy", at("sdk/manifest"), false},
		{"distributor/api", "github.com/envoyproxy/go-control-plane/envoy/config/core/v3", false},
		{"distributor", at("distributor/store"), true},
		{"sdk/build", at("distributor"), false},
	} {
		t.Run(fmt.Sprint(tc.from, " to ", strings.TrimPrefix(tc.to, module+"/")), func(t *testing.T) {
			g := map[string][]string{at(tc.from): {tc.to}}
			var why []string
			for _, r := range rules {
				if r.about(at(tc.from)) && chain(g, r, at(tc.from)) != nil {
					why = append(why, r.why)
				}
			}
			if good := len(why) == 0; good != tc.good {
				t.Errorf("allowed: %v, want %v; %q", good, tc.good, why)
			}
		})
	}
	// Through another package as well, and the way is printed.
	g := map[string][]string{at("filters/a"): {at("sdk")}, at("sdk"): {at("registry")}}
	if way := chain(g, rules[0], at("filters/a")); !slices.Equal(way, []string{at("filters/a"), at("sdk"), at("registry")}) {
		t.Errorf("the way is %v", way)
	}
}

// heavy are the modules that an application must not be linked with for its flags' sake, however the client comes to them.
var heavy = []string{
	"go.etcd.io/", "github.com/envoyproxy/", "github.com/tetratelabs/wazero", "oras.land/", "github.com/distribution/", "github.com/sigstore/", "cel.dev/",
	"github.com/spf13/", "go.opentelemetry.io/", module + "/envoy", module + "/registry", module + "/distributor/store", module + "/distributor/agent", module + "/distributor/xds",
}

func TestClientIsLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./client").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if !slices.Contains(packages, module+"/distributor/mcp") {
		t.Errorf("what the client imports is not read: %q", packages)
	}
	for _, pkg := range packages {
		if slices.ContainsFunc(heavy, func(prefix string) bool { return strings.HasPrefix(pkg, prefix) }) {
			t.Errorf("an application that imports client is linked with %s", pkg)
		}
	}
}
