package envoy

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// How nice the threads are that load modules, where they share cores with those that serve requests. V8 compiles on as many threads as there
// are cores; at the same priority they took the workers' time for seconds. They still get a tenth of a core that is busy, and all of an idle one.
const (
	probeNice    = 10
	compilerNice = 10
	mainNice     = 10
)

// compilerThreads is how the names of V8's own threads begin in Envoy, as the kernel cuts them.
const compilerThreads = "V8 Defaul"

// workerThreads is how the names of those that serve requests begin.
const workerThreads = "wrk:"

// lowerProbe has a probe give way. Its threads inherit that; it is of no account when the first of them came before.
func lowerProbe(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, probeNice) }

// niceOf is how nice a thread is.
func niceOf(thread int) (int, error) {
	raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, thread)
	return 20 - raw, err // as the kernel gives it
}

// LowerMain has Envoy's main thread give way to those that serve requests, until restore. It is for the time in which it compiles: at other times
// the main thread's work (configuration, health checks, this interface) is not to wait for workers. Where this process may not raise a
// priority again, it does nothing.
func (p *Process) LowerMain() (restore func()) {
	nothing := func() {}
	was, err := niceOf(p.PID())
	if err != nil || was >= mainNice {
		return nothing
	}
	set := func(nice int) error { return syscall.Setpriority(syscall.PRIO_PROCESS, p.PID(), nice) }
	// One step, to see whether there is a way back.
	if set(was+1) != nil || set(was) != nil || set(mainNice) != nil {
		return nothing
	}
	return func() { _ = set(was) } // it was possible a moment ago, or the process has ended
}

// RestoreMain gives Envoy's main thread the priority that its workers have, which is what it was started with. It is for an Envoy whose main
// thread an earlier process had lowered, and then ended without restoring it. Where this process may not raise a priority, it stays.
func (p *Process) RestoreMain() error {
	workers, err := p.threads(workerThreads)
	if err != nil || len(workers) == 0 {
		return err // it has no workers yet: nobody has had it load anything
	}
	want, err := niceOf(workers[0])
	if err != nil {
		return fmt.Errorf("read the priority of Envoy's workers: %w", err)
	}
	if is, err := niceOf(p.PID()); err != nil || is <= want {
		return err
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, p.PID(), want); err != nil {
		return fmt.Errorf("restore the priority of Envoy's main thread (pid %d): %w", p.PID(), err)
	}
	return nil
}

// GiveWay has V8's own threads, which compile modules, give way to those that serve requests. V8 starts them with the first module, so it is for
// calling again while one is loaded. It may always be done to a process of one's own user.
func (p *Process) GiveWay() error {
	compilers, err := p.threads(compilerThreads)
	if err != nil {
		return err
	}
	for _, thread := range compilers {
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, thread, compilerNice); err != nil {
			return fmt.Errorf("lower the priority of Envoy's thread %d: %w", thread, err)
		}
	}
	return nil
}

// threads are the threads whose names begin so.
func (p *Process) threads(begins string) (found []int, err error) {
	tasks := filepath.Join("/proc", strconv.Itoa(p.PID()), "task")
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return nil, fmt.Errorf("list the threads of Envoy: %w", err)
	}
	for _, entry := range entries {
		name, err := os.ReadFile(filepath.Join(tasks, entry.Name(), "comm"))
		if err != nil || !strings.HasPrefix(string(name), begins) {
			continue // ended meanwhile, or another's
		}
		if thread, err := strconv.Atoi(entry.Name()); err == nil {
			found = append(found, thread)
		}
	}
	return found, nil
}
