// Package wafttest runs waft as a program, for tests in modules of their own, which cannot have it as a library. It imports the standard
// library only, so that it goes with any version of anything.
package wafttest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience bounds each wait.
const Patience = 60 * time.Second

// Need gives what the Makefile's target sets.
func Need(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("$%s is not set; run it by `make interop-mcp` or `make interop-istio`", variable)
	}
	return path
}

// Program runs a program until the test ends, or stop is called.
func Program(t *testing.T, cmd *exec.Cmd) (stop func()) {
	t.Helper()
	cmd.Stderr = testLog{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(Patience):
			_ = cmd.Process.Kill()
			t.Errorf("%s did not stop", cmd.Path)
			<-ended
		}
	}
	t.Cleanup(stop)
	return stop
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// Wait asks until it is answered with true.
func Wait(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ask(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Distributor is a `waft serve` with one module in its registry.
type Distributor struct {
	// GRPC and HTTP are its addresses.
	GRPC, HTTP string

	t        *testing.T
	dir      string
	waft     string
	flags    []string
	secure   bool
	stop     func()
	releases int
}

// Serve starts one, with more flags where they are given.
func Serve(t *testing.T, flags ...string) *Distributor {
	t.Helper()
	return serve(t, false, flags)
}

// ServeSecure starts one with certificates of its own and its own access policy: who comes shows a certificate (Issue).
func ServeSecure(t *testing.T, flags ...string) *Distributor {
	t.Helper()
	return serve(t, true, flags)
}

func serve(t *testing.T, secure bool, flags []string) *Distributor {
	t.Helper()
	d := &Distributor{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", t: t, dir: t.TempDir(), waft: Need(t, "WAFT"), flags: flags, secure: secure}
	d.start()
	registry := []string{"--plain-http", d.HTTP}
	if secure {
		registry = []string{"--registry-ca", d.tls("ca.pem"), "--registry-cert", d.tls("person-operator.pem"), "--registry-key", d.tls("person-operator.key")}
	}
	d.Run(append([]string{"push", Need(t, "MODULE"), d.HTTP + "/filters/headers:1.0.0"}, registry...)...)
	return d
}

// tls is a file of the authority that it makes.
func (d *Distributor) tls(name string) string { return filepath.Join(d.dir, "data", "tls", name) }

// Issue gives a node a certificate, by which it may be that and no other: the files of the authority that vouches for the distributor, of the certificate and of its key.
func (d *Distributor) Issue(node string) (ca, cert, key string) {
	d.t.Helper()
	d.Run("certificate", "node", node, "--data", filepath.Join(d.dir, "data"), "--dir", d.dir)
	return d.tls("ca.pem"), filepath.Join(d.dir, node+".pem"), filepath.Join(d.dir, node+".key")
}

// client is the TLS of who asks as the operator; nil where there is none.
func (d *Distributor) client() *tls.Config {
	d.t.Helper()
	if !d.secure {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(d.tls("person-operator.pem"), d.tls("person-operator.key"))
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := os.ReadFile(d.tls("ca.pem"))
	if err != nil {
		d.t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(text)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities, Certificates: []tls.Certificate{pair}}
}

func (d *Distributor) start() {
	d.t.Helper()
	addresses := filepath.Join(d.dir, "addresses.json")
	_ = os.Remove(addresses)
	flags := append([]string(nil), d.flags...)
	if !d.secure {
		flags = append(flags, "--insecure")
	}
	d.stop = Program(d.t, exec.Command(d.waft, append([]string{"serve", "--data", filepath.Join(d.dir, "data"), "--grpc", d.GRPC, "--http", d.HTTP,
		"--log-level", "warn", "--addresses-file", addresses}, flags...)...))
	Wait(d.t, "waft serve", func() bool {
		text, err := os.ReadFile(addresses)
		if err != nil {
			return false
		}
		var bound struct{ GRPC, HTTP string }
		if err := json.Unmarshal(text, &bound); err != nil {
			d.t.Fatal(err)
		}
		d.GRPC, d.HTTP = bound.GRPC, bound.HTTP
		return true
	})
}

// Restart stops it and starts it again, on the addresses that it had.
func (d *Distributor) Restart() {
	d.t.Helper()
	d.stop()
	d.start()
}

// Run runs a command of waft against it.
func (d *Distributor) Run(args ...string) {
	d.t.Helper()
	cmd := exec.Command(d.waft, args...)
	cmd.Env = append(os.Environ(), "WAFT_SERVER="+d.GRPC)
	if d.secure {
		cmd.Env = append(cmd.Env, "WAFT_CA="+d.tls("ca.pem"), "WAFT_CERT="+d.tls("person-operator.pem"), "WAFT_KEY="+d.tls("person-operator.key"))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("waft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// run is Run of a command that speaks to the distributor.
func (d *Distributor) run(args ...string) {
	d.t.Helper()
	if !d.secure {
		args = append(args, "--insecure")
	}
	d.Run(args...)
}

func (d *Distributor) file(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// Give rolls out a release with these filters to all nodes.
func (d *Distributor) Give(filters ...string) {
	d.t.Helper()
	d.releases++
	var spec strings.Builder
	for _, name := range filters {
		fmt.Fprintf(&spec, "  - {name: %s, module: \"%s/filters/headers:1.0.0\", config: {response: [{op: set, name: x-release, value: \"%d\"}]}}\n", name, d.HTTP, d.releases)
	}
	list := " []\n"
	if len(filters) > 0 {
		list = "\n" + spec.String()
	}
	d.run("release", "create", "--reason", "interop", "-f", d.file("release.yaml",
		"apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: interop}\nspec:\n  filters:"+list))
	name := fmt.Sprintf("interop-%d", d.releases)
	d.run("rollout", "start", "--reason", "interop", "-f", d.file("rollout.yaml",
		"apiVersion: waft.dev/v1\nkind: Rollout\nmetadata: {name: "+name+"}\nspec:\n  release: interop\n  target: {selector: \"\", includeUnreported: true}\n"))
	phase := func(want string) func() bool {
		return func() bool {
			var r struct{ Status struct{ Phase string } }
			d.Get("rollouts/"+name, &r)
			return r.Status.Phase == want
		}
	}
	// Nothing can be proved of the nodes here, so it asks a person.
	Wait(d.t, name+" to pause", phase("Paused"))
	d.run("rollout", "promote", name, "--reason", "interop")
	Wait(d.t, name+" to end", phase("Done"))
}

// Node is what the distributor knows of a node.
type Node struct {
	Labels   map[string]string
	Presence string
	Ledger   struct{ State, Reason string }
}

// Node gives one that has been there.
func (d *Distributor) Node(id string) Node {
	d.t.Helper()
	var n Node
	d.Get("nodes/"+id, &n)
	return n
}

// Metric is what a metric counts, whatever its labels.
func (d *Distributor) Metric(name string) float64 {
	d.t.Helper()
	var sum float64
	for _, line := range strings.Split(string(d.read("/metrics")), "\n") {
		if of, value, ok := strings.Cut(line, " "); ok && (of == name || strings.HasPrefix(of, name+"{")) {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				d.t.Fatalf("%s: %v", line, err)
			}
			sum += n
		}
	}
	return sum
}

// Get reads what is at a path of the REST API, below /v1/.
func (d *Distributor) Get(path string, into interface{}) {
	d.t.Helper()
	if err := json.Unmarshal(d.read("/v1/"+path), into); err != nil {
		d.t.Fatal(err)
	}
}

// read is what is at a path of the HTTP port.
func (d *Distributor) read(path string) []byte {
	d.t.Helper()
	scheme, web := "http://", http.DefaultClient
	if d.secure {
		transport := &http.Transport{TLSClientConfig: d.client()}
		defer transport.CloseIdleConnections()
		scheme, web = "https://", &http.Client{Transport: transport}
	}
	resp, err := web.Get(scheme + d.HTTP + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		d.t.Fatalf("%s: %s", path, resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}
