package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/registry"
)

// copies are the two files of a module in the state folder: under the slot, and under the bootstrap's default.
func copies(t testing.TB, config Config, module *waftv1.ModuleRef) (slot, fallback string) {
	t.Helper()
	digest := registry.Digest(module.GetDigest())
	slot = filepath.Join(config.StateDir, modulesFolder, "blobs", "sha256", digest.Hex())
	fallback = filepath.Join(config.StateDir, keptFolder, digest.Hex()+".wasm")
	for _, path := range []string{slot, fallback} {
		envoytest.Eventually(t, path, func(context.Context) error {
			_, err := os.Stat(path)
			return err
		})
	}
	return slot, fallback
}

func damage(t testing.TB, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content[:len(content)-100], 0o600); err != nil {
		t.Fatal(err)
	}
}

func isWhole(path string, want []byte) error {
	content, err := os.ReadFile(path)
	if err == nil && string(content) != string(want) {
		err = errors.New("it is not the module")
	}
	return err
}

// The disk damages one copy of a good module, whichever, while the distributor is away: node and agent start and serve all the same, and the
// copy is made anew. An Envoy run by others does not even need the agent for it, as long as it is not the copy of its bootstrap's default.
func TestOneCopyOfAModuleIsDamaged(t *testing.T) {
	t.Parallel()
	for _, beside := range []bool{false, true} {
		t.Run(map[bool]string{false: "as Envoy's parent", true: "beside"}[beside], func(t *testing.T) {
			s := newSource(t, "n1")
			config := configFor(t, s, envoytest.Newest)
			config.Trial = -1 // good at once
			startEnvoy := func() *envoy.Process { return nil }
			if beside {
				config.Beside, config.EnvoyArgs = true, nil
				config.BootstrapOut = filepath.Join(t.TempDir(), "bootstrap.json")
				if err := WriteBootstrap(t.Context(), config); err != nil {
					t.Fatal(err)
				}
				startEnvoy = func() *envoy.Process {
					process, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: t.TempDir(), BootstrapPath: config.BootstrapOut, LogLevel: "warning"})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = process.Kill() })
					return process
				}
			}
			process := startEnvoy()
			agent := run(t, config)
			module := s.module(guest)
			first := s.give(filterOf("one", module, "first"))
			s.await(first, waftv1.ChainState_SERVING)
			slot, fallback := copies(t, config, module)
			agent.stop()
			s.stop()
			for _, damaged := range []string{slot, fallback} {
				if process != nil {
					if err := process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
				damage(t, damaged)
				began := time.Now()
				if damaged == slot {
					if process = startEnvoy(); process != nil {
						answers(t, config.Listen, "x-one", "first") // without an agent
						t.Logf("served %s after the start of Envoy alone", time.Since(began).Round(time.Millisecond))
					}
				}
				agent = run(t, config)
				if damaged == fallback {
					envoytest.Eventually(t, "the copy is made anew", func(context.Context) error { return isWhole(fallback, guest) })
					process = startEnvoy()
				}
				answers(t, config.Listen, "x-one", "first")
				t.Logf("served %s after the start", time.Since(began).Round(time.Millisecond))
				for _, path := range []string{slot, fallback} {
					envoytest.Eventually(t, "the copy is made anew", func(context.Context) error { return isWhole(path, guest) })
				}
				envoytest.Eventually(t, "Envoy has the chain in its slot", func(ctx context.Context) error {
					stats, err := envoy.NewAdmin(config.Admin).Stats(ctx, "version_text")
					if got := stats.Texts[envoy.SlotStats(envoy.SlotName)+"version_text"]; err == nil && got != first {
						err = fmt.Errorf("it has %q", got)
					}
					return err
				})
				agent.stop()
			}
			// Both are damaged: only the distributor has one.
			damage(t, slot)
			damage(t, fallback)
			run(t, config)
			s.start()
			s.await(first, waftv1.ChainState_SERVING)
			for _, path := range []string{slot, fallback} {
				envoytest.Eventually(t, "the copy is made anew", func(context.Context) error { return isWhole(path, guest) })
			}
			// What is good no longer leaves no copy.
			second := s.give(filterOf("one", s.module(otherGuest), "second"))
			s.await(second, waftv1.ChainState_SERVING)
			envoytest.Eventually(t, "the copy is removed", func(context.Context) error {
				if _, err := os.Stat(fallback); !errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("it is there: %v", err)
				}
				return nil
			})
		})
	}
}

// A way back leads to what was good before; what it led away from is tried again as any other chain is.
func TestFormerlyGood(t *testing.T) {
	a, b := &chain{Hash: "sha256:a"}, &chain{Hash: "sha256:b"}
	var r record
	for i, step := range []struct{ good, formerly *chain }{{a, nil}, {b, a}, {a, nil}, {b, a}, {a, nil}} {
		r.become(step.good)
		if got := formerly(r); got != step.formerly {
			t.Errorf("step %d, %s is good: formerly %v, want %v", i, step.good.Hash, got, step.formerly)
		}
	}
}
