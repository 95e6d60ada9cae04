package registry_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/waft-project/waft/registry"
)

// These tests run this test program again as other processes that share a cache's folder.

const (
	envRole = "WAFT_TEST_CACHE_ROLE"
	envDir  = "WAFT_TEST_CACHE_DIR"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		if err := child(role, os.Getenv(envDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// processBlob is a blob that children write, different for each i.
func processBlob(i int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "blob %d ", i), 1+(3<<20)/8)
}

// child is what another process does. It says "ready" on its standard output when it has come to where it is to be seen.
func child(role, dir string) error {
	if role == "asks" {
		return ask(dir)
	}
	c, err := registry.OpenCache(dir)
	if err != nil {
		return err
	}
	data := processBlob(0)
	want := registry.Descriptor{Digest: registry.DigestOf(data), Size: int64(len(data))}
	ready := func() { fmt.Println("ready") }
	await := func() { _, _ = io.Copy(io.Discard, os.Stdin) } // until it is told to end, or killed
	switch role {
	case "pin":
		if err := c.Pin("serving", want.Digest); err != nil {
			return err
		}
		ready()
		await()
	case "half a download":
		_, err = c.Fetch(context.Background(), want, 1<<30, "here", nil, func(context.Context, int64) (io.ReadCloser, int64, error) {
			half := bytes.NewReader(data[:len(data)/2])
			return io.NopCloser(io.MultiReader(half, &stuck{ready: ready, await: await})), 0, nil
		})
		return err
	case "writes for ever":
		ready()
		for i := 0; ; i++ {
			data := processBlob(i % 8)
			if _, _, err := c.Put(context.Background(), registry.Descriptor{Digest: registry.DigestOf(data)}, 1<<30, bytes.NewReader(data)); err != nil {
				return err
			}
			if err := c.Pin("serving", registry.DigestOf(data)); err != nil {
				return err
			}
			if i%8 == 7 {
				if _, err := c.Trim(4 << 20); err != nil {
					return err
				}
			}
		}
	case "fetches and trims":
		for i := range 40 {
			data := processBlob(i % 5)
			want := registry.Descriptor{Digest: registry.DigestOf(data), Size: int64(len(data))}
			if err := c.Pin(fmt.Sprint("child ", os.Getpid()), want.Digest); err != nil {
				return err
			}
			_, err := c.Fetch(context.Background(), want, 1<<30, "here", nil, func(context.Context, int64) (io.ReadCloser, int64, error) {
				return io.NopCloser(bytes.NewReader(data)), 0, nil
			})
			if err != nil {
				return err
			}
			// It is pinned: no other process may have taken it.
			if _, err := c.Path(want.Digest); err != nil {
				return fmt.Errorf("what this process has pinned is gone: %w", err)
			}
			if _, err := c.Trim(0); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("no such role: %s", role)
	}
	return nil
}

// ask resolves a reference with the configuration that a program has which says nothing.
func ask(reference string) error {
	ref, err := registry.ParseReference(reference)
	if err != nil {
		return err
	}
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{"registry.waft.invalid"}, Retries: -1})
	if err != nil {
		return err
	}
	_, err = client.Resolve(context.Background(), ref)
	return err
}

// stuck is a body that tells that it is being read, and then waits.
type stuck struct{ ready, await func() }

func (s *stuck) Read([]byte) (int, error) {
	s.ready()
	s.await()
	return 0, io.ErrUnexpectedEOF
}

// process is a child that has said that it is ready.
type process struct {
	cmd *exec.Cmd
	in  io.Closer
}

func start(t *testing.T, role, dir string) process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+role, envDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	return process{cmd: cmd, in: in}
}

func (p process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // killed, as it will say
}

