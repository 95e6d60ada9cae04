package envoy

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrNotLinux means that Envoys which outlive who started them are not to be had on this system: nothing here tells them from others.
var ErrNotLinux = errors.New("only on Linux can Envoy outlive the process that started it")

// errFound is how a process ended that was another one's child.
var errFound = errors.New("how is not known, since another process had started it")

// followInterval is how often the log file of a detached Envoy is read.
const followInterval = 25 * time.Millisecond

// detach starts cmd as a process that does not end with this one. It writes to file by itself: a pipe would break with this process.
func (p *Process) detach(cmd *exec.Cmd, file *os.File) (*Process, error) {
	if file == nil {
		return nil, errors.New("start Envoy: a detached one needs its log file")
	}
	defer func() { _ = file.Close() }() // Envoy has its own
	if err := ownSession(cmd); err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = file, file
	from, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if p.child, err = startChild(cmd); err != nil {
		return nil, err
	}
	go p.follow(from)
	return p, nil
}

// follow reads the log file from a position on until the process has ended, and then says that it has.
func (p *Process) follow(from int64) {
	out := p.out()
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ticker.C:
		case <-p.child.done:
			ended = true // once more: its last words
		}
		from += copyFrom(out, filepath.Join(p.config.Dir, logFile), from)
	}
	p.err = exitError(p.child.err, p.log)
	close(p.done)
}

// copyFrom copies what a file holds from a position on, and returns how much. What cannot be read now is read later.
func copyFrom(to io.Writer, path string, from int64) int64 {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }() // read only
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return 0
	}
	n, _ := io.Copy(to, file)
	return n
}

// Left finds the Envoys that earlier processes started in config.Dir with Detached, and that still run; mostly none or one. The process
// table is asked, so nothing has to be written that could be lost, or be of another process. Its log is read from now on. Of config, only
// Dir and Log count.
func Left(config ProcessConfig) ([]*Process, error) {
	found, err := findDetached(config.Dir)
	if err != nil {
		return nil, err
	}
	var left []*Process
	for _, f := range found {
		p := newProcess(config)
		p.child, p.environ = f.child, f.environ
		var from int64
		if info, err := os.Stat(filepath.Join(config.Dir, logFile)); err == nil {
			from = info.Size()
		}
		go p.follow(from)
		left = append(left, p)
	}
	return left, nil
}

// Variable is one of the environment of a process that Left has found; empty when it has none of that name.
func (p *Process) Variable(name string) string {
	for _, pair := range p.environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// found is a process that another one started, and its environment.
type found struct {
	child   *child
	environ []string
}

// detachedIn says whether a command line is that of an Envoy started in a folder.
func detachedIn(argv []string, folder os.FileInfo) bool {
	at := slices.Index(argv, "--admin-address-path")
	if at < 0 || at+1 >= len(argv) || filepath.Base(argv[at+1]) != adminAddressFile {
		return false
	}
	info, err := os.Stat(filepath.Dir(argv[at+1]))
	return err == nil && os.SameFile(info, folder)
}
