package registry_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// kinds are all the ways to fail.
var kinds = []error{
	registry.ErrInvalidReference, registry.ErrNotFound, registry.ErrUnauthorized, registry.ErrUnavailable, registry.ErrUntrusted,
	registry.ErrRefused, registry.ErrDigestMismatch, registry.ErrSizeMismatch, registry.ErrTooLarge, registry.ErrUnsupportedLayout,
	registry.ErrInvalidManifest, registry.ErrInvalidArchive, registry.ErrInvalidModule, registry.ErrNotCached, registry.ErrStorage,
}

// environment reads a number from the environment.
func environment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// A registry that fails in every way, by random schedules: nothing is lost, nothing unverified is given out, each failure
// has a kind, and once the faults have ended everything works. `make faults` runs a thousand; WAFT_SCHEDULE_SEED begins at
// another seed, to replay one.
func TestRandomFaults(t *testing.T) {
	first := environment(t, "WAFT_SCHEDULE_SEED", 1)
	count := environment(t, "WAFT_SCHEDULES", 100)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newFaultyWorld(t, seed)
			w.run(t)
			if t.Failed() {
				t.Logf("replay it with: WAFT_SCHEDULE_SEED=%d WAFT_SCHEDULES=1 go test -run TestRandomFaults ./registry\n%s", seed, strings.Join(w.schedule.Log(), "\n"))
			}
		})
	}
}

// The same seed meets the same faults; without pushes, whose requests come beside each other.
func TestSchedulesReplay(t *testing.T) {
	logs := make([]string, 2)
	for i := range logs {
		w := newFaultyWorld(t, 7)
		w.fetchOnly = true
		w.run(t)
		logs[i] = strings.Join(w.schedule.Log(), "\n")
	}
	if logs[0] != logs[1] || !strings.Contains(logs[0], ": ") {
		t.Errorf("first\n%s\nthen\n%s", logs[0], logs[1])
	}
}

// faultyWorld is a registry that fails by a schedule, what was published in it before, and a client that has to cope.
type faultyWorld struct {
	random   *rand.Rand
	schedule *registrytest.Schedule
	faulty   *registrytest.Faulty
	e        registrytest.Endpoint
	clock    *registrytest.Clock
	// fetchOnly leaves pushes out.
	fetchOnly bool
	cfg       registry.Config
	client    *registry.Client

	ref      registry.Reference
	artifact registry.Artifact
	wasm     []byte
	manifest []byte
}

