package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/registry"
)

// A filter that loops in a request makes Envoy abort: it comes back on the good chain, and the chain is refused, not for
// ever. `waft nodes retry` has it tried once more.
func TestChainThatHangsOnTrial(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = envoytest.Patience // the request that hangs must come within it
	run(t, config)
	plain := s.module(guest)
	first := s.give(filterOf("one", plain, "first"))
	s.await(first, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "first")

	hanging := s.give(filterOf("one", plain, "hang"))
	s.await(hanging, waftv1.ChainState_SERVING)
	if _, _, err := envoytest.Get(t.Context(), config.Listen, "/"); err == nil {
		t.Error("a request to a filter that loops was answered")
	}
	r := s.await(hanging, waftv1.ChainState_REJECTED)
	if r.GetFinal() || r.GetStep() != "serve" {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "first")
	envoytest.Eventually(t, "the restart is reported", func(context.Context) error {
		for _, r := range s.said() {
			if r.GetRestarted() != nil {
				return nil
			}
		}
		return errors.New("not yet")
	})
	s.change(func() { s.retry++ })
	s.await(hanging, waftv1.ChainState_SERVING)
	back := s.give(filterOf("one", plain, "first"))
	s.await(back, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "first")
}

// Modules that cannot be fetched, or are not what their digest says, change nothing; they are fetched once they can be.
func TestModulesThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	run(t, config)
	first := s.give(filterOf("one", s.module(guest), "first"))
	s.await(first, waftv1.ChainState_SERVING)

	other := s.module(otherGuest)
	s.mu.Lock()
	s.modules[other.GetDigest()] = append([]byte("x"), otherGuest[1:]...)
	s.mu.Unlock()
	second := s.give(filterOf("one", other, "second"))
	awaitReason(t, s, second, "fetch", "digest mismatch")
	s.mu.Lock()
	s.unavailable = true
	s.mu.Unlock()
	awaitReason(t, s, second, "fetch", "registry unavailable")
	answers(t, config.Listen, "x-one", "first")
	s.mu.Lock()
	s.unavailable = false
	s.mu.Unlock()
	s.module(otherGuest)
	s.await(second, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one-flavour", "other")
}

// awaitReason waits until a chain is offered with words about what keeps it.
func awaitReason(t testing.TB, s *source, hash, step, words string) {
	t.Helper()
	envoytest.Eventually(t, words, func(context.Context) error {
		r := s.lastStanding()
		if r.GetHash() != hash || r.GetState() != waftv1.ChainState_OFFERED || r.GetStep() != step || !strings.Contains(r.GetReason(), words) {
			return fmt.Errorf("the last report is %v", r)
		}
		return nil
	})
}

