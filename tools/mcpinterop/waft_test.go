package mcpinterop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds each wait.
const patience = 60 * time.Second

// need gives what `make interop-mcp` sets.
func need(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("$%s is not set; run `make interop-mcp`", variable)
	}
	return path
}

// program runs a program until the test ends.
func program(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stderr = testLog{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("%s did not stop", cmd.Path)
			<-ended
		}
	})
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// wait asks until it is answered with true.
func wait(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// distributor is a `waft serve` with one module in its registry.
type distributor struct {
	t          *testing.T
	dir        string
	waft       string
	grpc, http string
	releases   int
}

func serve(t *testing.T, flags ...string) *distributor {
	t.Helper()
	d := &distributor{t: t, dir: t.TempDir(), waft: need(t, "WAFT")}
	addresses := filepath.Join(d.dir, "addresses.json")
	program(t, exec.Command(d.waft, append([]string{"serve", "--insecure", "--data", filepath.Join(d.dir, "data"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--log-level", "warn", "--addresses-file", addresses}, flags...)...))
	wait(t, "waft serve", func() bool {
		text, err := os.ReadFile(addresses)
		if err != nil {
			return false
		}
		var bound struct{ GRPC, HTTP string }
		if err := json.Unmarshal(text, &bound); err != nil {
			t.Fatal(err)
		}
		d.grpc, d.http = bound.GRPC, bound.HTTP
		return true
	})
	d.run("push", "--plain-http", d.http, need(t, "MODULE"), d.http+"/filters/headers:1.0.0")
	return d
}

func (d *distributor) run(args ...string) {
	d.t.Helper()
	cmd := exec.Command(d.waft, args...)
	cmd.Env = append(os.Environ(), "WAFT_SERVER="+d.grpc)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("waft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (d *distributor) file(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// give rolls out a release with these filters to all nodes.
func (d *distributor) give(filters ...string) {
	d.t.Helper()
	d.releases++
	var spec strings.Builder
	for _, name := range filters {
		fmt.Fprintf(&spec, "  - {name: %s, module: \"%s/filters/headers:1.0.0\", config: {response: [{op: set, name: x-release, value: \"%d\"}]}}\n", name, d.http, d.releases)
	}
	list := " []\n"
	if len(filters) > 0 {
		list = "\n" + spec.String()
	}
	d.run("release", "create", "--insecure", "--reason", "interop", "-f", d.file("release.yaml",
		"apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: interop}\nspec:\n  filters:"+list))
	name := fmt.Sprintf("interop-%d", d.releases)
	d.run("rollout", "start", "--insecure", "--reason", "interop", "-f", d.file("rollout.yaml",
		"apiVersion: waft.dev/v1\nkind: Rollout\nmetadata: {name: "+name+"}\nspec:\n  release: interop\n  target: {selector: \"\", includeUnreported: true}\n"))
	phase := func(want string) func() bool {
		return func() bool {
			var r struct{ Status struct{ Phase string } }
			d.get("rollouts/"+name, &r)
			return r.Status.Phase == want
		}
	}
	// Nothing can be proved of the nodes here, so it asks a person.
	wait(d.t, name+" to pause", phase("Paused"))
	d.run("rollout", "promote", "--insecure", name, "--reason", "interop")
	wait(d.t, name+" to end", phase("Done"))
}

// node is what the distributor knows of a node.
type node struct {
	Labels map[string]string
	Ledger struct{ State, Reason string }
}

func (d *distributor) node(id string) node {
	d.t.Helper()
	var n node
	d.get("nodes/"+id, &n)
	return n
}

func (d *distributor) get(path string, into interface{}) {
	d.t.Helper()
	resp, err := http.Get("http://" + d.http + "/v1/" + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		d.t.Fatalf("%s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		d.t.Fatal(err)
	}
}