// What one process has pinned, no other one evicts; not while it lives, and not after it was killed, until the program that
// pinned it pins something else.
func TestPinsOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	c, err := registry.OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := processBlob(0)
	d := registry.DigestOf(data)
	put := func(c *registry.Cache) {
		t.Helper()
		if _, _, err := c.Put(t.Context(), descriptor(data), 1<<30, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	stays := func(c *registry.Cache, when string) {
		t.Helper()
		freed, err := c.Trim(0)
		if gone, rerr := c.Remove(d); freed != 0 || err != nil || gone || rerr != nil {
			t.Fatalf("%s: freed %d, removed %v: %v, %v", when, freed, gone, err, rerr)
		}
		if entries, err := c.List(); err != nil || len(entries) != 1 || !entries[0].Pinned || !c.Pinned(d) {
			t.Fatalf("%s: %+v, %v", when, entries, err)
		}
	}
	put(c)
	p := start(t, "pin", dir)
	stays(c, "while the other process lives")
	p.kill(t)
	stays(c, "after it was killed")
	next, err := registry.OpenCache(dir) // the program starts again
	if err != nil {
		t.Fatal(err)
	}
	stays(c, "after another one has taken its pins over")
	stays(next, "in the one that has taken them over")
	if err := next.Pin("serving"); err != nil {
		t.Fatal(err)
	}
	if freed, err := c.Trim(0); err != nil || freed != int64(len(data)) {
		t.Errorf("nobody needs it any longer: freed %d, %v", freed, err)
	}
	runtime.KeepAlive(next) // its lock ends with it
}

// A process that is killed in the middle of a download leaves what the next one goes on with, and no lock.
func TestKilledDownload(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "half a download", dir)
	data := processBlob(0)
	c, err := registry.OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(least, most int64) string {
		t.Helper()
		path, err := c.Fetch(t.Context(), descriptor(data), 1<<30, "here", nil, func(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
			if offset < least || offset > most {
				t.Errorf("asked for the bytes from %d on, want one from %d to %d", offset, least, most)
			}
			return io.NopCloser(bytes.NewReader(data[offset:])), offset, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := fetch(0, 0) // while the other one has the file of the partial download
	wantFile(t, path, data)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p.kill(t)
	const inMemory = 256 << 10 // what was not written yet is lost
	half := int64(len(data) / 2)
	wantFile(t, fetch(half-inMemory, half), data)
}

// kill -9 at any moment leaves a folder in which every blob is whole, every pin counts, and everything works.
func TestKilledAnywhere(t *testing.T) {
	dir := t.TempDir()
	kills := 12
	if testing.Short() {
		kills = 3
	}
	for i := range kills {
		p := start(t, "writes for ever", dir)
		// Let it run until it has written some more blobs: each time to another point of its work.
		for n := 0; n < 20*(i+1); n++ {
			if _, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256")); err != nil {
				t.Fatal(err)
			}
		}
		p.kill(t)
		c, err := registry.OpenCache(dir)
		if err != nil {
			t.Fatal(err)
		}
		if dropped, err := c.Check(t.Context()); err != nil || len(dropped) > 0 {
			t.Fatalf("damaged: %v, %v", dropped, err)
		}
		data := processBlob(100)
		path, err := c.Fetch(t.Context(), descriptor(data), 1<<30, "here", nil, func(context.Context, int64) (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(data)), 0, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, data)
		if _, err := c.Trim(0); err != nil {
			t.Fatal(err)
		}
	}
}

// Several processes that fetch, pin and evict in one folder take nothing from each other.
func TestProcessesShareAFolder(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envRole+"=fetches and trims", envDir+"="+dir)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	c, err := registry.OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	if dropped, err := c.Check(t.Context()); err != nil || len(dropped) > 0 {
		t.Errorf("damaged: %v, %v", dropped, err)
	}
}

// Check finds what the disk has damaged, of whatever file, and leaves the rest.
func TestCheck(t *testing.T) {
	c := openCache(t)
	var paths []string
	for i := range 3 {
		data := []byte{byte(i), 1, 2, 3}
		_, path, err := c.Put(t.Context(), descriptor(data), limit, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if err := flipBit(paths[1], 2); err != nil {
		t.Fatal(err)
	}
	dropped, err := c.Check(t.Context())
	if err != nil || len(dropped) != 1 || dropped[0].Hex() != filepath.Base(paths[1]) {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	if entries, err := c.List(); err != nil || len(entries) != 2 {
		t.Errorf("%+v, %v", entries, err)
	}
}
