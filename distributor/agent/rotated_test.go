package agent

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy/envoytest"
)

// A new value of a secret while its chain is on trial: the chain is on trial still, with that, and what the node goes back to is what it was. Reports say that it serves all along.
func TestAnotherSecretInTheTrial(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = time.Hour
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	config.SecretDirs = []string{dir}
	replace(t, path, "horse-battery-1")
	agent := run(t, config)
	plain := s.module(guest)
	first := s.give(filterOf("one", plain, "first")) // the first is good at once
	s.await(first, waftv1.ChainState_SERVING)
	given := s.give(secretConfig(plain, path))
	s.await(given, waftv1.ChainState_SERVING)
	for _, value := range []string{"horse-battery-2", "horse-battery-3"} {
		replace(t, path, value)
		answers(t, config.Listen, "x-one", value)
	}
	states := s.states(given)
	if i := slices.Index(states, waftv1.ChainState_SERVING); len(states) != i+1 {
		t.Errorf("reported %v", states)
	}
	agent.stop()
	var r record
	if _, err := readSealed(filepath.Join(config.StateDir, stateFile), &r); err != nil {
		t.Fatal(err)
	}
	if r.Good == nil || r.Good.Hash != first || r.Trial == nil || r.Trial.Hash != given || r.Before != nil {
		t.Errorf("good is %+v, on trial %+v, before %+v", r.Good, r.Trial, r.Before)
	}
}
