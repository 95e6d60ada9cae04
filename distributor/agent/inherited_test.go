package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// requireTrial checks that on disk one chain is on trial and another the good one.
func requireTrial(t testing.TB, config Config, good, trial string) {
	t.Helper()
	if r, err := stateOf(config); err != nil || r.Good == nil || r.Good.Hash != good || r.Trial == nil || r.Trial.Hash != trial || r.Proved.IsZero() {
		t.Fatalf("good %v, on trial %v since %s; want %s and %s; %v", r.Good, r.Trial, r.Proved, good, trial, err)
	}
}

// reloads is how often Envoy has taken something new into the serving slot.
func reloads(t testing.TB, config Config) int64 {
	t.Helper()
	stats, err := envoy.NewAdmin(config.Admin).Stats(t.Context(), "config_reload")
	if err != nil {
		t.Fatal(err)
	}
	return stats.Values[envoy.SlotStats(envoy.SlotName)+"config_reload"]
}

// The agent ends while a chain is on trial, and Envoy goes on. The next agent goes on with the trial: what the chain does then is judged, and
// the chain before it is what the node goes back to. The same state and the same files are left by an agent that is killed (e2e).
func TestTrialGoesOnWithTheNextAgent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// ends has the trial fail.
		ends func(t *testing.T, config Config, s *source, envoyRun *envoy.Process, first, second string)
	}{
		{"a gate fails", func(t *testing.T, config Config, s *source, _ *envoy.Process, first, _ string) {
			if back := s.give(filterOf("one", s.module(guest), "first")); back != first {
				t.Fatalf("the source's hashes differ: %s, %s", back, first)
			}
			s.await(first, waftv1.ChainState_SERVING)
			if r, err := stateOf(config); err != nil || r.Before != nil {
				t.Errorf("another has been the good chain: %v, %v", r.Before, err)
			}
		}},
		{"Envoy ends", func(t *testing.T, config Config, s *source, process *envoy.Process, _, second string) {
			if process != nil {
				if err := process.Kill(); err != nil {
					t.Fatal(err)
				}
			} else if err := syscall.Kill(envoyPID(t, config), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if r := s.await(second, waftv1.ChainState_REJECTED); !strings.Contains(r.GetReason(), "Envoy ended while it ran this chain") {
				t.Errorf("report %v", r)
			}
		}},
	} {
		for _, beside := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, beside %v", test.name, beside), func(t *testing.T) {
				s := newSource(t, "n1")
				config := configFor(t, s, envoytest.Newest)
				config.Trial = envoytest.Patience // the first chain is good at once, since there is none before
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
				plain := s.module(guest)
				first := s.give(filterOf("one", plain, "first"))
				s.await(first, waftv1.ChainState_SERVING)
				answers(t, config.Listen, "x-one", "first")
				second := s.give(filterOf("one", plain, "second"))
				s.await(second, waftv1.ChainState_SERVING)
				agent.stop()
				requireTrial(t, config, first, second)
				if r, err := stateOf(config); err != nil || r.ProvedIn.IsZero() == beside {
					t.Errorf("the Envoy that it was proved in runs since %s, %v", r.ProvedIn, err)
				}
				before := reloads(t, config)

				s.mu.Lock()
				s.reports = nil
				s.mu.Unlock()
				run(t, config)
				s.awaitServing(second, waftv1.ChainState_SERVING, second)
				requireTrial(t, config, first, second)
				if after := reloads(t, config); after != before {
					t.Errorf("Envoy has taken something new %d times, and %d before the agent was started again", after, before)
				}

				test.ends(t, config, s, process, first, second)
				if beside && test.name == "Envoy ends" {
					startBeside(t, config)
				}
				answers(t, config.Listen, "x-one", "first")
				envoytest.Eventually(t, "the chain before is the good one, and none is on trial", func(context.Context) error {
					r, err := stateOf(config)
					if err == nil && (r.Good.Hash != first || r.Trial != nil) {
						err = fmt.Errorf("good is %v, on trial %v", r.Good, r.Trial)
					}
					return err
				})
			})
		}
	}
}

// Agent and Envoy both end while a chain is on trial, and the distributor is away: Envoy starts on the last good chain. From there the node goes to
// the chain that it is to run by the usual way.
func TestEnvoyStartsOnTheGoodChainAfterATrial(t *testing.T) {
	t.Parallel()
	for _, beside := range []bool{false, true} {
		t.Run(fmt.Sprintf("beside %v", beside), func(t *testing.T) {
			s := newSource(t, "n1")
			config := configFor(t, s, envoytest.Newest)
			config.Trial = envoytest.Patience
			var process *envoy.Process
			if beside {
				process = besideFor(t, &config)
			}
			agent := run(t, config)
			plain := s.module(guest)
			first := s.give(filterOf("one", plain, "first"))
			s.await(first, waftv1.ChainState_SERVING)
			second := s.give(filterOf("one", plain, "second"))
			s.await(second, waftv1.ChainState_SERVING)
			agent.stop()
			s.stop()
			if beside {
				if err := process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			requireTrial(t, config, first, second)
			if listens(config.Listen) {
				t.Fatal("Envoy runs")
			}

			agent = run(t, config)
			if beside {
				slot := filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.SlotName))
				envoytest.Eventually(t, "the slot holds the good chain for whoever starts Envoy", func(context.Context) error {
					content, err := os.ReadFile(slot)
					if err == nil && (!strings.Contains(string(content), first) || strings.Contains(string(content), second)) {
						err = errors.New("it holds another")
					}
					return err
				})
				process = startBeside(t, config)
			}
			answers(t, config.Listen, "x-one", "second")
			if !beside && (agent.log.count(`msg="started Envoy"`, first) != 1 || agent.log.count(`msg="started Envoy"`, second) != 0) {
				t.Error("Envoy was not started on the good chain, once")
			}
			envoytest.Eventually(t, "the chain is on trial again", func(context.Context) error {
				r, err := stateOf(config)
				if err == nil && (r.Good.Hash != first || r.Trial == nil || r.Trial.Hash != second) {
					err = fmt.Errorf("good is %v, on trial %v", r.Good, r.Trial)
				}
				return err
			})

			// The same once more: whoever looks learns why it is not tried again now.
			agent.stop()
			if beside {
				if err := process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			agent = run(t, config)
			if beside {
				envoytest.Eventually(t, "the agent has seen that Envoy does not run", func(context.Context) error {
					if agent.log.count("putting the good chain back") == 0 {
						return errors.New("not yet")
					}
					return nil
				})
				startBeside(t, config)
			}
			answers(t, config.Listen, "x-one", "first")
			envoytest.Eventually(t, "the agent says what the chain waits for", func(context.Context) error {
				if agent.log.count("its loading or its trial has lapsed 2 times in a row", second, "state=FETCHED") == 0 {
					return errors.New("not yet")
				}
				return nil
			})
		})
	}
}

// besideFor makes a configuration one of an agent beside an Envoy, and starts that.
func besideFor(t testing.TB, config *Config) *envoy.Process {
	t.Helper()
	config.Beside, config.EnvoyArgs = true, nil
	config.BootstrapOut = filepath.Join(t.TempDir(), "bootstrap.json")
	if err := WriteBootstrap(t.Context(), *config); err != nil {
		t.Fatal(err)
	}
	return startBeside(t, *config)
}

// startBeside starts the Envoy that an agent stands beside.
func startBeside(t testing.TB, config Config) *envoy.Process {
	t.Helper()
	process, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: t.TempDir(), BootstrapPath: config.BootstrapOut, LogLevel: "warning"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Kill() })
	return process
}
