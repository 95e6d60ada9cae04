package envoy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession gives a command a session, and so a process group, of its own: no terminal's end reaches it.
func ownSession(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return nil
}

// findDetached finds the Envoys that were started in a folder and were not killed with who started them.
func findDetached(dir string) ([]found, error) {
	folder, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look for the Envoy of %s: %w", dir, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for the Envoy of %s: %w", dir, err)
	}
	var all []found
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		argv, err := procStrings(pid, "cmdline")
		if err != nil || !detachedIn(argv, folder) {
			continue // ended meanwhile, or another's
		}
		f, err := hold(pid, folder)
		if err != nil {
			return nil, fmt.Errorf("look for the Envoy of %s: %w", dir, err)
		}
		if f != nil {
			all = append(all, *f)
		}
	}
	return all, nil
}

// hold gets hold of a process by its pidfd, and looks once more whether it is what it looked like: pids are used again. Nil: it is not.
func hold(pid int, folder os.FileInfo) (*found, error) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, nil // gone
	}
	if err := process.WithHandle(func(uintptr) {}); err != nil {
		if process.Signal(syscall.Signal(0)) != nil {
			return nil, nil // gone
		}
		return nil, fmt.Errorf("hold pid %d: %w; Linux 5.4 or later is needed", pid, err)
	}
	argv, err := procStrings(pid, "cmdline")
	if err != nil || !detachedIn(argv, folder) {
		return nil, nil
	}
	environ, err := procStrings(pid, "environ")
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("pid %d is an Envoy of another user's; stop it, or run as that user: %w", pid, err)
	}
	if process.Signal(syscall.Signal(0)) != nil {
		return nil, nil // it ended meanwhile, and what was read may be another's
	}
	c := &child{pid: pid, done: make(chan struct{}), found: process}
	go func() {
		c.err = errors.Join(errFound, process.WithHandle(awaitEnd))
		close(c.done)
	}()
	return &found{child: c, environ: environ}, nil
}

// awaitEnd returns once the process of a pidfd has ended; it need not be a child.
func awaitEnd(pidfd uintptr) {
	for {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func procStrings(pid int, name string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Split(string(text), "\x00"), func(s string) bool { return s == "" }), nil
}
