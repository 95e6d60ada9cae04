package envoy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// child is a started command with a process group of its own, which dies with this process unless it was detached.
type child struct {
	pid  int
	done chan struct{}
	err  error // of exec.Cmd.Wait; set before done is closed
	// found is set for a process that another one started: signals go to that very process, whatever has its number by now.
	found *os.Process
}

// startChild starts cmd. The caller reads err once done is closed.
func startChild(cmd *exec.Cmd) (*child, error) {
	cmd.WaitDelay = waitDelay
	if cmd.SysProcAttr == nil {
		ownGroup(cmd)
	}
	c := &child{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel tells the child of the death of the thread that started it, so that thread must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			c.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		if c.err = cmd.Wait(); errors.Is(c.err, exec.ErrWaitDelay) {
			c.err = nil // it ended well; only a grandchild still held its output
		}
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return c, nil
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *child) signal(signal syscall.Signal) error {
	if c.ended() {
		return nil
	}
	if c.found != nil {
		if err := c.found.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("send %s to Envoy (pid %d): %w", signal, c.pid, err)
		}
		return nil
	}
	if err := syscall.Kill(c.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to Envoy (pid %d): %w", signal, c.pid, err)
	}
	return nil
}

// kill ends the process group at once and waits until the child is gone.
func (c *child) kill() error {
	if c.ended() {
		return nil
	}
	if c.found != nil {
		err := c.signal(syscall.SIGKILL)
		if err == nil {
			<-c.done
		}
		return err
	}
	if err := syscall.Kill(-c.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill Envoy (process group %d): %w", c.pid, err)
	}
	<-c.done
	return nil
}
