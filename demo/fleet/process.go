package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// stopGrace is how long a process may take to end after SIGTERM before it is killed. An agent drains its Envoy first.
	stopGrace = 10 * time.Second
	// logTail is how much of a process's log an error shows, in bytes.
	logTail = 4 << 10
)

// Process is a child that this fleet started, and so may stop.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error
}

// StartProcess runs argv with its output at the end of dir/name.log. The child leads a process group, so that stopping it
// reaches what it started itself.
func StartProcess(dir, name string, argv ...string) (*Process, error) {
	logPath := filepath.Join(dir, name+".log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer logFile.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, log: logPath, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Stop ends the process: SIGTERM, and after stopGrace SIGKILL to its whole group.
func (p *Process) Stop() {
	if p.Ended() {
		// Its children may have outlived it.
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Kill ends the process at once, as a crash would: SIGKILL to it alone, so that what it started itself lives on.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is the file that its output goes to.
func (p *Process) Log() string { return p.log }

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Failure describes a process that ended although it should not have, with the end of its log.
func (p *Process) Failure() error {
	return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, p.tail())
}

func (p *Process) tail() []byte {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	if len(text) > logTail {
		text = text[len(text)-logTail:]
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
	}
	return text
}

const (
	// pollEvery is how long it is until a condition outside this process is looked at again, where a look is quick.
	pollEvery = 50 * time.Millisecond
	// pollRest is how many times as long as a look took it is otherwise, up to pollMost: a look that starts a program, one after the other,
	// would keep the processor from what is waited for.
	pollRest = 2
	pollMost = time.Second
)

// WaitFor looks at a condition until it holds. An error from check that is not ErrNotYet ends the wait.
func WaitFor(ctx context.Context, what string, limit time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		looked := time.Now()
		err := check(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrNotYet) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: still not so after %s: %w", what, limit, err)
		case <-time.After(min(max(pollEvery, pollRest*time.Since(looked)), pollMost)):
		}
	}
}

// ErrNotYet says that the condition may still come true.
var ErrNotYet = errors.New("not yet")

// NotYetf is an ErrNotYet with the reason.
func NotYetf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotYet, fmt.Sprintf(format, args...))
}
