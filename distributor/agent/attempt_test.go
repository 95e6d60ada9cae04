package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// driverOn is as much of a driver as does not run Envoy.
func driverOn(state *stateFolder) *driver {
	config := Config{StateDir: state.dir, Log: slog.New(slog.DiscardHandler)}
	return &driver{
		config: config, state: state, log: config.Log, host: newHost(config), reserve: &reserve{path: state.path(reserveFile)}, refusals: map[string]*refusalCount{},
		files: &files{config: config, number: envoytest.Newest},
	}
}

func TestOutcomeOfAnAttempt(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*situation)
		known  bool
		reason string
	}{
		{"Envoy was not asked yet", func(s *situation) { s.host, s.seen = starting, observation{} }, false, ""},
		{"Envoy is not ready", func(s *situation) { s.seen.ready = false }, false, ""},
		{"Envoy is down", func(s *situation) { s.host, s.seen = down, observation{} }, true, "does not run"},
		{"Envoy goes on", func(*situation) {}, true, ""},
		{"others' Envoy goes on", func(s *situation) { s.parent, s.upSince = false, noon.Add(-time.Hour) }, true, ""},
		{"others have started it anew", func(s *situation) { s.parent, s.upSince = false, noon.Add(-time.Second) }, true, "started anew"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := settled()
			test.change(&s)
			a := &attempt{Chain: newHash, Since: noon.Add(-time.Minute), In: noon.Add(-time.Hour)}
			reason, known := a.outcome(s)
			if known != test.known || (reason == "") != (test.reason == "") || !strings.Contains(reason, test.reason) {
				t.Errorf("%q, known: %v", reason, known)
			}
		})
	}
}

