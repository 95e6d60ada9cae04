package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// disk is a small disk of a process's own: a tmpfs in a mount namespace, which only the processes that are started in it see. A user namespace
// gives the right to mount it. The nil disk is a folder like any other, where the system has neither.
type disk struct {
	dir string
	// holder keeps the namespace: it sleeps.
	holder *fleet.Process
}

const (
	// agentDisk is room for the modules of a run, twice over; distributorDisk for what etcd takes beforehand, too.
	agentDisk       = "96m"
	distributorDisk = "320m"
	// fillPiece is what is written at once to fill a disk.
	fillPiece = 1 << 20
)

// newDisk mounts a disk at dir. The error says what the system does not have.
func newDisk(ctx context.Context, logs, name, size, dir string) (*disk, error) {
	for _, program := range []string{"unshare", "nsenter", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ready := filepath.Join(logs, name+".mounted")
	p, err := fleet.StartProcess(logs, name+".disk", "unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=`+size+`,mode=0700 tmpfs "$1" && : > "$2" && exec sleep 1000000`, "sh", dir, ready)
	if err != nil {
		return nil, err
	}
	d := &disk{dir: dir, holder: p}
	err = fleet.WaitFor(ctx, name+" to have a disk", startLimit, func(context.Context) error {
		if p.Ended() {
			return p.Failure()
		}
		if _, err := os.Stat(ready); err != nil {
			return fleet.NotYetf("%v", err)
		}
		return nil
	})
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// on is a command line that runs argv where the disk is seen.
func (d *disk) on(argv ...string) []string {
	if d == nil {
		return argv
	}
	// One process becomes the next, so signals reach argv itself.
	return append([]string{"nsenter", "--preserve-credentials", "--user", "--mount", "--target", fmt.Sprint(d.holder.PID()), "--"}, argv...)
}

// path is where this process finds the disk.
func (d *disk) path(dir string) string {
	if d == nil {
		return dir
	}
	return fmt.Sprintf("/proc/%d/root%s", d.holder.PID(), d.dir)
}

// fill takes all the room there is, for some time.
func (d *disk) fill(ctx context.Context, length time.Duration) error {
	if d == nil {
		return fmt.Errorf("%w: it has no disk of its own, since the system lets nobody mount one", errImpossible)
	}
	path := filepath.Join(d.path(""), "filler")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer f.Close()
	deadline := time.Now().Add(length)
	for piece := make([]byte, fillPiece); ctx.Err() == nil; {
		if _, err := f.Write(piece); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				return err
			}
			if len(piece) > 1 {
				piece = piece[:len(piece)/2]
				continue
			}
			break
		}
	}
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at == 0 {
		return fmt.Errorf("%d bytes filled it: %v", at, err)
	}
	pause(ctx, time.Until(deadline))
	return nil
}

func (d *disk) close() {
	if d != nil {
		d.holder.Stop()
	}
}
