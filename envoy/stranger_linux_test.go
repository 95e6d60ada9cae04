package envoy_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waft-project/waft/envoy"
)

// standIn is the command of a process that looks like an Envoy of a folder. It runs a script first, says that it runs, and ends with its
// standard input.
func standIn(admin, script string) *exec.Cmd {
	return exec.Command("/bin/sh", "-c", "set -e; "+script+"\necho runs; read line", "envoy", "--admin-address-path", admin)
}

// A process that names the folder and is not the Envoy that was started there to outlive its agent is neither found nor ended: one in a
// container, whose folder only has the same name; one of another user; one that something else started. One that sees the same folder
// from another mount namespace, as each start of a unit of systemd's has one, is.
func TestOthersThatNameTheFolder(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "envoy")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(folder, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	const marked = "WAFT_ENVOY_SHAPE=round"
	namespace := func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	for _, test := range []struct {
		name    string
		mounted bool // a file system of its own over the folder
		named   string
		env     string
		attr    *syscall.SysProcAttr
		root    bool   // only root can make it
		says    string // why it is passed over; empty: it is found
	}{
		{name: "ours", env: marked},
		{name: "ours, in a mount namespace of its own", env: marked, attr: namespace()},
		{name: "ours, through a symbolic link", named: "link", env: marked},
		{name: "in a container", mounted: true, env: marked, attr: namespace(), says: "another one"},
		{name: "in a container, through a symbolic link", mounted: true, named: "link", env: marked, attr: namespace(), says: "another one"},
		{name: "of another user", env: marked, root: true, attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, says: "uid 65534"},
		{name: "started by something else", env: "OTHER=round", says: "WAFT_ENVOY_SHAPE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.root && os.Geteuid() != 0 {
				t.Skip("only root can start a process of another user")
			}
			if _, err := exec.LookPath("mount"); test.mounted && err != nil {
				t.Skipf("no file system can be mounted: %v", err)
			}
			if test.named == "" {
				test.named = "envoy"
			}
			script := ""
			if test.mounted {
				script = `mount -t tmpfs none "$FOLDER"; mkdir "$FOLDER/envoy"; ln -s "$FOLDER/envoy" "$FOLDER/link"`
			}
			cmd := standIn(filepath.Join(dir, test.named, "admin.address"), script)
			cmd.Env = append(os.Environ(), test.env, "FOLDER="+dir)
			cmd.Stderr = os.Stderr
			cmd.Dir = "/" // one that all may enter
			cmd.SysProcAttr = test.attr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				if test.attr != nil {
					t.Skipf("no user namespace can be made here: %v", err)
				}
				t.Fatal(err)
			}
			defer func() {
				_ = in.Close()
				_ = cmd.Wait()
			}()
			if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "runs" {
				t.Fatalf("the stand-in says %q, %v", line, err)
			}
			var reasons []string
			left, err := envoy.Left(envoy.ProcessConfig{Dir: folder}, func(pid int, why string) {
				if pid == cmd.Process.Pid {
					reasons = append(reasons, why)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if test.says == "" {
				if len(left) != 1 || left[0].PID() != cmd.Process.Pid || left[0].Shape() != "round" || len(reasons) > 0 {
					t.Errorf("%d found, passed over for %q", len(left), reasons)
				}
				return
			}
			if len(left) != 0 || len(reasons) != 1 || !strings.Contains(reasons[0], test.says) {
				t.Errorf("%d found, passed over for %q, want %q", len(left), reasons, test.says)
			}
		})
	}
}
