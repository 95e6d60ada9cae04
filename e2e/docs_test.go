package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// pageLimit is how long one page's commands may take, on a busy machine.
const pageLimit = 8 * time.Minute

// Every block of commands (```sh) in the README and in docs/ works as written, in the order of its page, from the root of
// the checkout. Blocks without a language are not run: the two commands of "Try it" are what runs this test.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, page := range append([]string{filepath.Join(root, "README.md")}, pages...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		script := commands(string(text))
		if script == "" {
			continue
		}
		ran[filepath.Base(page)] = true
		t.Run(filepath.Base(page), func(t *testing.T) {
			reservePorts(t)
			runPage(t, script)
		})
	}
	// What these explain is shown by commands, or it is a claim.
	for _, page := range []string{"README.md", "dialects.md", "cluster.md", "backup.md", "security.md", "access.md", "roll-out.md"} {
		if !ran[page] {
			t.Errorf("%s has no commands that ran", page)
		}
	}
}

// etcdVariable tells the test binary, started again as a child, to be etcd.
const etcdVariable = "WAFT_E2E_ETCD_PROGRAM"

// programs are a folder with the programs that pages take from the PATH: an Envoy, and an etcd, which is this test.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(envoyBinary, filepath.Join(dir, "envoy")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etcd"), fmt.Appendf(nil, "#!/bin/sh\n%s=1 exec %q \"$@\"\n", etcdVariable, self), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// documentedPorts are those that pages use. They are the defaults, as a user would have them, so a machine has them once.
var documentedPorts = []string{"2379", "2380", "7070", "7071", "7072", "7170", "7171", "7172", "8080", "8081", "9901", "9902", "10000", "10001", "22379", "22380", "32379", "32380"}

// reservePorts waits until no other run of these pages, of another checkout perhaps, is under way, and fails when
// something else listens on a port that pages use: a page would talk to that, and not to what it has started.
func reservePorts(t *testing.T) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "waft-documented-ports.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	err = fleet.WaitFor(t.Context(), "the ports of the pages", pageLimit, func(context.Context) error {
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return fleet.NotYetf("another run of the pages has them: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range documentedPorts {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("%v; stop what listens there, the page needs it", err)
		}
		_ = l.Close()
	}
}

// commands are the ```sh blocks of a page, one after the other.
func commands(page string) string {
	var script strings.Builder
	inside := false
	for line := range strings.Lines(page) {
		switch {
		case strings.TrimSpace(line) == "```sh":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && strings.HasPrefix(line, "! "):
			// A shell goes on after a command that was to fail and did not, whatever its flags.
			fmt.Fprintf(&script, "if %s; then echo 'this was to fail' >&2; exit 1; fi\n", strings.TrimSpace(line[2:]))
		case inside:
			script.WriteString(line)
		}
	}
	return script.String()
}

func TestCommandsThatAreToFail(t *testing.T) {
	for line, works := range map[string]bool{"! false": true, "! true": false, "true": true, "false": false} {
		script := commands("```sh\n" + line + "\necho end\n```\n")
		if err := exec.Command("bash", "-euo", "pipefail", "-c", script).Run(); (err == nil) != works {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// runPage runs a page's commands in a process group of their own. What a page starts in the background is stopped when its
// last command has ended. Files that the commands write into the checkout are ignored by git.
func runPage(t *testing.T, script string) {
	ctx, cancel := context.WithTimeout(t.Context(), pageLimit)
	defer cancel()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "PATH="+programs(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
	// A file, not a pipe: Wait must not wait for the background processes to close it.
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	stopGroup(cmd.Process.Pid)
	if err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Errorf("%v\n%s", err, text)
	}
}

// stopGroup ends a process group: gently, so that an agent stops its Envoy, then for good.
func stopGroup(leader int) {
	_ = syscall.Kill(-leader, syscall.SIGTERM)
	for range 100 {
		if errors.Is(syscall.Kill(-leader, 0), syscall.ESRCH) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	_ = syscall.Kill(-leader, syscall.SIGKILL)
}
