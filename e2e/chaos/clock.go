package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// The clock of waft under test is the machine's, plus what a file says, in seconds. No source of waft knows of it: these texts are laid over those
// of package time and of command waft in the builds of runs alone (go build -overlay). So everything in the process reads it, etcd and gRPC too, and
// as with a clock that is set, what is measured between two moments of one process (the monotonic clock) has no jump in it.
const (
	// clockRead is the line of time.Now that reads the machine's clock, once in time.go; what follows it there.
	clockRead    = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {\n"
	clockInstead = "\tsec, nsec, mono := runtimeNow()\n\tsec += jumped.Load()\n\tif mono == 0 {\n"

	// clockSetter is a file more of package time.
	clockSetter = `package time

import "sync/atomic"

var jumped atomic.Int64

// Jump has Now be that many seconds ahead of the machine's clock.
func Jump(seconds int64) { jumped.Store(seconds) }
`
	// clockWatcher is a file more of command waft. It says in another file what it has read, so that a run knows from when on it holds.
	clockWatcher = `package main

import (
	"os"
	"strconv"
	"time"
)

func init() {
	path, last := os.Getenv("` + clockVariable + `"), int64(0)
	if path == "" {
		return
	}
	look := func() {
		text, err := os.ReadFile(path)
		if err != nil {
			return
		}
		seconds, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || seconds == last {
			return
		}
		time.Jump(seconds)
		last = seconds
		_ = os.WriteFile(path+"` + clockSeen + `", text, 0o600)
	}
	look()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			look()
		}
	}()
}
`
	clockVariable = "WAFT_CHAOS_CLOCK"
	clockSeen     = ".seen"
)

// Build builds waft with a clock that jumps into dir, and returns where. Replace are files of the checkout, by their paths, that are built as the
// texts say instead; nil: none. It builds nearly all of Go's library anew, which takes minutes the first time.
func Build(ctx context.Context, root, dir string, replace map[string]string) (string, error) {
	file, err := clockOverlay(ctx, root, dir, replace)
	if err != nil {
		return "", err
	}
	waft, err := build(ctx, root, dir, "-overlay", file)
	if err != nil {
		return "", fmt.Errorf("build waft with a clock that jumps: %w", err)
	}
	return waft, nil
}

// BuildPlain builds waft as it is, for schedules in which no clock jumps.
func BuildPlain(ctx context.Context, root, dir string) (string, error) { return build(ctx, root, dir) }

func build(ctx context.Context, root, dir string, flags ...string) (string, error) {
	waft := filepath.Join(dir, "waft")
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-ldflags", "-s -w"}, flags, []string{"-o", waft, "./cmd/waft"})...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return waft, nil
}

// clockOverlay writes, into dir, what is laid over the sources, and returns the file that says so to go build.
func clockOverlay(ctx context.Context, root, dir string, replace map[string]string) (string, error) {
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for its sources: %w", err)
	}
	timeDir := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time")
	source, err := os.ReadFile(filepath.Join(timeDir, "time.go"))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), clockRead); n != 1 {
		return "", fmt.Errorf("time.Now of this Go reads the machine's clock in another way (%d times %q): fit clockRead in e2e/chaos/clock.go to it", n, clockRead)
	}
	texts := map[string]string{
		filepath.Join(timeDir, "time.go"):                          strings.Replace(string(source), clockRead, clockInstead, 1),
		filepath.Join(timeDir, "jumped.go"):                        clockSetter,
		filepath.Join(root, "cmd", "waft", "chaos_clock_jumps.go"): clockWatcher,
	}
	for path, text := range replace {
		texts[filepath.Join(root, path)] = text
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for path, text := range texts {
		file := filepath.Join(dir, fmt.Sprintf("overlay-%d.go", len(overlay["Replace"])))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay["Replace"][path] = file
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}

// clock is that of one waft, which keeps it when it is started again. One fault at a time may use it.
type clock struct {
	path  string
	ahead time.Duration
	// fixed: the process is of a build whose clock does not jump.
	fixed bool
}

func newClock(dir, name string, fixed bool) *clock {
	return &clock{path: filepath.Join(dir, name+".clock"), fixed: fixed}
}

// on is a command line that runs argv, a waft of Build, by the clock.
func (c *clock) on(argv ...string) []string {
	// One process becomes the next, so signals reach argv itself.
	return append([]string{"env", clockVariable + "=" + c.path}, argv...)
}

// jump sets the clock by so much on or back, and waits until the process reads it so. How far it is ahead of the machine's is returned.
func (c *clock) jump(ctx context.Context, by time.Duration) (time.Duration, error) {
	if c.fixed {
		return c.ahead, fmt.Errorf("%w: this waft was not built with a clock that jumps", errImpossible)
	}
	if err := c.set(ctx, c.ahead+by); err != nil {
		return c.ahead, errors.Join(err, c.write(c.ahead))
	}
	c.ahead += by
	return c.ahead, nil
}

func (c *clock) set(ctx context.Context, ahead time.Duration) error {
	if err := c.write(ahead); err != nil {
		return err
	}
	const patience = 20 * time.Second
	return fleet.WaitFor(ctx, "the process to read another time, which only one that is built for it can", patience, func(context.Context) error {
		text, err := os.ReadFile(c.path + clockSeen)
		if err != nil || string(text) != seconds(ahead) {
			return fleet.NotYetf("it has read %q: %v", text, err)
		}
		return nil
	})
}

func (c *clock) write(ahead time.Duration) error {
	if err := os.WriteFile(c.path+".new", []byte(seconds(ahead)), 0o600); err != nil {
		return err
	}
	return os.Rename(c.path+".new", c.path)
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
