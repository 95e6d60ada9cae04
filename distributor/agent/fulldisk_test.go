package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy/envoytest"
)

// envNamespace is set in a test program that runs in a user namespace, where it may mount.
const envNamespace = "WAFT_TEST_IN_NAMESPACE"

// smallDisk mounts a disk of the test's own. Where that is not allowed, the test runs again in a user namespace, and is over here: ok is false.
func smallDisk(t *testing.T, bytesOfRoom int) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytesOfRoom))
	if err == nil {
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return dir, true
	}
	if os.Getenv(envNamespace) != "" {
		t.Skipf("no file system can be mounted, in a user namespace either: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), envNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, failed := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case failed != nil && !errors.As(failed, &exit):
		t.Skipf("no file system can be mounted here (%v), and no user namespace made: %v", err, failed)
	case failed != nil:
		t.Errorf("in a user namespace: %v\n%s", failed, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	default:
		t.Logf("in a user namespace:\n%s", out)
	}
	return "", false
}

// fillDisk takes all the room there is on a disk, until it is called off.
func fillDisk(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // what counts is that it takes room
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if _, err = file.Write(piece); err != nil {
			piece = piece[:len(piece)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// roomForAll is a disk for a node with some modules.
const roomForAll = 96 << 20

// awaitReserve waits until there is room for going back on a full disk.
func awaitReserve(t *testing.T, config Config) {
	t.Helper()
	envoytest.Eventually(t, "room for going back to be kept", func(context.Context) error {
		info, err := os.Stat(filepath.Join(config.StateDir, reserveFile))
		if err == nil && info.Size() != reserveBytes {
			err = errors.New("not yet")
		}
		return err
	})
}

// An agent takes over an Envoy with a chain on trial, and the disk is full. The trial goes on, for which nothing need be written; the chain does not become the good one before that can be
// kept, and the ledger says so. When Envoy ends, it is started on the good chain all the same. Once there is room, everything goes on.
func TestInheritedTrialOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir, ok := smallDisk(t, roomForAll)
	if !ok {
		return
	}
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.StateDir, config.LeaveEnvoy, config.Trial = dir, true, envoytest.Patience
	t.Cleanup(func() {
		if err := StopEnvoy(config); err != nil && !errors.Is(err, ErrNoEnvoy) {
			t.Error(err)
		}
	})
	agent := run(t, config)
	plain := s.module(guest)
	first := s.give(filterOf("one", plain, "first"))
	s.await(first, waftv1.ChainState_SERVING)
	awaitReserve(t, config)
	second := s.give(filterOf("one", plain, "second"))
	s.await(second, waftv1.ChainState_SERVING)
	agent.stop()
	requireTrial(t, config, first, second)
	before := reloads(t, config)
	empty := fillDisk(t, dir)

	s.mu.Lock()
	s.reports = nil
	s.mu.Unlock()
	config.Trial = time.Millisecond
	run(t, config)
	s.await(second, waftv1.ChainState_SERVING)
	envoytest.Eventually(t, "the ledger to say that the disk is full", func(context.Context) error {
		r := s.lastStanding()
		if want := "the agent cannot keep the good chain: no space left on device; make room on the disk of " + dir; r.GetHash() != second ||
			r.GetState() != waftv1.ChainState_SERVING || !strings.Contains(r.GetReason(), want) {
			return fmt.Errorf("report %v", r)
		}
		return nil
	})
	requireTrial(t, config, first, second)
	if after := reloads(t, config); after != before {
		t.Errorf("Envoy has taken something new %d times, and %d before the agent was started again", after, before)
	}
	answers(t, config.Listen, "x-one", "second")

	if err := syscall.Kill(envoyPID(t, config), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := s.await(second, waftv1.ChainState_REJECTED); !strings.Contains(r.GetReason(), "Envoy ended while it ran this chain") {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "first")
	if r, err := stateOf(config); err != nil || r.Good.Hash != first || r.Trial != nil || r.Desired.Hash != second {
		t.Errorf("good %v, on trial %v, %v", r.Good, r.Trial, err)
	}

	empty()
	s.change(func() { s.retry++ })
	envoytest.Eventually(t, "the chain to be the good one", func(context.Context) error {
		if r, err := stateOf(config); err != nil || r.Good.Hash != second || r.Before.Hash != first || r.Trial != nil {
			return fmt.Errorf("good %v, on trial %v, %v", r.Good, r.Trial, err)
		}
		return nil
	})
	if r := s.await(second, waftv1.ChainState_SERVING); strings.Contains(r.GetReason(), "no space") {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "second")
	awaitReserve(t, config)
}

// Agent and Envoy end while a chain is on trial, and the disk is full: Envoy is started on the good chain, and that the trial has lapsed is kept.
func TestEnvoyStartsOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir, ok := smallDisk(t, roomForAll)
	if !ok {
		return
	}
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.StateDir, config.Trial = dir, envoytest.Patience
	agent := run(t, config)
	plain := s.module(guest)
	first := s.give(filterOf("one", plain, "first"))
	s.await(first, waftv1.ChainState_SERVING)
	awaitReserve(t, config)
	second := s.give(filterOf("one", plain, "second"))
	s.await(second, waftv1.ChainState_SERVING)
	agent.stop()
	s.stop()
	requireTrial(t, config, first, second)
	empty := fillDisk(t, dir)

	agent = run(t, config)
	// The good one, or the other already, where there was room for noting that it is tried again.
	envoytest.Eventually(t, "Envoy to serve on a full disk", func(context.Context) error {
		answer, err := http.Get("http://" + config.Listen)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if got := answer.Header.Get("x-one"); got != "first" && got != "second" {
			return fmt.Errorf("x-one: %q", got)
		}
		return nil
	})
	empty()
	answers(t, config.Listen, "x-one", "second")
	if agent.log.count(`msg="started Envoy"`, first) != 1 || agent.log.count(`msg="started Envoy"`, second) != 0 {
		t.Error("Envoy was not started on the good chain, once")
	}
	if r, err := stateOf(config); err != nil || r.Good.Hash != first || r.Lapsed == nil || r.Lapsed.Chain != second || r.Lapsed.Times != 1 {
		t.Errorf("good %v, lapsed %+v, %v", r.Good, r.Lapsed, err)
	}
}
