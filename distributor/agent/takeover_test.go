package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// An agent that ends while Envoy is at a new chain, and leaves Envoy, leaves it on the good one. Envoy before 1.39 loads what is put into the
// slot, so it takes long enough to be met there.
func TestEndsInTheMiddleOfASwap(t *testing.T) {
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
			second := s.give(filterOf("one", s.module(otherGuest), "second"))
			envoytest.Eventually(t, "the second chain is in the slot", func(context.Context) error { return holds(second) })
			agent.stop()
			if agent.log.count("msg=serving ", second) > 0 {
				t.Fatal("Envoy was seen to serve the second chain before the agent ended; this shows nothing")
			}
			if err := holds(first); err != nil {
				t.Error(err)
			}
			answers(t, config.Listen, "x-one", "first")
		})
	}
}
