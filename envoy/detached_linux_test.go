package envoy_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// detachVariable has the test's own program start a detached Envoy in the folder that it names, and end as by kill -9.
const detachVariable = "WAFT_TEST_DETACH"

// An Envoy that outlived who started it is found by its folder, says what it was started with, goes on writing its log, and ends when told.
func TestDetached(t *testing.T) {
	binary := envoytest.Binary(t, envoytest.Newest)
	if dir := os.Getenv(detachVariable); dir != "" {
		bootstrap, err := envoy.BootstrapConfig{
			NodeID: "n", Cluster: "c", Number: envoytest.Newest, Inline: true, Default: []envoy.WasmFilter{}, DirectResponse: &envoy.DirectResponse{Status: 200},
		}.Render()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := envoy.Start(t.Context(), binary, envoy.ProcessConfig{
			Dir: dir, Bootstrap: bootstrap, Detached: true, Shape: "round",
		}); err != nil {
			t.Fatal(err)
		}
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		_ = self.Kill() // nothing comes after it
		select {}
	}
	dir := t.TempDir()
	if left, err := envoy.Left(envoy.ProcessConfig{Dir: dir}, nil); err != nil || len(left) > 0 {
		t.Fatalf("%d Envoys in an empty folder, %v", len(left), err)
	}
	starter := exec.Command(os.Args[0], "-test.run", "^TestDetached$")
	starter.Env = append(os.Environ(), detachVariable+"="+dir)
	if out, err := starter.CombinedOutput(); err == nil || starter.ProcessState.ExitCode() >= 0 {
		t.Fatalf("the starter was not killed: %v\n%s", err, out)
	}
	find := func() *envoy.Process {
		t.Helper()
		left, err := envoy.Left(envoy.ProcessConfig{Dir: dir}, nil)
		if err != nil || len(left) != 1 {
			t.Fatalf("%d Envoys, %v", len(left), err)
		}
		return left[0]
	}
	p := find()
	t.Cleanup(func() { _ = p.Kill() })
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.Shape(); got != "round" {
		t.Errorf("its shape is %q", got)
	}
	if other := find(); other.PID() != p.PID() {
		t.Errorf("it is pid %d and pid %d", p.PID(), other.PID())
	}
	if err := os.Truncate(filepath.Join(dir, "envoy.log"), 0); err != nil { // as by logrotate's copytruncate
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); !errors.Is(err, envoy.ErrExited) {
		t.Errorf("it ended with %v", err)
	}
	if lines := strings.Join(p.Log().Lines(), "\n"); !strings.Contains(lines, "exiting") {
		t.Errorf("its last words are missing:\n%s", lines)
	}
	if left, err := envoy.Left(envoy.ProcessConfig{Dir: dir}, nil); err != nil || len(left) > 0 {
		t.Errorf("%d Envoys after its end, %v", len(left), err)
	}
}
