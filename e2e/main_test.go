package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/envoy"
)

// waftBinary is the program under test, built once for all tests. root is the checkout. buildsDir has a folder for each build of a filter.
var waftBinary, envoyBinary, root, buildsDir string

func TestMain(m *testing.M) {
	if text := os.Getenv(memberVariable); text != "" {
		if err := runMember(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(etcdVariable) != "" {
		etcdmain.Main(os.Args)
		os.Exit(0)
	}
	if text := os.Getenv(stormVariable); text != "" {
		if err := runStorm(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "waft-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if root, err = filepath.Abs(".."); err != nil {
		return 1, err
	}
	buildsDir = filepath.Join(dir, "builds")
	if err := os.Mkdir(buildsDir, 0o700); err != nil {
		return 1, err
	}
	waftBinary = filepath.Join(dir, "waft")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", waftBinary, "./cmd/waft")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build waft: %w\n%s", err, out)
	}
	binary, err := envoy.Find("")
	if err != nil {
		return 1, fmt.Errorf("%w; run `make envoy`", err)
	}
	envoyBinary = binary.Path
	return m.Run(), nil
}

// newFleet is a fleet without a process yet, which ends with the test. Its logs are shown when the test fails.
func newFleet(t *testing.T) *fleet.Fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "waft-e2e-fleet-")
	if err != nil {
		t.Fatal(err)
	}
	f := fleet.New(fleet.Config{Waft: waftBinary, Envoy: envoyBinary, Root: root, Dir: dir})
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			for _, path := range logs {
				text, _ := os.ReadFile(path)
				if len(text) > 6000 {
					text = text[len(text)-6000:]
				}
				t.Logf("%s:\n%s", filepath.Base(path), text)
			}
		}
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// startFleet is a distributor, an upstream and some nodes, all connected.
func startFleet(t *testing.T, nodes int) *fleet.Fleet {
	t.Helper()
	f := newFleet(t)
	started(t, f, nodes)
	return f
}

// startSecureFleet is one whose parts speak TLS and show certificates.
func startSecureFleet(t *testing.T, nodes int) *fleet.Fleet {
	t.Helper()
	f := newFleet(t)
	f.Secure = true
	started(t, f, nodes)
	return f
}

