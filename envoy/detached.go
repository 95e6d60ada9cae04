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
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(slices.Clip(cmd.Env), shapeVariable+"="+p.config.Shape)
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
		from = copyFrom(out, filepath.Join(p.config.Dir, logFile), from)
	}
	p.err = exitError(p.child.err, p.log)
	close(p.done)
}

// copyFrom copies what a file holds from a position on, and returns the position behind it. A file that is shorter than that was cut, and is
// read from its beginning. What cannot be read now is read later.
func copyFrom(to io.Writer, path string, from int64) int64 {
	file, err := os.Open(path)
	if err != nil {
		return from
	}
	defer func() { _ = file.Close() }() // read only
	if info, err := file.Stat(); err == nil && info.Size() < from {
		from = 0
	}
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return from
	}
	n, _ := io.Copy(to, file)
	return from + n
}

// shapeVariable is the variable of a detached Envoy's environment that holds ProcessConfig.Shape. It marks what was started here.
const shapeVariable = "WAFT_ENVOY_SHAPE"

// Left finds the Envoys that earlier processes started in config.Dir with Detached, and that still run; mostly none or one. The process
// table is asked, so nothing has to be written that could be lost, or be of another process. A process counts when its admin address lies in
// this very folder, in the file system that it sees itself: another container's folder may have the same name. It must be of this user, or of
// the folder's owner, and carry the mark of Detached. Others that name the folder are passed over, and passed is told why; nil: nobody is.
// Its log is read from now on. Of config, only Dir and Log count.
func Left(config ProcessConfig, passed func(pid int, why string)) ([]*Process, error) {
	found, err := findDetached(config.Dir, passed)
	if err != nil {
		return nil, err
	}
	var left []*Process
	for _, f := range found {
		p := newProcess(config)
		p.child, p.shape = f.child, f.shape
		var from int64
		if info, err := os.Stat(filepath.Join(config.Dir, logFile)); err == nil {
			from = info.Size()
		}
		go p.follow(from)
		left = append(left, p)
	}
	return left, nil
}

// Shape is the ProcessConfig.Shape with which a process was started that Left has found.
func (p *Process) Shape() string { return p.shape }

// found is a process that another one started, and its shape.
type found struct {
	child *child
	shape string
}

// adminFolder is the folder of an Envoy's admin address by its command line; empty: it is no command line of Start's.
func adminFolder(argv []string) string {
	at := slices.Index(argv, "--admin-address-path")
	if at < 0 || at+1 >= len(argv) || filepath.Base(argv[at+1]) != adminAddressFile {
		return ""
	}
	return filepath.Dir(argv[at+1])
}

// shapeOf is the shape in an environment; false: there is none, so that it is not of an Envoy that was started with Detached.
func shapeOf(environ []string) (string, bool) {
	for _, pair := range environ {
		if shape, ok := strings.CutPrefix(pair, shapeVariable+"="); ok {
			return shape, true
		}
	}
	return "", false
}
