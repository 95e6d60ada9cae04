package agent

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
)

// onFullDisk is a driver whose good chain is A, with a disk that is full but for what is kept for going back, after before.
func onFullDisk(t *testing.T, before func(*driver)) (d *driver, ok bool) {
	t.Helper()
	dir, ok := smallDisk(t, 24<<20)
	if !ok {
		return nil, false
	}
	state, damaged, err := openState(dir)
	if err != nil || damaged != nil {
		t.Fatal(err, damaged)
	}
	t.Cleanup(func() { _ = state.close() })
	d = driverOn(state)
	d.host.epoch, d.host.state = 1, up
	if err := errors.Join(state.change(func(r *record) { r.Good = goodChain() }), d.reserve.keep()); err != nil {
		t.Fatal(err)
	}
	before(d)
	fillDisk(t, dir)
	return d, true
}

// Envoy has ended while it loaded a chain that took the last room: it is emptied out of the slot for loading all the same, and the good chain can be started.
func TestLoadLapsesOnAFullDisk(t *testing.T) {
	d, ok := onFullDisk(t, func(d *driver) {
		if err := d.attempted(newChain()); err != nil {
			t.Fatal(err)
		}
		d.loaded, d.host.state = newHash, down
	})
	if !ok {
		return
	}
	err := d.follow(situation{host: down})
	if !full(err) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if d.stallUnlessRoom("empty the slot for loading", err); !d.stalled.IsZero() {
		t.Fatal("it waits for room, and some was kept")
	}
	if err := d.follow(situation{host: down}); err != nil || d.attempt != nil || d.lapsed == nil || d.lapsed.Times != 1 {
		t.Errorf("attempt %+v, lapsed %+v, %v", d.attempt, d.lapsed, err)
	}
}

// A chain that was seen to serve when the disk had become full is watched as one on trial, though that cannot be kept.
func TestAcceptOnAFullDisk(t *testing.T) {
	d, ok := onFullDisk(t, func(d *driver) {
		if err := d.attempted(newChain()); err != nil {
			t.Fatal(err)
		}
		d.trial = trying()
	})
	if !ok {
		return
	}
	s := settled()
	s.seen = seeing(1, newHash, 2, 0)
	if err := d.accept(s); err != nil && !full(err) { // the slot for loading may be left
		t.Fatal(err)
	}
	if d.trial.proved.IsZero() {
		t.Error("it does not count as seen to serve")
	}
	if r := d.state.read(); r.Good.Hash != goodHash || r.Attempt == nil {
		t.Errorf("good %v, being given %+v: the next agent would not know", r.Good, r.Attempt)
	}
}

// A chain whose second copies do not fit on the disk does not become the good one: Envoy could not be started on it.
func TestPromoteOnAFullDisk(t *testing.T) {
	content := make([]byte, 6<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	c := newChain()
	c.Filters[0].Digest = string(registry.DigestOf(content))
	spare := func(d *driver) string { return filepath.Join(d.config.StateDir, "spare") }
	d, ok := onFullDisk(t, func(d *driver) {
		if err := os.WriteFile(spare(d), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		cache, err := registry.OpenCache(d.state.path(modulesFolder))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := cache.Put(t.Context(), registry.Descriptor{Digest: registry.DigestOf(content), Size: int64(len(content))}, registry.DefaultMaxModuleBytes, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		d.cache, d.files.cache = cache, cache
		d.files.kept = &kept{dir: d.state.path(keptFolder), cache: cache}
	})
	if !ok {
		return
	}
	if err := os.Remove(spare(d)); err != nil { // there is room for the state, and not for the copy
		t.Fatal(err)
	}
	if err := d.promote(c); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("promoted: %v", err)
	}
	if r := d.state.read(); r.Good.Hash != goodHash {
		t.Errorf("the good chain is %v, and there is one copy of its module", r.Good.Hash)
	}
	if _, err := os.Stat(filepath.Join(d.config.StateDir, reserveFile)); err != nil {
		t.Errorf("the room for going back was spent on going forward: %v", err)
	}
}

// While a chain cannot be kept as the good one, Envoy is watched all the same.
func TestEnvoyIsWatchedWhileAChainCannotBeKept(t *testing.T) {
	s := settled()
	s.desired, s.trial, s.seen, s.trialTime = newChain(), onTrial(), seeing(1, newHash, 2, 0), 0
	if a := decide(s); a.kind != promote {
		t.Fatalf("decided to %s", a.kind)
	}
	s.trouble = "the agent cannot keep the good chain: no space left on device"
	if a := decide(s); a.kind != promote {
		t.Errorf("decided to %s, and Envoy is well", a.kind)
	}
	s.seen.failed, s.seen.at = answerTries, s.now.Add(-time.Hour)
	if a := decide(s); a.kind != restart {
		t.Errorf("decided to %s, and Envoy does not answer", a.kind)
	}
}
