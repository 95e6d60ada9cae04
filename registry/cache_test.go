package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/waft-project/waft/registry"
)

const limit = 1 << 20

func openCache(t *testing.T) *registry.Cache {
	t.Helper()
	c, err := registry.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func descriptor(data []byte) registry.Descriptor {
	return registry.Descriptor{Digest: registry.DigestOf(data), Size: int64(len(data))}
}

// source gives data, and counts how often it was asked.
func source(data []byte, asked *atomic.Int32) registry.Opener {
	return func(context.Context, int64) (io.ReadCloser, int64, error) {
		asked.Add(1)
		return io.NopCloser(bytes.NewReader(data)), 0, nil
	}
}

func TestCacheFindsDamage(t *testing.T) {
	data := []byte("some module")
	for _, tc := range []struct {
		name   string
		damage func(path string) error
	}{
		{"a flipped bit", func(p string) error { return os.WriteFile(p, []byte("some moduld"), 0o644) }},
		{"cut short", func(p string) error { return os.Truncate(p, 3) }},
		{"emptied", func(p string) error { return os.Truncate(p, 0) }},
		{"removed", os.Remove},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := openCache(t)
			var asked atomic.Int32
			want := descriptor(data)
			path, err := c.Fetch(t.Context(), want, limit, "here", nil, source(data, &asked))
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.damage(path); err != nil {
				t.Fatal(err)
			}
			_, err = c.Path(want.Digest)
			checkKind(t, err, registry.ErrNotCached)
			path, err = c.Fetch(t.Context(), want, limit, "here", nil, source(data, &asked))
			if err != nil || asked.Load() != 2 {
				t.Fatalf("asked %d times: %v", asked.Load(), err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestCacheSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	data := []byte("some module")
	c, err := registry.OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Put(t.Context(), descriptor(data), limit, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	// What a process left that died while it wrote: old, and so of nobody alive; and new, perhaps somebody's.
	stale, fresh := filepath.Join(dir, "tmp", "put-1"), filepath.Join(dir, "tmp", "put-2")
	for _, p := range []string{stale, fresh} {
		if err := os.WriteFile(p, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(stale, old, old); err != nil {
		t.Fatal(err)
	}
	c, err = registry.OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, size, err := c.Open(registry.DigestOf(data))
	if err != nil || size != int64(len(data)) {
		t.Fatal(size, err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("the stale file is still there")
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error("another process's file was removed")
	}
}

func TestCachePutRefuses(t *testing.T) {
	data := []byte("some module")
	want := descriptor(data)
	for _, tc := range []struct {
		name  string
		want  registry.Descriptor
		limit int64
		r     io.Reader
		kind  error
	}{
		{"other bytes", want, limit, strings.NewReader("some moduld"), registry.ErrDigestMismatch},
		{"too few", want, limit, strings.NewReader("some"), registry.ErrSizeMismatch},
		{"too many", want, limit, strings.NewReader("some module and more"), registry.ErrSizeMismatch},
		{"the right bytes under a wrong size", registry.Descriptor{Digest: want.Digest, Size: 12}, limit, bytes.NewReader(data), registry.ErrSizeMismatch},
		{"over the limit by its descriptor", want, 5, bytes.NewReader(data), registry.ErrTooLarge},
		{"over the limit by its bytes", registry.Descriptor{Digest: want.Digest}, 5, bytes.NewReader(data), registry.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := openCache(t)
			_, _, err := c.Put(t.Context(), tc.want, tc.limit, iotest.OneByteReader(tc.r))
			checkKind(t, err, tc.kind)
			assertEmpty(t, c)
		})
	}
	t.Run("a reader that fails", func(t *testing.T) {
		c := openCache(t)
		broken := errors.New("broken")
		if _, _, err := c.Put(t.Context(), want, limit, iotest.ErrReader(broken)); !errors.Is(err, broken) {
			t.Errorf("have %v", err)
		}
		assertEmpty(t, c)
	})
	t.Run("a folder that cannot be written to", func(t *testing.T) {
		c := openCache(t)
		if err := os.RemoveAll(c.Dir() + "/tmp"); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.Put(t.Context(), want, limit, bytes.NewReader(data))
		checkKind(t, err, registry.ErrStorage)
	})
	t.Run("a digest that is none", func(t *testing.T) {
		_, err := openCache(t).Path("../../etc/passwd")
		checkKind(t, err, registry.ErrNotCached)
	})
}

// gate is a source that waits until it is let go.
type gate struct {
	started chan struct{}
	release chan struct{}
	asked   atomic.Int32
	data    []byte
	err     error
}

func newGate(data []byte, err error) *gate {
	return &gate{started: make(chan struct{}, 100), release: make(chan struct{}), data: data, err: err}
}

func (g *gate) open(ctx context.Context, _ int64) (io.ReadCloser, int64, error) {
	g.asked.Add(1)
	g.started <- struct{}{}
	select {
	case <-g.release:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	return io.NopCloser(bytes.NewReader(g.data)), 0, g.err
}

func TestFetchShares(t *testing.T) {
	c := openCache(t)
	data := bytes.Repeat([]byte("module"), 100_000)
	g := newGate(data, nil)
	want := descriptor(data)
	const callers = 100
	var wg sync.WaitGroup
	var ended atomic.Int32
	for range callers {
		wg.Go(func() {
			var last int64
			if _, err := c.Fetch(t.Context(), want, limit, "here", func(done, _ int64) { last = done }, g.open); err != nil {
				t.Error(err)
			}
			if last == want.Size {
				ended.Add(1)
			}
		})
	}
	c.AwaitWaiters(want.Digest, callers)
	close(g.release)
	wg.Wait()
	if g.asked.Load() != 1 {
		t.Errorf("%d downloads for %d callers", g.asked.Load(), callers)
	}
	if ended.Load() != callers {
		t.Errorf("%d of %d callers saw the progress to its end", ended.Load(), callers)
	}
}

// The one who started a download may leave; the others still get it. When all have left, it ends.
func TestFetchOutlivesItsStarter(t *testing.T) {
	c := openCache(t)
	data := []byte("some module")
	g := newGate(data, nil)
	want := descriptor(data)
	ctx, leave := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Fetch(ctx, want, limit, "here", nil, g.open)
		first <- err
	}()
	<-g.started
	go func() {
		_, err := c.Fetch(t.Context(), want, limit, "here", nil, g.open)
		second <- err
	}()
	c.AwaitWaiters(want.Digest, 2)
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who left got %v", err)
	}
	close(g.release)
	if err := <-second; err != nil {
		t.Errorf("the one who stayed got %v", err)
	}

	all := newGate(data, nil)
	ctx, leave = context.WithCancel(t.Context())
	other := descriptor([]byte("another"))
	ended := make(chan error, 1)
	go func() {
		_, err := c.Fetch(ctx, other, limit, "here", nil, func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
			body, first, err := all.open(ctx, offset)
			ended <- err
			return body, first, err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("have %v", err)
		}
	}()
	<-all.started
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the download went on with nobody waiting: %v", err)
	}
}

// A failure belongs to the source that failed: whoever has another one tries it.
func TestFetchFailureIsTheSources(t *testing.T) {
	c := openCache(t)
	data := []byte("some module")
	want := descriptor(data)
	broken := errors.New("broken")
	bad, good := newGate(nil, broken), newGate(data, nil)
	close(good.release)
	results := make(chan error, 1)
	go func() {
		_, err := c.Fetch(t.Context(), want, limit, "bad", nil, bad.open)
		results <- err
	}()
	<-bad.started
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Fetch(t.Context(), want, limit, "good", nil, good.open); err != nil {
			t.Errorf("the good source gave %v", err)
		}
	})
	c.AwaitWaiters(want.Digest, 2)
	close(bad.release)
	if err := <-results; !errors.Is(err, broken) {
		t.Errorf("the bad source gave %v", err)
	}
	wg.Wait()
	if _, err := c.Path(want.Digest); err != nil {
		t.Error(err)
	}
}

// A cached blob does not answer for a descriptor of another size.
func TestFetchChecksSizeOfCached(t *testing.T) {
	c := openCache(t)
	data := []byte("some module")
	var asked atomic.Int32
	want := descriptor(data)
	if _, err := c.Fetch(t.Context(), want, limit, "here", nil, source(data, &asked)); err != nil {
		t.Fatal(err)
	}
	want.Size++
	_, err := c.Fetch(t.Context(), want, limit, "here", nil, source(data, &asked))
	checkKind(t, err, registry.ErrSizeMismatch)
}

func TestTrimAndPins(t *testing.T) {
	c := openCache(t)
	var digests []registry.Digest
	for i := range 4 {
		data := bytes.Repeat([]byte{byte('a' + i)}, 100)
		d, path, err := c.Put(t.Context(), descriptor(data), limit, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		used := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(path, used, used); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.Digest)
	}
	kept := func() (out []int) {
		t.Helper()
		entries, err := c.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, slices.Index(digests, e.Digest))
		}
		slices.Sort(out)
		return out
	}
	pin := func(owner string, digests ...registry.Digest) {
		t.Helper()
		if err := c.Pin(owner, digests...); err != nil {
			t.Fatal(err)
		}
	}
	pin("serving", digests[0])
	pin("rollback", digests[0], digests[1])
	if freed, err := c.Trim(300); err != nil || freed != 100 || !slices.Equal(kept(), []int{0, 1, 3}) {
		t.Fatalf("freed %d, %v, kept %v", freed, err, kept())
	}
	// A use makes it the last to go.
	if _, err := c.Path(digests[3]); err != nil {
		t.Fatal(err)
	}
	pin("rollback", digests[1])
	pin("serving")
	if freed, err := c.Trim(200); err != nil || freed != 100 || !slices.Equal(kept(), []int{1, 3}) {
		t.Fatalf("freed %d, %v, kept %v", freed, err, kept())
	}
	if gone, err := c.Remove(digests[1]); gone || err != nil {
		t.Errorf("a pinned blob was removed: %v", err)
	}
	if freed, err := c.Trim(0); err != nil || freed != 100 || !slices.Equal(kept(), []int{1}) || !c.Pinned(digests[1]) {
		t.Fatalf("freed %d, %v, kept %v", freed, err, kept())
	}
}
