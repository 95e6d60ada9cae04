package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names of the files that Start leaves in ProcessConfig.Dir.
const (
	bootstrapFile    = "bootstrap.json"
	adminAddressFile = "admin.address"
	logFile          = "envoy.log"
)

// pollInterval is how often a condition of a process that tells nobody (a file, its admin interface) is looked at.
const pollInterval = 10 * time.Millisecond

// stopGrace is how long Stop waits after SIGTERM when its context sets no nearer end.
const stopGrace = 10 * time.Second

// waitDelay is how long Wait goes on reading stderr after Envoy ended, if a grandchild still holds it.
const waitDelay = 2 * time.Second

// ErrExited means that Envoy has ended.
var ErrExited = errors.New("envoy has ended")

// ProcessConfig says how to run Envoy.
type ProcessConfig struct {
	// Dir is a folder for this process alone: its bootstrap, its admin address and its log. It must exist.
	Dir string
	// Bootstrap is written to Dir, readable by the owner only (it holds plugin configurations), when it is not nil.
	Bootstrap []byte
	// BootstrapPath is the file to start from when Bootstrap is nil.
	BootstrapPath string
	// Concurrency is the number of workers. Zero: 1.
	Concurrency int
	// LogLevel is Envoy's: trace, debug, info, warning, error, critical or off. Empty: info.
	LogLevel string
	// ComponentLogLevel sets levels by logger, as wasm:debug,config:trace. Empty: none.
	ComponentLogLevel string
	// Args are added to the command line; --concurrency, --log-level and --component-log-level in it win over the fields here.
	Args []string
	// Env is the environment. Nil: that of this process.
	Env []string
	// Log receives stderr as well, for as long as the process runs. Nil: nobody. Its errors are ignored.
	Log io.Writer
	// NoLogFile leaves out the file in Dir.
	NoLogFile bool
	// Detached has Envoy outlive this process: it gets a session of its own and writes its log itself, into the file in Dir. Left finds it
	// again. Only Linux has that; it does not go with NoLogFile.
	Detached bool
	// Shape says, in the words of who starts a detached Envoy, what it is started with; Process.Shape tells it to who finds it. Others of this
	// user can read it. It counts with Detached only.
	Shape string
}

// Process is a running Envoy, with a process group of its own. All methods may be used concurrently.
type Process struct {
	config  ProcessConfig
	log     *Log
	child   *child
	started time.Time
	shape   string        // of one that Left has found
	done    chan struct{} // closed after err is set and the log file is closed
	err     error
}

// Start starts Envoy and returns as soon as it runs; Ready waits until it serves. The process lives until Stop, not until ctx ends: ctx bounds the
// start only. It is killed when this process dies, so that none is left behind, unless it is Detached.
func Start(ctx context.Context, binary Binary, config ProcessConfig) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start Envoy: %w", err)
	}
	path := config.BootstrapPath
	if config.Bootstrap != nil {
		path = filepath.Join(config.Dir, bootstrapFile)
		if err := os.WriteFile(path, config.Bootstrap, 0o600); err != nil {
			return nil, fmt.Errorf("write Envoy's bootstrap: %w", err)
		}
	}
	if path == "" {
		return nil, errors.New("start Envoy: no bootstrap is given; set Bootstrap or BootstrapPath")
	}
	admin := filepath.Join(config.Dir, adminAddressFile)
	// One of an earlier run would be taken for this one's.
	if err := os.Remove(admin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the admin address of an earlier Envoy: %w", err)
	}

	p := newProcess(config)
	out := p.out()
	var file *os.File
	if !config.NoLogFile {
		var err error
		if file, err = os.OpenFile(filepath.Join(config.Dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return nil, fmt.Errorf("open Envoy's log: %w", err)
		}
	}

	args := []string{"-c", path, "--admin-address-path", admin}
	for _, flag := range []struct{ name, short, value string }{
		{"--concurrency", "", strconv.Itoa(max(1, config.Concurrency))},
		{"--log-level", "-l", config.LogLevel},
		{"--component-log-level", "", config.ComponentLogLevel},
	} {
		// Envoy refuses a flag that is given twice; the caller's own wins.
		if flag.value != "" && !given(config.Args, flag.name, flag.short) {
			args = append(args, flag.name, flag.value)
		}
	}
	if !given(config.Args, "--disable-hot-restart", "") && !given(config.Args, "--base-id", "") && !given(config.Args, "--use-dynamic-base-id", "") {
		args = append(args, "--disable-hot-restart") // no shared memory, so that several can run on one machine
	}
	cmd := exec.Command(binary.Path, append(args, config.Args...)...)
	cmd.Env = config.Env
	if config.Detached {
		return p.detach(cmd, file)
	}
	if file != nil {
		out.writers = append(out.writers, file)
	}
	cmd.Stdout, cmd.Stderr = out, out
	started, err := startChild(cmd)
	if err != nil {
		if file != nil {
			_ = file.Close() // the first error is the one that tells
		}
		return nil, err
	}
	p.child = started
	go func() {
		<-started.done
		p.err = exitError(started.err, p.log)
		if file != nil {
			_ = file.Close() // the log is a copy; how the process ended counts
		}
		close(p.done)
	}()
	return p, nil
}

