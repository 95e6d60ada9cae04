package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// Loading is given up when the node is to run something else: the slot is emptied, and Envoy goes on with what it has begun before it sees that. When the same chain
// comes again by then, Envoy finds what it has already and reloads nothing; to wait for that would take the two minutes of the limit, and then refuse a good chain.
func TestLoadThatWasGivenUpIsTakenUp(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = -1 // good at once
	agent := run(t, config)
	first := filterOf("one", s.module(guest), "first")
	s.await(s.give(first), waftv1.ChainState_SERVING)
	for i := range 5 { // Envoy may be too fast to be caught loading
		word := fmt.Sprintf("second %d", i)
		second := filterOf("one", s.module(variant(guest, word)), word)
		hash := s.give(second)
		file := filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.PreloadSlotName))
		envoytest.Eventually(t, "Envoy to be given it for loading", func(context.Context) error {
			content, err := os.ReadFile(file)
			if err == nil && !strings.Contains(string(content), hash+"#1") && agent.log.count("msg=loaded", hash) == 0 {
				err = errors.New("not yet")
			}
			return err
		})
		s.await(s.give(first), waftv1.ChainState_SERVING)
		if agent.log.count("msg=loaded", hash) > 0 {
			continue
		}
		s.give(second)
		s.await(hash, waftv1.ChainState_SERVING)
		answers(t, config.Listen, "x-one", word)
		return
	}
	t.Fatal("Envoy was never caught loading")
}
