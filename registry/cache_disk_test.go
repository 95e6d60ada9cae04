package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/waft-project/waft/registry"
)

// envNamespace is set in a test program that runs in a user namespace, where it may mount.
const envNamespace = "WAFT_TEST_IN_NAMESPACE"

// inNamespace runs the test again where it may mount a file system, as it may not here.
func inNamespace(t *testing.T, why error) {
	t.Helper()
	if os.Getenv(envNamespace) != "" {
		t.Skipf("no file system can be mounted, in a user namespace either: %v", why)
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), envNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no file system can be mounted here (%v), and no user namespace made: %v", why, err)
	case err != nil:
		t.Errorf("in a user namespace: %v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
}

// A disk that is full gives an error that says so, leaves nothing behind, and works again when there is room.
func TestFullDisk(t *testing.T) {
	const room = 1 << 20
	data := bytes.Repeat([]byte("x"), 2*room)
	small := []byte("some module")
	open := func(data []byte) registry.Opener {
		return func(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(data[offset:])), offset, nil
		}
	}
	try := func(t *testing.T, c *registry.Cache) {
		t.Helper()
		_, _, err := c.Put(t.Context(), descriptor(data), 1<<30, bytes.NewReader(data))
		checkKind(t, err, registry.ErrStorage)
		_, err = c.Fetch(t.Context(), descriptor(data), 1<<30, "here", nil, open(data))
		checkKind(t, err, registry.ErrStorage)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk is not full") {
			t.Errorf("it does not say that the disk is full: %v", err)
		}
		assertEmpty(t, c)
		if files, err := os.ReadDir(filepath.Join(c.Dir(), "partial")); err != nil || len(files) != 0 {
			t.Errorf("the disk is still full: %v, %v", files, err)
		}
		path, err := c.Fetch(t.Context(), descriptor(small), 1<<30, "here", nil, open(small))
		if err != nil {
			t.Fatalf("there is room for this one: %v", err)
		}
		wantFile(t, path, small)
	}
	t.Run("a real one", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", room)); err != nil {
			inNamespace(t, err)
			return
		}
		defer func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		}()
		c, err := registry.OpenCache(dir)
		if err != nil {
			t.Fatal(err)
		}
		try(t, c)
	})
	t.Run("an injected one", func(t *testing.T) {
		c := openCache(t)
		c.FailWritesAfter(room, syscall.ENOSPC)
		try(t, c)
	})
}

// smallDisk mounts a disk of the test's own. Where that is not allowed, the test runs again in a user namespace, and is over here: ok is false.
func smallDisk(t *testing.T) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", 8<<20)); err != nil {
		inNamespace(t, err)
		return "", false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil { // the caches that are open hold their locks
			t.Error(err)
		}
	})
	return dir, true
}