func newProcess(config ProcessConfig) *Process {
	return &Process{config: config, log: new(Log), started: time.Now(), done: make(chan struct{})}
}

// out is who reads the log of the process, besides its file.
func (p *Process) out() *fanOut {
	out := &fanOut{[]io.Writer{p.log}}
	if p.config.Log != nil {
		out.writers = append(out.writers, p.config.Log)
	}
	return out
}

// given says whether args hold a flag, as --name VALUE, --name=VALUE or its short form.
func given(args []string, name, short string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		return arg == name || short != "" && arg == short || strings.HasPrefix(arg, name+"=")
	})
}

// PID is the process id.
func (p *Process) PID() int { return p.child.pid }

// Memory is how much of this machine's memory Envoy takes, in bytes; false where that cannot be read, such as after its end.
func (p *Process) Memory() (int64, bool) {
	used, ok := readUsage(p.PID())
	return used.memory, ok
}

// Started is when it was started; for one that Left has found, when it was found.
func (p *Process) Started() time.Time { return p.started }

// Log holds the last lines it wrote.
func (p *Process) Log() *Log { return p.log }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process, and says how it ended: nil for exit code 0, else an error that wraps ErrExited
// and carries the last words of its log. It returns ctx's error when ctx ends first.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Admin returns a client of its admin interface, as soon as Envoy has said where that is.
func (p *Process) Admin(ctx context.Context) (*Admin, error) {
	path := filepath.Join(p.config.Dir, adminAddressFile)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if address, err := os.ReadFile(path); err == nil && len(address) > 0 {
			return NewAdmin(strings.TrimSpace(string(address))), nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			return nil, p.ended()
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for Envoy's admin address: %w", ctx.Err())
		}
	}
}

// Ready waits until Envoy says that it is LIVE: all listeners have what they wait for. It returns at once with the reason
// when the process ends.
func (p *Process) Ready(ctx context.Context) error {
	admin, err := p.Admin(ctx)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := admin.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("wait for Envoy to be ready: %w; last answer: %w", ctx.Err(), err)
		}
	}
}

// ended is the error of a caller that needed the process to run.
func (p *Process) ended() error {
	if p.err == nil {
		return fmt.Errorf("%w (exit code 0)", ErrExited)
	}
	return p.err
}

// Signal sends a signal to the process, if it still runs.
func (p *Process) Signal(signal syscall.Signal) error { return p.child.signal(signal) }

// Stop asks Envoy to end (SIGTERM), and kills its whole process group when it has not ended after ten seconds or at the end
// of ctx, whichever comes first. It returns once the process is gone; calling it again is harmless.
func (p *Process) Stop(ctx context.Context) error {
	_ = p.Signal(syscall.SIGTERM) // what it does not obey, the kill below ends
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return p.Kill()
}

// Kill ends the process group at once and waits until the process is gone.
func (p *Process) Kill() error {
	if err := p.child.kill(); err != nil {
		return err
	}
	<-p.done
	return nil
}

// exitError turns the end of the process into an error that says why.
func exitError(err error, log *Log) error {
	if err == nil {
		return nil
	}
	if reasons := Reasons(log.Lines()); len(reasons) > 0 {
		return fmt.Errorf("%w: %w: %s", ErrExited, err, strings.Join(reasons, "; "))
	}
	return fmt.Errorf("%w: %w", ErrExited, err)
}

// fanOut writes to each of its writers, whatever becomes of the others: a full disk must not end Envoy's log in memory.
type fanOut struct{ writers []io.Writer }

func (f *fanOut) Write(p []byte) (int, error) {
	for _, w := range f.writers {
		_, _ = w.Write(p)
	}
	return len(p), nil
}
