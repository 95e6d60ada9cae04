package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// injector carries out faults. It may be used from any goroutine; a part has one fault at a time.
type injector struct {
	m    *machines
	load *load

	mu    sync.Mutex
	parts map[string]*sync.Mutex
	downs []Down
	done  []Injected
}

func (in *injector) part(f Fault) *sync.Mutex {
	name := string(f.Part)
	if f.Part != Distributor && f.Part != Registry {
		name = fmt.Sprintf("%s/%d", f.Part, f.Node)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.parts[name] == nil {
		in.parts[name] = new(sync.Mutex)
	}
	return in.parts[name]
}

// errImpossible is why a fault is void that nothing here can do, whenever it comes.
var errImpossible = errors.New("not possible here")

// inject carries out one fault and waits until it is over.
func (in *injector) inject(ctx context.Context, f Fault, inWave func() bool) {
	lock := in.part(f)
	lock.Lock()
	defer lock.Unlock()
	done := Injected{Fault: f, At: time.Now(), InWave: inWave()}
	var err error
	switch f.Part {
	case Distributor:
		if f.Kind == Jump {
			done.Ahead, err = in.m.jump(ctx, f.By)
			break
		}
		d := in.m.leader(ctx)
		done.At = time.Now()
		err = in.waft(ctx, f, d.unit, d.clock, d.disk, d.data, &done)
	case Registry:
		err = in.process(ctx, f, in.m.registry, "", &done)
	case EtcdMember:
		err = in.process(ctx, f, in.m.members[f.Node], "", &done)
	case Agent:
		n := in.m.nodes[f.Node]
		err = in.waft(ctx, f, n.agent, n.clock, n.disk, n.state, &done)
	case Envoy:
		n := in.m.nodes[f.Node]
		err = in.process(ctx, f, n.envoy, "", &done)
		in.recovered(ctx, n, done.At, f.String())
	case Network:
		n := in.m.nodes[f.Node]
		n.grpc.set(f.Kind)
		n.http.set(f.Kind)
		pause(ctx, f.For)
		n.grpc.set("")
		n.http.set("")
	}
	done.Until = time.Now()
	if err != nil {
		done.Void, done.Note, done.Impossible = true, err.Error(), errors.Is(err, errImpossible)
	}
	in.mu.Lock()
	in.done = append(in.done, done)
	in.mu.Unlock()
}

// waft does something to one process of waft, to its clock, to its disk, or to what it keeps there in dir.
func (in *injector) waft(ctx context.Context, f Fault, u *unit, c *clock, d *disk, dir string, done *Injected) (err error) {
	switch f.Kind {
	case Fill:
		return d.fill(ctx, f.For)
	case Jump:
		done.Ahead, err = c.jump(ctx, f.By)
		return err
	}
	return in.process(ctx, f, u, d.path(dir), done)
}

// process does something to one process, or to what it keeps in dir.
func (in *injector) process(ctx context.Context, f Fault, u *unit, dir string, done *Injected) error {
	if f.Kind != Corrupt {
		u.wait(ctx) // the fault before may have ended it
		done.At = time.Now()
	}
	switch f.Kind {
	case Kill:
		u.down()
		pause(ctx, f.For)
		u.up()
	case Freeze:
		if err := u.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		pause(ctx, f.For)
		return u.signal(syscall.SIGCONT)
	case Restart:
		p := u.process()
		if err := u.signal(syscall.SIGTERM); err != nil {
			return err
		}
		const patience = 20 * time.Second
		select {
		case <-p.Done():
		case <-ctx.Done():
		case <-time.After(patience):
			return fmt.Errorf("%s did not end within %s of SIGTERM", u.name, patience)
		}
	case Corrupt:
		path, err := corrupt(dir, f)
		done.Note = path
		return err
	}
	return nil
}

// recovered waits until a node's Envoy answers again, and notes the time in which it could not.
func (in *injector) recovered(ctx context.Context, n *node, from time.Time, why string) {
	over := time.Now()
	down := Down{Node: n.id, From: from, Why: why}
	for deadline := over.Add(downLimit); ctx.Err() == nil && time.Now().Before(deadline); pause(ctx, requestEvery) {
		if r := in.load.answered(n.id); r.Sent.After(over) {
			down.Until = r.Sent
			break
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.downs = append(in.downs, down)
}

// corrupt turns round some bytes in the middle of one of the blobs in a cache: what a disk does that loses its mind. Which one follows
// from the fault.
func corrupt(dir string, f Fault) (string, error) {
	var blobs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, "/blobs/sha256/") && !strings.Contains(path, "/docker/registry/") {
			blobs = append(blobs, path)
		}
		return nil // files come and go
	})
	if err != nil {
		return "", err
	}
	if len(blobs) == 0 {
		return "", fmt.Errorf("no blob is in %s yet", dir)
	}
	slices.Sort(blobs)
	path := blobs[int(f.After)%len(blobs)]
	short := strings.TrimPrefix(path, dir+"/")
	// The cache makes its files read-only, which is no obstacle for a disk.
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if os.IsPermission(err) {
		if err = os.Chmod(path, 0o600); err == nil {
			file, err = os.OpenFile(path, os.O_RDWR, 0)
		}
	}
	if err != nil {
		return short, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return short, err
	}
	some := make([]byte, 16)
	at := info.Size() / 2
	n, err := file.ReadAt(some, at)
	if n == 0 {
		return short, err
	}
	for i := range some[:n] {
		some[i] ^= 0xff
	}
	_, err = file.WriteAt(some[:n], at)
	return short, err
}

// pause waits, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