// pinnedOnAFullDisk has a program pin blob 0 in a folder, and end; the disk is full by then, until room is made.
func pinnedOnAFullDisk(t *testing.T, dir string) (digest registry.Digest, makeRoom func()) {
	t.Helper()
	data := processBlob(0)
	before, err := registry.OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := before.Put(t.Context(), descriptor(data), 1<<30, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	start(t, "pin", dir).kill(t)
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for piece := make([]byte, 1<<16); len(piece) > 0; {
		if _, err = filler.Write(piece); err != nil {
			piece = piece[:len(piece)/2]
		}
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return registry.DigestOf(data), func() {
		if err := os.Remove(filler.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// A program that ended is started again on a full disk: its cache opens, and what it pinned stays pinned, for the next one, too.
func TestFullDiskIsOpened(t *testing.T) {
	dir, ok := smallDisk(t)
	if !ok {
		return
	}
	digest, _ := pinnedOnAFullDisk(t, dir)
	for range 2 {
		c, err := registry.OpenCache(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Path(digest); err != nil {
			t.Error(err)
		}
		if _, err := c.Trim(0); err != nil {
			t.Error(err)
		}
		if !c.Pinned(digest) {
			t.Error("it is not pinned")
		}
		if _, err := c.Path(digest); err != nil {
			t.Errorf("after room was made: %v", err)
		}
	}
}

// The pins that could not be taken over on a full disk are as soon as there is room and the program pins what it needs, be it the same: they are let go of with it then.
func TestPinsAreTakenOverWhenThereIsRoom(t *testing.T) {
	dir, ok := smallDisk(t)
	if !ok {
		return
	}
	digest, makeRoom := pinnedOnAFullDisk(t, dir)
	c, err := registry.OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	pin := func(digests ...registry.Digest) {
		t.Helper()
		if err := c.Pin("serving", digests...); err != nil {
			t.Fatal(err)
		}
	}
	files := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "pins", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	before := files()
	pin(digest)
	if now := files(); len(before) != 1 || !slices.Equal(now, before) {
		t.Errorf("on a full disk pins are in %q, and then in %q", before, now)
	}
	makeRoom()
	pin(digest)
	if now := files(); len(now) != 1 || slices.Equal(now, before) {
		t.Errorf("pins are in %q, and then in %q: they were not taken over", before, now)
	}
	if _, err := c.Trim(0); err != nil {
		t.Error(err)
	}
	if _, err := c.Path(digest); err != nil {
		t.Errorf("it is pinned: %v", err)
	}
	pin(registry.DigestOf([]byte("another")))
	if freed, err := c.Trim(0); err != nil || freed != int64(len(processBlob(0))) {
		t.Errorf("nobody pins it: %d bytes are freed (%v)", freed, err)
	}
}

// However little room there is, there is the whole of a blob or nothing, and of pins what stood there before.
func TestFullAtAnyByte(t *testing.T) {
	data := bytes.Repeat([]byte("module"), 20)
	before, after := registry.DigestOf([]byte("before")), registry.DigestOf([]byte("after"))
	want := descriptor(data)
	took := map[string][]int{}
	for room := 0; room <= 200; room += 5 {
		c := openCache(t)
		if err := c.Pin("serving", before); err != nil {
			t.Fatal(err)
		}
		c.FailWritesAfter(room, syscall.ENOSPC)
		outcome := func(what string, err error) {
			t.Helper()
			if err == nil {
				took[what] = append(took[what], room)
				return
			}
			checkKind(t, err, registry.ErrStorage)
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s with room for %d bytes: %v", what, room, err)
			}
			assertEmpty(t, c)
			if files, err := os.ReadDir(filepath.Join(c.Dir(), "partial")); err != nil || len(files) != 0 {
				t.Errorf("%s with room for %d bytes leaves %v, %v", what, room, files, err)
			}
		}
		_, _, err := c.Put(t.Context(), want, limit, bytes.NewReader(data))
		outcome("put", err)
		if err == nil {
			if _, err := c.Remove(want.Digest); err != nil {
				t.Fatal(err)
			}
		}
		path, err := c.Fetch(t.Context(), want, limit, "here", nil, func(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(data[offset:])), offset, nil
		})
		outcome("fetch", err)
		if err == nil {
			wantFile(t, path, data)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		err = c.Pin("serving", after)
		outcome("pin", err)
		other, oerr := registry.OpenCache(c.Dir())
		if oerr != nil {
			t.Fatal(oerr)
		}
		if !c.Pinned(after) || other.Pinned(after) != (err == nil) || other.Pinned(before) != (err != nil) {
			t.Errorf("with room for %d bytes pins became %v %v (%v)", room, other.Pinned(before), other.Pinned(after), err)
		}
		// There is room again.
		c.FailWritesAfter(1<<30, nil)
		if _, _, err := c.Put(t.Context(), want, limit, bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
	}
	for _, what := range []string{"put", "fetch", "pin"} {
		if n := len(took[what]); n == 0 || n == 41 {
			t.Errorf("%s had room %d times of 41: nothing was tried", what, n)
		}
	}
}

// What is written is on the disk before it has its name, and its name before anybody is told that it is there.
func TestWritesAreSynced(t *testing.T) {
	data := []byte("some module")
	want := descriptor(data)
	open := func(context.Context, int64) (io.ReadCloser, int64, error) {
		return io.NopCloser(bytes.NewReader(data)), 0, nil
	}
	fetch := func(c *registry.Cache) error {
		_, err := c.Fetch(t.Context(), want, limit, "here", nil, open)
		return err
	}
	put := func(c *registry.Cache) error {
		_, _, err := c.Put(t.Context(), want, limit, bytes.NewReader(data))
		return err
	}
	pin := func(c *registry.Cache) error { return c.Pin("serving", want.Digest) }
	for _, tc := range []struct {
		name  string
		do    func(*registry.Cache) error
		files string // where the file is that gets a name
		from  string // the folder in which it is synced
	}{{"a download", fetch, "blobs/sha256/*", "partial"}, {"a put", put, "blobs/sha256/*", "tmp"}, {"pins", pin, "pins/*.json", "tmp"}} {
		named := func(c *registry.Cache) bool {
			files, err := filepath.Glob(filepath.Join(c.Dir(), tc.files))
			if err != nil {
				t.Fatal(err)
			}
			return len(files) > 0
		}
		t.Run(tc.name, func(t *testing.T) {
			c := openCache(t)
			var order []string
			c.OnFlush(func(path string) error {
				rel, err := filepath.Rel(c.Dir(), path)
				if err != nil {
					return err
				}
				if info, err := os.Stat(path); err == nil && !info.IsDir() {
					rel = filepath.Dir(rel) + "/"
				}
				order = append(order, fmt.Sprint(rel, " ", named(c)))
				return nil
			})
			if err := tc.do(c); err != nil {
				t.Fatal(err)
			}
			if want := []string{tc.from + "/ false", filepath.Dir(tc.files) + " true"}; !slices.Equal(order, want) {
				t.Errorf("synced %q (and whether the file had its name); want %q", order, want)
			}
		})
		t.Run(tc.name+" on a disk that does not keep it", func(t *testing.T) {
			for failing, there := range []bool{false, true} { // of the file, and of the folder
				c := openCache(t)
				n := 0
				c.OnFlush(func(string) error {
					if n++; n == failing+1 {
						return syscall.EIO
					}
					return nil
				})
				err := tc.do(c)
				checkKind(t, err, registry.ErrStorage)
				// A name that may be lost again is no harm: what it names is whole.
				if !errors.Is(err, syscall.EIO) || named(c) != there {
					t.Errorf("sync %d failed: %v; the file is there: %v", failing+1, err, named(c))
				}
			}
		})
	}
}