// The disk lost a part of the state: the copy before it serves. The disk damaged a module: it is fetched again.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = -1 // good at once
	agent := run(t, config)
	plain := s.module(guest)
	first := s.give(filterOf("one", plain, "first"))
	s.await(first, waftv1.ChainState_SERVING)
	second := s.give(filterOf("one", plain, "second"))
	s.await(second, waftv1.ChainState_SERVING)
	agent.stop()
	state := filepath.Join(config.StateDir, stateFile)
	document, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, document[:len(document)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	cache, err := registry.OpenCache(filepath.Join(config.StateDir, modulesFolder))
	if err != nil {
		t.Fatal(err)
	}
	module, err := cache.Path(registry.Digest(plain.GetDigest()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(module, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, config)
	answers(t, config.Listen, "x-one", "second")
	s.await(second, waftv1.ChainState_SERVING)
}

// Others run Envoy, from the bootstrap that the agent writes: it does not listen before its first chain, is swapped while
// it runs, and comes back by itself while nobody else is there.
func TestBesideAnEnvoyRunByOthers(t *testing.T) {
	t.Parallel()
	number := envoytest.Newest
	s := newSource(t, "n1")
	config := configFor(t, s, number)
	config.Beside, config.EnvoyArgs = true, nil
	config.BootstrapOut = filepath.Join(t.TempDir(), "bootstrap.json")
	logDir := t.TempDir()
	config.EnvoyLog = filepath.Join(logDir, "envoy.log")
	if err := WriteBootstrap(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	startEnvoy := func() *envoy.Process {
		process, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: logDir, BootstrapPath: config.BootstrapOut, LogLevel: "warning"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = process.Kill() })
		if err := process.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		return process
	}
	process := startEnvoy()
	agent := run(t, config)
	if listens(config.Listen) {
		t.Fatal("an Envoy that was never given a chain listens")
	}
	plain, other := s.module(guest), s.module(otherGuest)
	bad := s.give(filterOf("one", plain, "panic"))
	if r := s.await(bad, waftv1.ChainState_REJECTED); !r.GetFinal() || r.GetServingHash() != "" {
		t.Errorf("report %v", r)
	}
	if listens(config.Listen) {
		t.Fatal("Envoy listens after a first chain that was rejected")
	}
	first := s.give(filterOf("one", plain, "first"))
	s.await(first, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "first")
	second := s.give(filterOf("one", other, "second"))
	s.await(second, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one-flavour", "other")
	isDefault := func(word string) {
		t.Helper()
		envoytest.Eventually(t, "the bootstrap has the chain as its default", func(context.Context) error {
			content, err := os.ReadFile(config.BootstrapOut)
			if err == nil && !strings.Contains(string(content), word) {
				err = errors.New("not yet")
			}
			return err
		})
	}
	isDefault("second")

	agent.stop()
	answers(t, config.Listen, "x-one", "second") // Envoy goes on without its agent
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	process = startEnvoy()
	answers(t, config.Listen, "x-one", "second")

	run(t, config)
	third := s.give(filterOf("one", plain, "third"))
	s.await(third, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "third")
	isDefault("third")
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	startEnvoy()
	answers(t, config.Listen, "x-one", "third")
	envoytest.Eventually(t, "the restart is reported", func(context.Context) error {
		for _, r := range s.said() {
			if r.GetRestarted() != nil {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

// An Envoy that rejects live what the probe accepted: the good chain goes on, the reason is the one in Envoy's log, and it
// is not final. Here the probe's verdict was forged.
func TestEnvoyRejectsWhatTheProbeAccepted(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	agent := run(t, config)
	plain, other := s.module(guest), s.module(otherGuest)
	first := s.give(filterOf("one", plain, "first"))
	s.await(first, waftv1.ChainState_SERVING)
	agent.stop()

	version, err := config.Envoy.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forged, err := openVerdicts(filepath.Join(config.StateDir, verdictsFile))
	if err != nil {
		t.Fatal(err)
	}
	toLoad, toSwap := filterOf("one", other, "refuse"), filterOf("one", plain, "refuse")
	for _, f := range []*waftv1.Filter{toLoad, toSwap} {
		if err := forged.keep(version.Build, &chain{Hash: s.give(f)}, probed{verdict: envoy.Verdict{Outcome: envoy.Accepted}}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	run(t, config)
	for _, test := range []struct {
		filter *waftv1.Filter
		step   string
	}{{toSwap, "swap"}, {toLoad, "load"}} {
		bad := s.give(test.filter)
		r := s.await(bad, waftv1.ChainState_REJECTED)
		if r.GetFinal() || r.GetStep() != test.step || !strings.Contains(r.GetReason(), "one: the guest refuses its configuration") {
			t.Errorf("report %v, want step %s", r, test.step)
		}
		answers(t, config.Listen, "x-one", "first")
	}
	back := s.give(filterOf("one", plain, "first"))
	s.await(back, waftv1.ChainState_SERVING)
	for _, slot := range []string{envoy.SlotName, envoy.PreloadSlotName} {
		content, err := os.ReadFile(filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(slot)))
		if err != nil || strings.Contains(string(content), "refuse") {
			t.Errorf("slot %s still holds the refused chain (%v)", slot, err)
		}
	}
}

// An Envoy before 1.39 has one slot a filter.
func TestOldEnvoy(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Oldest)
	run(t, config)
	plain, other := s.module(guest), s.module(otherGuest)
	first := s.give(filterOf("one", plain, "first"), filterOf("two", plain, "also"))
	s.await(first, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-two", "also")
	// The slot of a filter that stays as it is reloads nothing.
	half := s.give(filterOf("one", plain, "half"), filterOf("two", plain, "also"))
	s.await(half, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "half")
	second := s.give(filterOf("one", other, "second"), filterOf("two", plain, "more"))
	s.await(second, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one-flavour", "other")
	answers(t, config.Listen, "x-two", "more")
	third := s.give(filterOf("three", plain, "third"))
	if r := s.awaitServing(third, waftv1.ChainState_REJECTED, second); !r.GetFinal() || !strings.Contains(r.GetReason(), "[one two]") {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "second")
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	s := newSource(t, "n1")
	for _, test := range []struct {
		name   string
		change func(*Config)
		says   string
	}{
		{"no node", func(c *Config) { c.Node = "" }, "node"},
		{"no server", func(c *Config) { c.Server = "" }, "server"},
		{"a server without a port", func(c *Config) { c.Server = "waft.example" }, "server"},
		{"no modules", func(c *Config) { c.Modules = "" }, "modules"},
		{"no state", func(c *Config) { c.StateDir = "" }, "state"},
		{"no Envoy", func(c *Config) { c.Envoy = envoy.Binary{} }, "envoy"},
		{"nowhere for requests to go", func(c *Config) { c.DirectResponse = nil }, "one place"},
		{"beside, without an admin address", func(c *Config) { c.Beside, c.EnvoyArgs, c.Admin = true, nil, "" }, "admin"},
		{"beside, with arguments for Envoy", func(c *Config) { c.Beside = true }, "others run it"},
		{"beside, leaving Envoy", func(c *Config) { c.Beside, c.EnvoyArgs, c.LeaveEnvoy = true, nil, true }, "outlive"},
		{"the slot only, as Envoy's parent", func(c *Config) { c.SlotOnly, c.DirectResponse, c.Listen = true, nil, "" }, "only the slot"},
		{"the slot only, and where requests go", func(c *Config) { c.SlotOnly, c.Beside, c.EnvoyArgs, c.Listen = true, true, nil, "" }, "sends requests"},
		{"another's stat prefix in a bootstrap of the agent's", func(c *Config) { c.StatPrefix = "ingress" }, "stat prefix"},
		{"slots for a new Envoy", func(c *Config) { c.Slots = []string{"one"} }, "slots"},
		{"a label that is none", func(c *Config) { c.Labels = map[string]string{"a b": "c"} }, "labels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := configFor(t, s, envoytest.Newest)
			test.change(&config)
			ctx, cancel := context.WithTimeout(t.Context(), envoytest.Patience)
			defer cancel()
			err := Run(ctx, config)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want ErrInvalid with %q", err, test.says)
			}
		})
	}
}

func TestOldEnvoyBesideNeedsSlots(t *testing.T) {
	config := configFor(t, newSource(t, "n1"), envoytest.Oldest)
	config.Beside, config.EnvoyArgs = true, nil
	ctx, cancel := context.WithTimeout(t.Context(), envoytest.Patience)
	defer cancel()
	if err := Run(ctx, config); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "slots") {
		t.Errorf("error %v, want ErrInvalid with slots", err)
	}
}

// What the source may not send is refused, with the reason, and nothing else changes.
func TestRefusesWhatItCannotTake(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	run(t, config)
	first := s.give(filterOf("one", s.module(guest), "first"))
	s.await(first, waftv1.ChainState_SERVING)
	open := filterOf("one", s.module(guest), "open")
	open.FailurePolicy, open.Phase = waftv1.FailurePolicy_FAIL_OPEN, waftv1.Phase_AUTHZ
	s.give(open)
	envoytest.Eventually(t, "the filter is refused", func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, nack := range s.nacks {
			if strings.HasPrefix(nack, model.CollectionFilters) && strings.Contains(nack, "FAIL_OPEN is never taken") {
				return nil
			}
		}
		return fmt.Errorf("refusals %q", s.nacks)
	})
	answers(t, config.Listen, "x-one", "first")
}
