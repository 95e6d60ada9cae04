package chaos

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// A disk is seen by those who run on it and by this process, by nobody else; and it is full while it is filled, not longer.
func TestDisk(t *testing.T) {
	logs, dir := t.TempDir(), filepath.Join(t.TempDir(), "mounted")
	d, err := newDisk(t.Context(), logs, "n1", agentDisk, dir)
	if err != nil {
		t.Skip("the system lets nobody mount a disk: ", err)
	}
	defer d.close()
	argv := d.on("sh", "-c", `echo hello > "$1"`, "sh", filepath.Join(dir, "seen"))
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "seen")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is written on the disk is seen elsewhere: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(d.path(dir), "seen")); err != nil || string(text) != "hello\n" {
		t.Errorf("what is written on the disk is not seen: %q, %v", text, err)
	}
	write := func() error { return os.WriteFile(filepath.Join(d.path(dir), "more"), make([]byte, 1<<16), 0o600) }
	ctx, stop := context.WithCancel(t.Context())
	filled := make(chan error)
	go func() { filled <- d.fill(ctx, time.Hour) }()
	if err := fleet.WaitFor(t.Context(), "the disk to be full", time.Minute, func(context.Context) error {
		if err := write(); !errors.Is(err, syscall.ENOSPC) {
			_ = os.Remove(filepath.Join(d.path(dir), "more"))
			return fleet.NotYetf("%v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-filled; err != nil {
		t.Error(err)
	}
	if err := write(); err != nil {
		t.Errorf("after that: %v", err)
	}
}
