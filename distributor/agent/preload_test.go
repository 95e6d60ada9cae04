package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// preloads collects, until stop is called, what is put into the slot for loading one after the other: the step, and the filters in it. A step stays there for as long as
// Envoy loads, which is much longer than the pause between two looks.
func preloads(t testing.TB, config Config) (stop func() []string) {
	file := filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(envoy.PreloadSlotName))
	var seen []string
	look := func() {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			return
		}
		var put struct {
			Version   string `json:"version_info"`
			Resources []struct {
				Config struct {
					Chain struct {
						Filters []struct{ Name string }
					} `json:"default_filter_chain"`
				} `json:"typed_config"`
			}
		}
		if err := json.Unmarshal(content, &put); err != nil || len(put.Resources) != 1 {
			t.Errorf("%v: %s", err, content)
			return
		}
		_, step, loading := strings.Cut(put.Version, "#") // empty else
		for _, f := range put.Resources[0].Config.Chain.Filters {
			step += " " + f.Name
		}
		if loading && (len(seen) == 0 || seen[len(seen)-1] != step) {
			seen = append(seen, step)
		}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			look()
			select {
			case <-over:
				return
			case <-ticker.C:
			}
		}
	}()
	var once sync.Once
	stop = func() []string {
		once.Do(func() { close(over) })
		<-ended
		return seen
	}
	t.Cleanup(func() { stop() })
	return stop
}

// Loading is given up when the node is to run something else: the slot is emptied, and Envoy goes on with what it has begun before it sees that. When the same chain
// comes again by then, Envoy finds what it has already and reloads nothing; to wait for that would take the two minutes of the limit, and then refuse a good chain.
func TestLoadThatWasGivenUpIsTakenUp(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = -1 // good at once
	agent := run(t, config)
	first := filterOf("one", s.module(goGuest), "first")
	s.await(s.give(first), waftv1.ChainState_SERVING)
	for i := range 5 { // Envoy may be too fast to be caught loading
		word := fmt.Sprintf("second %d", i)
		second := filterOf("one", s.module(variant(goGuest, word)), word)
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