// What ends Envoy while it is given a chain may end the agent with it. The next one knows which chain that was, and takes it for no fault where Envoy has survived it.
func TestAttemptIsKept(t *testing.T) {
	dir := t.TempDir()
	life := func(attached bool, do func(*driver)) {
		t.Helper()
		state, damaged, err := openState(dir)
		if err != nil || damaged != nil {
			t.Fatal(err, damaged)
		}
		defer func() { _ = state.close() }()
		d := driverOn(state)
		d.attached = attached
		d.host.epoch, d.host.state = 1, up
		d.inherit()
		do(d)
	}
	times := func(d *driver) int {
		r := d.state.read()
		if r.Attempt != nil {
			t.Error("it is still being given a chain")
		}
		if d.lapsed == nil || r.Lapsed == nil {
			return 0
		}
		if d.lapsed.Times != r.Lapsed.Times || d.lapsed.Chain != newHash || d.lapsed.at() != stepLoad {
			t.Errorf("lapsed %+v, on disk %+v", d.lapsed, r.Lapsed)
		}
		return r.Lapsed.Times
	}
	begin := func(d *driver) {
		t.Helper()
		if err := d.attempted(newChain()); err != nil || d.state.read().Attempt == nil {
			t.Fatal(err)
		}
	}
	life(false, begin)
	life(false, func(d *driver) {
		if got := times(d); got != 1 || d.lapsed.holds(newChain(), time.Now()) {
			t.Errorf("it has lapsed %d times: %+v", got, d.lapsed)
		}
		begin(d)
	})
	// Envoy went on, which is not known before it was asked.
	life(true, func(d *driver) {
		if err := d.follow(situation{host: starting}); err != nil || !d.attempt.pending() {
			t.Errorf("attempt %+v, %v", d.attempt, err)
		}
	})
	life(true, func(d *driver) {
		if err := d.follow(settled()); err != nil || times(d) != 1 {
			t.Errorf("it has lapsed %d times, %v", times(d), err)
		}
		begin(d)
	})
	// Envoy did not.
	life(true, func(d *driver) {
		if err := d.follow(situation{host: down}); err != nil || times(d) != 2 || !d.lapsed.holds(newChain(), time.Now()) {
			t.Errorf("it has lapsed %d times: %+v, %v", times(d), d.lapsed, err)
		}
		begin(d)
		d.trial = trying()
		if err := d.follow(settled()); err != nil || d.state.read().Attempt == nil {
			t.Errorf("it is in the slots, and was not seen to serve, and is forgotten; %v", err)
		}
		d.trial = onTrial()
		if err := d.follow(settled()); err != nil || times(d) != 2 {
			t.Errorf("it serves, and has lapsed %d times; %v", times(d), err)
		}
		begin(d)
		d.trial, d.busy = nil, &job{kind: load, hash: newHash}
		if err := d.follow(settled()); err != nil || d.state.read().Attempt == nil {
			t.Errorf("it is being loaded, and is forgotten; %v", err)
		}
		d.busy = nil // it was given up
		slot := filepath.Join(d.files.slotsDir(), envoy.SlotFileName(envoy.PreloadSlotName))
		if err := os.WriteFile(slot, []byte("what ends Envoy"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.follow(settled()); err != nil || times(d) != 2 {
			t.Errorf("it is not given any more, and has lapsed %d times; %v", times(d), err)
		}
		if fileHas(slot, []byte("what ends Envoy")) {
			t.Error("who starts Envoy finds it in the slot for loading")
		}
	})
}

// A chain that ends Envoy while it is loaded is loaded once more at once, and then after a pause, whatever agent there is; the ledger says so. What was good serves
// meanwhile, and who starts Envoy does not find the other in the slot for loading. Here the probe's verdict was forged: the filter loops in its configuration, which hangs Envoy's main
// thread, and the test ends what hangs.
func TestEnvoyThatEndsWhileItLoads(t *testing.T) {
	t.Parallel()
	for _, beside := range []bool{false, true} {
		t.Run(fmt.Sprintf("beside %v", beside), func(t *testing.T) {
			s := newSource(t, "n1")
			config := configFor(t, s, envoytest.Newest)
			config.Trial = -1
			var process *envoy.Process
			if beside {
				process = besideFor(t, &config)
			} else {
				config.LeaveEnvoy = true
				t.Cleanup(func() {
					if err := StopEnvoy(config); err != nil && !errors.Is(err, ErrNoEnvoy) {
						t.Error(err)
					}
				})
			}
			agent := run(t, config)
			first := s.give(filterOf("one", s.module(guest), "first"))
			s.await(first, waftv1.ChainState_SERVING)
			agent.stop()
			bad := s.give(filterOf("one", s.module(otherGuest), "loop"))
			version, err := config.Envoy.Version(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			forged, err := openVerdicts(filepath.Join(config.StateDir, verdictsFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := forged.keep(version.Build, &chain{Hash: bad}, probed{verdict: envoy.Verdict{Outcome: envoy.Accepted}}, time.Now()); err != nil {
				t.Fatal(err)
			}
			slot := func() string {
				content, err := os.ReadFile(filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.PreloadSlotName)))
				if err != nil {
					t.Fatal(err)
				}
				return string(content)
			}
			awaitHang := func() {
				t.Helper()
				envoytest.Eventually(t, "Envoy to hang in what it loads", func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, time.Second)
					defer cancel()
					if err := envoy.NewAdmin(config.Admin).Ready(ctx); !strings.Contains(slot(), bad) || ctx.Err() == nil {
						return fmt.Errorf("it answers, or was not given it: %v", err)
					}
					return nil
				})
			}
			kill := func() {
				t.Helper()
				end := func() error { return syscall.Kill(envoyPID(t, config), syscall.SIGKILL) }
				if beside {
					end = process.Kill
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
			}
			end := func() {
				t.Helper()
				lapsed := agent.log.count("msg=lapsed")
				kill()
				envoytest.Eventually(t, "the agent to have seen it", func(context.Context) error {
					if agent.log.count("msg=lapsed") == lapsed || beside && strings.Contains(slot(), bad) {
						return errors.New("not yet")
					}
					return nil
				})
				if beside {
					process = startBeside(t, config)
				}
				answers(t, config.Listen, "x-one", "first")
			}

			agent = run(t, config)
			awaitHang()
			answers(t, config.Listen, "x-one", "first")
			end()
			awaitHang() // once more, at once
			end()
			waits := func() {
				t.Helper()
				r := s.await(bad, waftv1.ChainState_FETCHED)
				envoytest.Eventually(t, "the ledger to say what it waits for", func(context.Context) error {
					if r = s.lastStanding(); r.GetHash() != bad || r.GetState() != waftv1.ChainState_FETCHED || r.GetStep() != "load" || r.GetServingHash() != first ||
						!strings.Contains(r.GetReason(), "lapsed 2 times in a row, the last time because "+reasonEndedLoading) || !strings.Contains(r.GetReason(), "it is tried again at 2") {
						return fmt.Errorf("report %v", r)
					}
					return nil
				})
				answers(t, config.Listen, "x-one", "first")
				if strings.Contains(slot(), bad) {
					t.Error("it is in the slot for loading")
				}
			}
			waits()
			agent.stop()
			s.mu.Lock()
			s.reports = nil
			s.mu.Unlock()
			agent = run(t, config)
			waits()

			// Asked to, the node tries it again at once, from the probe on, which is a real one this time and takes its time.
			s.change(func() { s.retry++ })
			envoytest.Eventually(t, "it to be probed", func(context.Context) error {
				if r := s.lastStanding(); r.GetHash() != bad || r.GetStep() != "probe" {
					return fmt.Errorf("report %v", r)
				}
				return nil
			})
			answers(t, config.Listen, "x-one", "first")
		})
	}
}