func newFaultyWorld(t *testing.T, seed uint64) *faultyWorld {
	t.Helper()
	w := &faultyWorld{random: rand.New(rand.NewPCG(seed, 1<<63)), clock: registrytest.NewClock(), manifest: []byte(`{"name":"authz"}`)}
	inner := registrytest.Start(t)
	elsewhere := registrytest.Serve(t, inner.Handler)
	w.faulty = registrytest.NewFaulty(inner.Handler)
	w.e = registrytest.Serve(t, w.faulty)
	w.cfg = w.e.Config(t)
	w.cfg.PlainHTTP = append(w.cfg.PlainHTTP, elsewhere.Host)
	w.cfg.Retries = w.random.IntN(4) - 1
	w.cfg.Clock, w.cfg.Random = w.clock, w.random.Float64
	w.cfg.StallTimeout, w.cfg.MaxModuleBytes = 100*time.Millisecond, 1<<20
	w.client = registrytest.NewClient(t, w.cfg)
	w.wasm = registrytest.Wasm(20_000+w.random.IntN(400_000), byte(seed))
	w.ref = w.e.Reference(t, "filters/authz:1")
	m := registry.ModuleBytes(w.wasm)
	m.Manifest = w.manifest
	err := whileItStalls(func() (err error) {
		w.artifact, err = w.client.Push(t.Context(), w.ref, m, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const faults = 15
	w.schedule = registrytest.NewSchedule(seed, registrytest.AllFaults(elsewhere.Host, inner.Host), faults)
	w.faulty.Break(nil, w.schedule.Fault)
	return w
}

func (w *faultyWorld) run(t *testing.T) {
	const maxOperations = 200
	for i := 0; i < maxOperations && w.schedule.Left() > 0; i++ {
		w.operation(t)
		w.clock.Advance(time.Duration(w.random.IntN(5)) * time.Second)
	}
	if n := w.schedule.Left(); n > 0 {
		t.Errorf("%d faults were never met", n)
	}

	// The faults have ended; a registry is left alone no longer than this.
	w.clock.Advance(10 * time.Second)
	var a registry.Artifact
	var path string
	err := whileItStalls(func() (err error) {
		a, path, err = w.client.Pull(t.Context(), w.ref, nil)
		return err
	})
	if err != nil || a.Digest != w.artifact.Digest {
		t.Fatalf("the faults have ended: %s, %v", a.Digest, err)
	}
	w.given(t, path)
	if string(a.Manifest) != string(w.manifest) {
		t.Errorf("the manifest is lost: %s", a.Manifest)
	}
	w.cacheIsSound(t)
	if w.fetchOnly {
		return
	}
	m := registry.ModuleBytes(registrytest.Wasm(50_000, 99))
	err = whileItStalls(func() error {
		_, err := w.client.Push(t.Context(), w.e.Reference(t, "filters/authz:after"), m, nil)
		return err
	})
	if err != nil {
		t.Errorf("a push after the faults: %v", err)
	}
}

// whileItStalls does something that meets no fault again when it stalled all the same: a tenth of a second is little on a busy machine.
func whileItStalls(do func() error) error {
	const times = 10
	var err error
	for range times {
		if err = do(); err == nil || !strings.Contains(err.Error(), "stalled") {
			return err
		}
	}
	return err
}

// operation does one thing at random, and checks how it ended.
func (w *faultyWorld) operation(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	var err error
	var path string
	switch w.random.IntN(6) {
	case 0, 1:
		var a registry.Artifact
		a, path, err = w.client.Pull(ctx, w.ref, nil)
		if err == nil && (a.Digest != w.artifact.Digest || a.Manifest != nil && string(a.Manifest) != string(w.manifest)) {
			t.Errorf("the tag names %s with the manifest %q", a.Digest, a.Manifest)
		}
	case 2:
		path, err = w.client.FetchModule(ctx, w.ref, w.artifact.Module.Digest, w.artifact.Module.Size)
	case 3:
		path, err = w.client.FetchModule(ctx, w.ref, w.artifact.Module.Digest, 0)
	case 4:
		if w.fetchOnly {
			return
		}
		_, err = w.client.Push(ctx, w.e.Reference(t, "filters/authz:2"), registry.ModuleBytes(registrytest.Wasm(50_000, byte(w.random.IntN(3)))), nil)
	case 5: // as a program that starts again, without what it had
		cache, oerr := registry.OpenCache(w.cfg.Cache.Dir())
		if oerr != nil {
			t.Fatal(oerr)
		}
		if _, err := cache.Trim(int64(w.random.IntN(2)) << 30); err != nil {
			t.Fatal(err)
		}
		w.cfg.Cache = cache
		w.client = registrytest.NewClient(t, w.cfg)
		return
	}
	if err == nil {
		if path != "" {
			w.given(t, path)
		}
		_, _ = w.cfg.Cache.Remove(w.artifact.Module.Digest) // so that the next one has to fetch it again
		return
	}
	var e *registry.Error
	if !errors.As(err, &e) || e.Op == "" || e.Subject == "" || e.Next == "" {
		t.Errorf("a failure that does not say what to do: %v", err)
		return
	}
	named := 0
	for _, kind := range kinds {
		if e.Kind == kind {
			named++
		}
	}
	if named != 1 {
		t.Errorf("a failure of no kind: %v", err)
	}
}

// given checks a file that was given out.
func (w *faultyWorld) given(t *testing.T, path string) {
	t.Helper()
	wantFile(t, path, w.wasm)
}

// cacheIsSound hashes every blob by itself.
func (w *faultyWorld) cacheIsSound(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.cfg.Cache.Dir(), "blobs", "sha256", "*"))
	if err != nil || len(files) == 0 {
		t.Errorf("the cache has %d blobs, %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != filepath.Base(f) {
			t.Errorf("%s holds something else", f)
		}
	}
}
