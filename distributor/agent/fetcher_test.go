package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

func TestFetcherKeepsAtIt(t *testing.T) {
	var mu sync.Mutex
	broken := map[string]bool{"b": true}
	tried := map[string]int{}
	f := newFetcher(func(_ context.Context, digest string, _ int64) error {
		mu.Lock()
		defer mu.Unlock()
		tried[digest]++
		if broken[digest] {
			return errors.New("broken " + digest)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.run(ctx) })
	defer running.Wait()
	defer cancel()

	f.want(map[string]int64{"a": 1, "b": 2})
	envoytest.Eventually(t, "a is there and b in trouble", func(context.Context) error {
		have, trouble := f.state()
		if !have["a"] || have["b"] || trouble["b"] != "broken b" {
			return errors.New("not yet")
		}
		return nil
	})
	mu.Lock()
	delete(broken, "b")
	mu.Unlock()
	f.hurry()
	envoytest.Eventually(t, "b is there", func(context.Context) error {
		if have, trouble := f.state(); !have["b"] || len(trouble) != 0 {
			return errors.New("not yet")
		}
		return nil
	})
	f.lost("a")
	envoytest.Eventually(t, "a is fetched again", func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if have, _ := f.state(); tried["a"] != 2 || !have["a"] {
			return errors.New("not yet")
		}
		return nil
	})
	f.want(map[string]int64{"b": 2})
	if have, _ := f.state(); have["a"] || !have["b"] {
		t.Errorf("have %v", have)
	}
}

func TestFetcherNext(t *testing.T) {
	f := newFetcher(nil)
	f.want(map[string]int64{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
	f.failed["b"] = failure{again: noon.Add(time.Second)}
	f.have["c"] = true
	for _, want := range []string{"a", "d", "e"} {
		if got, _, _ := f.next(noon); got != want {
			t.Errorf("next %q, want %q", got, want)
		}
	}
	if got, _, _ := f.next(noon.Add(time.Minute)); got != "" {
		t.Errorf("%q makes more than %d at once", got, fetchParallel)
	}
	delete(f.busy, "a")
	f.have["a"] = true
	if got, _, pause := f.next(noon); got != "" || pause != time.Second {
		t.Errorf("next %q after %s", got, pause)
	}
	if got, size, _ := f.next(noon.Add(time.Second)); got != "b" || size != 2 {
		t.Errorf("next %q of %d bytes", got, size)
	}
}

// Each fetch leaves what is on the disk within its bound, though no chain of it ever becomes a good one; what is pinned stays.
func TestFetchesAreBounded(t *testing.T) {
	e := registrytest.Start(t)
	config := Config{Modules: e.Host, CacheBytes: 250_000, Log: slog.New(slog.DiscardHandler)}
	settings := e.Config(t)
	cache := settings.Cache
	fetch := fetchModule(config, registrytest.NewClient(t, settings), &kept{dir: t.TempDir(), cache: cache})
	var digests []registry.Digest
	for i := range 6 {
		data := registrytest.Wasm(100_000, byte(i))
		a, err := e.Client(t).Push(t.Context(), e.Reference(t, ModulesRepository+":1"), registry.Module{Content: bytes.NewReader(data), Size: int64(len(data))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, a.Module.Digest)
		if i == 0 {
			if err := cache.Pin(pinServing, a.Module.Digest); err != nil {
				t.Fatal(err)
			}
		}
		if err := fetch(t.Context(), string(a.Module.Digest), int64(len(data))); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := cache.List()
	if err != nil || len(entries) != 2 || entries[0].Digest != digests[0] || entries[1].Digest != digests[5] {
		t.Errorf("%+v are there, %v; want the pinned one and the newest", entries, err)
	}
	config.CacheBytes = -1
	unbounded := fetchModule(config, registrytest.NewClient(t, settings), &kept{dir: t.TempDir(), cache: cache})
	for _, d := range digests {
		if err := unbounded(t.Context(), string(d), 0); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := cache.List(); err != nil || len(entries) != len(digests) {
		t.Errorf("%d are there, %v", len(entries), err)
	}
}
