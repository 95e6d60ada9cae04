package chaos

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// unit is one process that is started again whenever it ends, as a service manager would, but while a fault holds it down. It may
// be used from any goroutine.
type unit struct {
	name, dir string
	argv      []string

	mu      sync.Mutex
	changed *sync.Cond
	p       *fleet.Process
	held    bool
	over    bool
	starts  int
	err     error
	loop    sync.WaitGroup
}

// restartPause is what a service manager waits before it starts a process again.
const restartPause = 200 * time.Millisecond

func startUnit(dir, name string, argv ...string) *unit {
	u := &unit{name: name, dir: dir, argv: argv}
	u.changed = sync.NewCond(&u.mu)
	u.loop.Go(u.keep)
	return u
}

func (u *unit) keep() {
	for {
		u.mu.Lock()
		for u.held && !u.over {
			u.changed.Wait()
		}
		if u.over {
			u.mu.Unlock()
			return
		}
		p, err := fleet.StartProcess(u.dir, u.name, u.argv...)
		if err != nil {
			u.err, u.over = err, true
			u.changed.Broadcast()
			u.mu.Unlock()
			return
		}
		u.p = p
		u.starts++
		u.changed.Broadcast()
		u.mu.Unlock()
		<-p.Done()
		time.Sleep(restartPause)
	}
}

// process is the one that runs, or ran last.
func (u *unit) process() *fleet.Process {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.p == nil && !u.over {
		u.changed.Wait()
	}
	return u.p
}

func (u *unit) hold(held bool) {
	u.mu.Lock()
	u.held = held
	u.changed.Broadcast()
	u.mu.Unlock()
}

// wait waits until the process runs, since one that has just ended is started again; for no longer than it takes.
func (u *unit) wait(ctx context.Context) {
	const patience = 5 * time.Second
	for deadline := time.Now().Add(patience); ctx.Err() == nil && time.Now().Before(deadline); pause(ctx, restartPause/4) {
		if p := u.process(); p != nil && !p.Ended() {
			return
		}
	}
}

// signal sends one, and says whether there was a process to take it.
func (u *unit) signal(s syscall.Signal) error {
	p := u.process()
	if p == nil || p.Ended() {
		return fmt.Errorf("%s is not running", u.name)
	}
	return p.Signal(s)
}

// down kills the process and keeps it from being started again until up.
func (u *unit) down() {
	u.hold(true)
	if p := u.process(); p != nil {
		p.Kill()
	}
}

func (u *unit) up() { u.hold(false) }

// stop ends the process for good.
func (u *unit) stop() {
	u.mu.Lock()
	u.over = true
	p := u.p
	u.changed.Broadcast()
	u.mu.Unlock()
	if p != nil {
		_ = p.Signal(syscall.SIGCONT)
		p.Stop()
	}
	u.loop.Wait()
}
