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
func findDetached(dir string, passed func(pid int, why string)) ([]found, error) {
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
		if argv, err := procStrings(pid, "cmdline"); err != nil || adminFolder(argv) == "" {
			continue // ended meanwhile, or something else
		}
		f, why, err := hold(pid, folder)
		switch {
		case err != nil:
			return nil, fmt.Errorf("look for the Envoy of %s: %w", dir, err)
		case f != nil:
			all = append(all, *f)
		case why != "" && passed != nil:
			passed(pid, why)
		}
	}
	return all, nil
}

// hold gets hold of a process by its pidfd, and only then looks whether it is the folder's: pids are used again. Nil: it is not; why is empty
// when it does not even look like it.
func hold(pid int, folder os.FileInfo) (_ *found, why string, _ error) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, "", nil // gone
	}
	if why, err := stranger(pid, folder); why != "" || err != nil {
		if errors.Is(err, errUnlike) {
			err = nil
		}
		return nil, why, err
	}
	environ, err := procStrings(pid, "environ")
	if errors.Is(err, os.ErrPermission) {
		return nil, "", fmt.Errorf("pid %d %w", pid, errClosed)
	}
	shape, marked := shapeOf(environ)
	if err := process.WithHandle(func(uintptr) {}); err != nil {
		if process.Signal(syscall.Signal(0)) != nil {
			return nil, "", nil // gone
		}
		return nil, "", fmt.Errorf("hold pid %d: %w; Linux 5.4 or later is needed", pid, err)
	}
	if process.Signal(syscall.Signal(0)) != nil {
		return nil, "", nil // it ended meanwhile, and what was read may be another's
	}
	if !marked {
		return nil, "it was not started to outlive an agent: its environment has no " + shapeVariable, nil
	}
	c := &child{pid: pid, done: make(chan struct{}), found: process}
	go func() {
		c.err = errors.Join(errFound, process.WithHandle(awaitEnd))
		close(c.done)
	}()
	return &found{child: c, shape: shape}, "", nil
}

// errUnlike: a process does not look like an Envoy of the folder.
var errUnlike = errors.New("not of this folder")

// errClosed: a process looks like the folder's Envoy, is of this user, and cannot be looked into. To pass over it would be to start another
// one on the same port. No other user can bring it about.
var errClosed = errors.New("looks like the Envoy of this folder, and may not be looked into: it has capabilities that this process lacks; " +
	"end it, or run this with the same capabilities")

// stranger says why a process that looks like the Envoy of a folder is not. The name of its folder counts in the file system that the process
// sees: one in a container has its own.
func stranger(pid int, folder os.FileInfo) (why string, err error) {
	argv, err := procStrings(pid, "cmdline")
	path := adminFolder(argv)
	if err != nil || path == "" {
		return "", errUnlike
	}
	if !filepath.IsAbs(path) {
		cwd, err := os.Readlink(procPath(pid, "cwd"))
		if err != nil {
			return "", errUnlike
		}
		path = filepath.Join(cwd, path)
	}
	say := func(why string) (string, error) {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, folder) {
			return why, nil
		}
		return "", errUnlike
	}
	uid, err := uidOf(pid)
	if err != nil {
		return "", errUnlike // gone
	}
	// Whoever owns the folder may have started one there before this user, who is root then.
	if owner, ok := folder.Sys().(*syscall.Stat_t); uid != os.Geteuid() && (!ok || uid != int(owner.Uid)) {
		return say(fmt.Sprintf("it is of another user (uid %d)", uid))
	}
	if _, err := os.Stat(procPath(pid, "root")); errors.Is(err, os.ErrPermission) {
		if _, err := say("closed"); err != nil {
			return "", err
		}
		return "", fmt.Errorf("pid %d %w", pid, errClosed)
	}
	if info, err := statBelow(procPath(pid, "root"), path); err != nil || !os.SameFile(info, folder) {
		return say("the folder of that name in its own file system is another one, as in a container")
	}
	return "", nil
}

// uidOf is the real user of a process, as all may know it: its files in /proc are root's when it is not to be looked into.
func uidOf(pid int) (int, error) {
	text, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, err
	}
	uid, err := parseUID(string(text))
	if err != nil {
		return 0, fmt.Errorf("the status of pid %d %w", pid, err)
	}
	return uid, nil
}

// parseUID reads the real user out of a status (proc_pid_status(5)).
func parseUID(status string) (int, error) {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok && len(strings.Fields(ids)) > 0 {
			uid, err := strconv.ParseUint(strings.Fields(ids)[0], 10, 32)
			return int(uid), err
		}
	}
	return 0, errors.New("names no user")
}

// maxLinks is how many symbolic links are followed in a path, as in Linux.
const maxLinks = 40

// statBelow is os.Stat of an absolute path for which root is the root: a symbolic link to an absolute path stays below it. The kernel would
// follow such a link in /proc/PID/root from this process's own root.
func statBelow(root, path string) (os.FileInfo, error) {
	at, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0]) // ".." of the root is the root
		rest = rest[1:]
		info, err := os.Lstat(root + next)
		if err != nil {
			return nil, err
		}
		if info.Mode()&os.ModeSymlink == 0 || next == "/" {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, &os.PathError{Op: "stat", Path: path, Err: syscall.ELOOP}
		}
		to, err := os.Readlink(root + next)
		if err != nil {
			return nil, err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return os.Lstat(root + at)
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
	text, err := os.ReadFile(procPath(pid, name))
	if err != nil {
		return nil, err
	}
	return splitStrings(text), nil
}

// splitStrings are those that end in a zero byte each; empty ones are left out.
func splitStrings(text []byte) []string {
	return slices.DeleteFunc(strings.Split(string(text), "\x00"), func(s string) bool { return s == "" })
}

func procPath(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }
