package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoLimit is how long the demo may take, on a busy machine.
const demoLimit = 8 * time.Minute

// The demo holds what it says, prints it as its last line, and leaves nothing behind.
func TestDemo(t *testing.T) {
	temporary := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, waftBinary, "demo", "-o", "json", "--envoy", envoyBinary)
	// Where its time is over it ends what it started; killed, it would leave Envoys under load behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errors.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var result struct {
		OK                     bool  `json:"ok"`
		Envoys                 int   `json:"envoys"`
		Requests               int64 `json:"requests"`
		FailedRequests         int64 `json:"failed_requests"`
		FailedOnBadNode        int64 `json:"failed_on_bad_node"`
		BadReleaseNodesReached int   `json:"bad_release_nodes_reached"`
		RolledBack             bool  `json:"rolled_back"`
		UnloadableNodesReached int   `json:"unloadable_nodes_reached"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &result); err != nil {
		t.Fatalf("the last line is no object: %v\n%s", err, out)
	}
	if !result.OK || result.Envoys != 4 || result.Requests < 2000 || result.FailedRequests != 0 || result.FailedOnBadNode == 0 ||
		result.BadReleaseNodesReached != 1 || !result.RolledBack || result.UnloadableNodesReached != 0 {
		t.Errorf("%+v\n%s", result, out)
	}
	nothingLeft(t, temporary)
}

// Interrupting the demo leaves no process and no file behind either.
func TestDemoInterrupted(t *testing.T) {
	onlyInFull(t)
	temporary := t.TempDir()
	cmd := exec.Command(waftBinary, "demo", "--envoy", envoyBinary)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Interrupted while Envoys are being started: the step before that has been printed by then.
	seen := &strings.Builder{}
	buffer := make([]byte, 4096)
	for !strings.Contains(seen.String(), "Moving") {
		n, err := out.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil {
			t.Fatalf("%v\n%s", err, seen)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = out.Read(buffer)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted demo ended well")
	}
	nothingLeft(t, temporary)
}

// nothingLeft checks that no file is left in the folder that the demo had for temporary files, and that no process runs
// that was started from there.
func nothingLeft(t *testing.T, temporary string) {
	t.Helper()
	left, err := os.ReadDir(temporary)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left behind", entry.Name())
	}
	copies, err := filepath.Glob(filepath.Join(root, ".cache", "demo-*"))
	if err != nil || len(copies) > 0 {
		t.Errorf("%q are left behind, %v", copies, err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		// A process that ended meanwhile is none that is left.
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), temporary) {
			t.Errorf("still runs: %s", strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
}
