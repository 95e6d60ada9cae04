package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// damages are what a disk, or a machine that stops, makes of a file.
var damages = map[string]func(path string, content []byte) error{
	"cut off": func(path string, content []byte) error { return os.WriteFile(path, content[:len(content)/2], 0o600) },
	"empty":   func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
	"zeros":   func(path string, content []byte) error { return os.WriteFile(path, make([]byte, len(content)), 0o600) },
	"gone":    func(path string, _ []byte) error { return os.Remove(path) },
}

// isAgain waits until a file is what it was.
func isAgain(t testing.TB, path string, want []byte) {
	t.Helper()
	envoytest.Eventually(t, filepath.Base(path)+" is whole again", func(context.Context) error { return isWhole(path, want) })
}

// The files that Envoy watches are damaged, whichever and however, while the agent runs and while it does not, and the distributor is away: Envoy serves on,
// reloads nothing, and finds them whole when it starts again.
func TestDamagedSlots(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.LeaveEnvoy, config.Trial = true, -1 // good at once
	t.Cleanup(func() {
		if err := StopEnvoy(config); err != nil && !errors.Is(err, ErrNoEnvoy) {
			t.Error(err)
		}
	})
	agent := run(t, config)
	first := s.give(filterOf("one", s.module(guest), "first"))
	s.await(first, waftv1.ChainState_SERVING)
	slot := filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.SlotName))
	preload := filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.PreloadSlotName))
	read := func(path string) []byte {
		t.Helper()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	envoytest.Eventually(t, "the chain is the good one", func(context.Context) error {
		r, err := stateOf(config)
		if err == nil && (r.Good == nil || r.Good.Hash != first || r.Trial != nil) {
			err = errors.New("not yet")
		}
		return err
	})
	whole, empty := read(slot), read(preload)
	s.stop()
	load := visitFor(t, config.Listen, "x-one")
	pid, before := envoyPID(t, config), reloads(t, config)

	for name, damaged := range damages {
		if err := damaged(slot, whole); err != nil {
			t.Fatal(err)
		}
		isAgain(t, slot, whole)
		if agent.log.count("level=ERROR", "a slot's file is damaged or gone", slot) == 0 {
			t.Errorf("%s: the log does not say so", name)
		}
	}
	for name, damaged := range damages {
		agent.stop()
		if err := errors.Join(damaged(slot, whole), damaged(preload, empty)); err != nil {
			t.Fatal(name, err)
		}
		agent = run(t, config)
		isAgain(t, slot, whole)
		isAgain(t, preload, empty)
	}
	load.stop()
	if load.failed.Load() > 0 || load.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
	}
	if now := envoyPID(t, config); now != pid {
		t.Errorf("Envoy was pid %d and is %d", pid, now)
	}
	if after := reloads(t, config); after != before {
		t.Errorf("Envoy has taken something new %d times after %d", after, before)
	}
}

// An Envoy of others, whose slot has no default, is started while its slot's file is damaged: it waits, and its agent helps it.
func TestEnvoyIsStartedOnADamagedSlot(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer upstream.Close()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	listen := config.Listen
	config.Beside, config.SlotOnly, config.StatPrefix, config.Trial = true, true, "in.gress", -1
	config.EnvoyArgs, config.Listen, config.DirectResponse = nil, "", nil
	slot := filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.SlotName))
	bootstrap := othersBootstrap(t, config, listen, upstream.Listener.Addr().String(), "",
		slotEntry(config, envoy.SlotName, "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig"))
	run(t, config)
	first := s.give(filterOf("one", s.module(guest), "first"))
	envoytest.Eventually(t, "the first chain is in the slot", func(context.Context) error { _, err := os.Stat(slot); return err })
	start := func() *envoy.Process {
		t.Helper()
		process, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: t.TempDir(), BootstrapPath: bootstrap, LogLevel: "warning"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = process.Kill() })
		return process
	}
	process := start()
	s.await(first, waftv1.ChainState_SERVING)
	envoytest.Eventually(t, "the chain is the good one", func(context.Context) error {
		r, err := stateOf(config)
		if err == nil && (r.Good == nil || r.Trial != nil) {
			err = fmt.Errorf("good is %v", r.Good)
		}
		return err
	})
	whole, err := os.ReadFile(slot)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := damages["cut off"](slot, whole); err != nil {
		t.Fatal(err)
	}
	start()
	answers(t, listen, "x-one", "first")
	isAgain(t, slot, whole)
}
