package e2e

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/envoy"
)

// An emergency takes a filter out on every Envoy that waft supports, and `enable` puts it back.
func TestDisableOnOlderEnvoys(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	oldest, err := envoy.FindVersion(envoy.Number{Major: 1, Minor: 36, Patch: 4})
	if errors.Is(err, envoy.ErrNotFound) {
		t.Skip("Envoy 1.36.4 is not here; `make envoys` fetches it")
	}
	if err != nil {
		t.Fatal(err)
	}
	f := startFleet(t, 1)
	f.Envoy = oldest.Path
	if _, err := f.StartAgent("old", "env=test"); err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "good", "stamp", `{value: good}`), `[{percent: 100}]`)
	everywhere := func(stamp string) {
		t.Helper()
		for _, n := range f.Nodes() {
			awaitStamp(t, n, stamp)
		}
	}
	everywhere("good")
	mustRun(t, f, append([]string{"filter", "disable", "stamp", "--everywhere", "--reason", "test"}, f.Server()...)...)
	everywhere("")
	err = fleet.WaitFor(t.Context(), "both nodes to be listed as serving without it", time.Minute, func(context.Context) error {
		list := mustRun(t, f, append([]string{"filter", "list"}, f.Server()...)...)
		if !regexp.MustCompile(`(?m)^stamp +everywhere +2 +0 `).MatchString(list) {
			return fleet.NotYetf("it lists %s", list)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, f, append([]string{"filter", "enable", "stamp", "--soak", "1s", "--reason", "test", "--follow"}, f.Server()...)...)
	everywhere("good")
}