func started(t *testing.T, f *fleet.Fleet, nodes int) {
	t.Helper()
	ctx := t.Context()
	for _, start := range []func(context.Context) error{f.StartUpstream, f.StartServe} {
		if err := start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i := range nodes {
		if _, err := f.StartAgent(fmt.Sprintf("n%d", i+1), "env=test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Connected(ctx); err != nil {
		t.Fatal(err)
	}
}

// publish builds the filters in some folders (relative to the checkout) and pushes each as HTTP/filters/NAME:1.0.0.
func publish(t *testing.T, f *fleet.Fleet, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		name, out := filepath.Base(dir), buildFilter(t, f, dir, "1.0.0")
		mustRun(t, f, append([]string{"push", filepath.Join(out, name+".wasm"), moduleRef(f, name)}, f.Registry()...)...)
	}
}

// filterBuild is all that what waft build makes of a filter of the checkout depends on.
type filterBuild struct{ waft, dir, version string }

// filterBuilds holds what was built, each once for all tests: filterBuild → func() (folder string, err error). Nearly every test wants the same filter, and a build
// takes the linker seconds.
var filterBuilds sync.Map

// buildFilter puts what waft build makes of a filter (its folder relative to the checkout) into the folder dist of a fleet, which it returns. What is there is the
// fleet's own: a test may change it.
func buildFilter(t *testing.T, f *fleet.Fleet, dir, version string) string {
	t.Helper()
	build, _ := filterBuilds.LoadOrStore(filterBuild{f.Waft, dir, version}, sync.OnceValues(func() (string, error) {
		out, err := os.MkdirTemp(buildsDir, "")
		if err != nil {
			return "", err
		}
		// Not by the test's context: others want it, too, when this one has ended.
		_, err = f.Command(context.Background(), nil, "build", "--out", out, "--version", version, dir)
		return out, err
	}))
	from, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(f.Dir, "dist")
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, file.Name()), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func moduleRef(f *fleet.Fleet, name string) string {
	return f.HTTP() + "/filters/" + name + ":1.0.0"
}

// mustRun runs a waft command that must succeed.
func mustRun(t *testing.T, f *fleet.Fleet, args ...string) string {
	t.Helper()
	out, err := f.Command(t.Context(), nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// mustFail runs a waft command that must fail by itself, and whose error must hold all the words. It returns what the command printed.
func mustFail(t *testing.T, f *fleet.Fleet, words []string, args ...string) string {
	t.Helper()
	out, err := f.Command(t.Context(), nil, args...)
	if err == nil {
		t.Fatalf("waft %s succeeded and printed\n%s", strings.Join(args, " "), out)
	}
	if !fleet.Refused(err) {
		t.Fatal(err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error of waft %s does not say %q:\n%v", strings.Join(args, " "), word, err)
		}
	}
	return string(out)
}

// write puts a document where a command can read it.
func write(t *testing.T, f *fleet.Fleet, name, text string) string {
	t.Helper()
	path := filepath.Join(f.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// createRelease creates a release with one filter and returns its name with its hash.
func createRelease(t *testing.T, f *fleet.Fleet, name, filter, config string) string {
	t.Helper()
	path := write(t, f, name+".yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: %s}
spec:
  filters:
  - {name: %s, module: "%s", config: %s}
`, name, filter, moduleRef(f, filter), config))
	var created struct {
		Status struct{ Hash string }
	}
	if err := f.JSON(t.Context(), &created, "release", "create", "-f", path); err != nil {
		t.Fatal(err)
	}
	return name + "@" + created.Status.Hash
}

// rolloutDocument writes the document of a rollout.
func rolloutDocument(t *testing.T, f *fleet.Fleet, name, release, waves string) string {
	t.Helper()
	return write(t, f, name+".yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: %s}
spec:
  release: %s
  target: {selector: env=test}
  waves: %s
`, name, release, waves))
}

// startRollout starts a rollout and leaves it running.
func startRollout(t *testing.T, f *fleet.Fleet, name, release, waves string) {
	t.Helper()
	args := []string{"rollout", "start", "-f", rolloutDocument(t, f, name, release, waves), "--reason", "test"}
	mustRun(t, f, append(args, f.Server()...)...)
}

// rollOut rolls out, and waits for the rollout to end well.
func rollOut(t *testing.T, f *fleet.Fleet, name, release, waves string) {
	t.Helper()
	args := []string{"rollout", "start", "-f", rolloutDocument(t, f, name, release, waves), "--reason", "test", "--follow"}
	mustRun(t, f, append(args, f.Server()...)...)
}

// rolloutStatus is what the tests read of a rollout.
type rolloutStatus struct {
	Phase   string
	Message string
	Wave    int
	Release string
	Waves   []struct{ Nodes []string }
	Nodes   []struct {
		Node, State, Reason, From string
		Wave                      int
	}
	History []struct {
		Phase, Message, Actor string
		Wave                  int
	}
}

func statusOf(ctx context.Context, f *fleet.Fleet, name string) (rolloutStatus, error) {
	var r struct{ Status rolloutStatus }
	err := f.JSON(ctx, &r, "rollout", "status", name)
	return r.Status, err
}

// awaitRollout waits until a rollout's status fulfils a condition.
func awaitRollout(t *testing.T, f *fleet.Fleet, name, what string, holds func(rolloutStatus) bool) rolloutStatus {
	t.Helper()
	var last rolloutStatus
	err := fleet.WaitFor(t.Context(), name+" "+what, rolloutLimit, func(ctx context.Context) error {
		var err error
		if last, err = statusOf(ctx, f, name); err != nil {
			return err
		}
		if !holds(last) {
			return fleet.NotYetf("it is %+v", last)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func phaseIs(phase string) func(rolloutStatus) bool {
	return func(s rolloutStatus) bool { return s.Phase == phase }
}

// stamped is a client that must get an answer with one of these stamps.
func stamped(values ...string) fleet.Visitor {
	return fleet.Visitor{Name: "a client", Path: "/", Status: 200, Check: func(a fleet.Answer) error {
		got := a.Header.Get("X-Stamp")
		for _, v := range values {
			if got == v {
				return nil
			}
		}
		return fmt.Errorf("the stamp is %q instead of one of %q", got, values)
	}}
}

// stampOf is the stamp that a node's answer carries.
func stampOf(t *testing.T, n *fleet.Node) string {
	t.Helper()
	a, err := fleet.Ask(t.Context(), n.Listen, fleet.Visitor{Name: "a client", Path: "/", Status: 200})
	if err != nil {
		t.Fatal(err)
	}
	return a.Header.Get("X-Stamp")
}
