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

// An agent that ends while Envoy is at a new chain, and leaves Envoy, leaves it on the good one. Envoy before 1.39 loads what is put into the
// slot, so it takes long enough to be met there.
func TestEndsInTheMiddleOfASwap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*Config)
	}{
		{"as its parent", func(c *Config) { c.LeaveEnvoy = true }},
		{"beside", func(c *Config) { c.Beside, c.EnvoyArgs, c.Slots = true, nil, []string{"one"} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSource(t, "n1")
			config := configFor(t, s, envoytest.Oldest)
			test.change(&config)
			if config.Beside {
				config.BootstrapOut = filepath.Join(t.TempDir(), "bootstrap.json")
				if err := WriteBootstrap(t.Context(), config); err != nil {
					t.Fatal(err)
				}
				process, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: t.TempDir(), BootstrapPath: config.BootstrapOut, LogLevel: "warning"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = process.Kill() })
			} else {
				t.Cleanup(func() {
					if err := StopEnvoy(config); err != nil {
						t.Error(err)
					}
				})
			}
			agent := run(t, config)
			first := s.give(filterOf("one", s.module(guest), "first"))
			s.await(first, waftv1.ChainState_SERVING)
			answers(t, config.Listen, "x-one", "first")

			slot := filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.FilterSlotName("one")))
			holds := func(hash string) error {
				content, err := os.ReadFile(slot)
				if err == nil && !strings.Contains(string(content), hash) {
					err = errors.New("the slot holds another chain")
				}
				return err
			}
			second := s.give(filterOf("one", s.module(otherGoGuest), "second"))
			envoytest.Eventually(t, "the second chain is in the slot", func(context.Context) error { return holds(second) })
			agent.stop()
			if agent.log.count("msg=serving ", second) > 0 {
				t.Fatal("Envoy was seen to serve the second chain before the agent ended; this shows nothing")
			}
			if err := holds(first); err != nil {
				t.Error(err)
			}
			answers(t, config.Listen, "x-one", "first")
			if config.Beside || os.Geteuid() != 0 {
				return
			}
			// As by an agent that was killed while it had Envoy load something; only root may undo it.
			left, err := envoy.Left(envoy.ProcessConfig{Dir: filepath.Join(config.StateDir, envoyFolder)}, nil)
			if err != nil || len(left) != 1 {
				t.Fatalf("%d Envoys are left, %v", len(left), err)
			}
			_ = left[0].LowerMain()
			run(t, config)
			envoytest.Eventually(t, "the main thread has its priority again", func(context.Context) error {
				raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, left[0].PID())
				if own, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil && raw != own {
					err = fmt.Errorf("it is at %d, and this process at %d", 20-raw, 20-own)
				}
				return err
			})
		})
	}
}
