package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

// shop is the example application of package client, as a process.
type shop struct {
	*fleet.Process
	id, listen, state string
	argv              []string
}

// openShops builds the example, and starts some of it.
func openShops(t *testing.T, f *fleet.Fleet, ids ...string) []*shop {
	t.Helper()
	binary := filepath.Join(f.Dir, "shop")
	build := exec.Command("go", "build", "-o", binary, "./client/example")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	var shops []*shop
	for _, id := range ids {
		listen, _, err := fleet.FreePorts()
		if err != nil {
			t.Fatal(err)
		}
		s := &shop{id: id, listen: listen, state: filepath.Join(f.Dir, id)}
		s.argv = []string{binary, "--node", id, "--server", f.GRPC(), "--state", s.state, "--listen", listen, "--trial", "2s"}
		s.open(t, f)
		t.Cleanup(func() { s.Stop() })
		shops = append(shops, s)
	}
	if err := fleet.WaitFor(t.Context(), "the shops to connect", rolloutLimit, func(ctx context.Context) error {
		var list struct {
			Nodes []struct{ Presence, Dialect string }
		}
		if err := f.JSON(ctx, &list, "nodes", "list"); err != nil {
			return err
		}
		there := 0
		for _, n := range list.Nodes {
			if n.Presence == "connected" && n.Dialect == "application" {
				there++
			}
		}
		if there != len(ids) {
			return fleet.NotYetf("there are %+v", list.Nodes)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return shops
}

// open starts the process, again after an end.
func (s *shop) open(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	p, err := fleet.StartProcess(f.Dir, s.id, s.argv...)
	if err != nil {
		t.Fatal(err)
	}
	s.Process = p
}

// checkout is which one the shop has: old or new.
func (s *shop) checkout() (string, error) {
	answer, err := http.Get("http://" + s.listen + "/")
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(text)), "the "), " checkout"), err
}

func (s *shop) await(t *testing.T, want string) {
	t.Helper()
	if err := fleet.WaitFor(t.Context(), s.id+" to have the "+want+" checkout", rolloutLimit, func(context.Context) error {
		if s.Ended() {
			return s.Failure()
		}
		if got, err := s.checkout(); err != nil || got != want {
			return fleet.NotYetf("it has %q, %v", got, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// awaitGood waits until a shop's trial is over.
func (s *shop) awaitGood(t *testing.T) {
	t.Helper()
	if err := fleet.WaitFor(t.Context(), s.id+" to have a good release", rolloutLimit, func(context.Context) error {
		text, err := os.ReadFile(filepath.Join(s.state, "state.json"))
		if err != nil || strings.Contains(string(text), `"trial"`) || !strings.Contains(string(text), `"good"`) {
			return fleet.NotYetf("it has %s, %v", text, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Flags go to applications in waves, which count them: one that refuses is taken back, by itself, and the others never see it. Killed, and with the distributor away, an
// application has what it had, whatever has become of a file; and it is back when the distributor is.
func TestApplications(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 0)
	shops := openShops(t, f, "shop-1", "shop-2", "shop-3")
	all := func(want string) {
		t.Helper()
		for _, s := range shops {
			s.await(t, want)
		}
	}
	flag := func(name, is string) {
		t.Helper()
		path := write(t, f, "flag.yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Resource
metadata: {collection: flags, name: %s}
spec: {"@type": type.googleapis.com/google.protobuf.BoolValue, value: %s}
`, name, is))
		mustRun(t, f, append([]string{"apply", "-f", path, "--reason", "test"}, f.Server()...)...)
	}
	start := func(name, release, waves string) {
		t.Helper()
		path := write(t, f, name+".yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: %s}
spec: {release: %s, target: {selector: app=shop}, waves: %s}
`, name, release, waves))
		mustRun(t, f, append([]string{"rollout", "start", "-f", path, "--reason", "test"}, f.Server()...)...)
	}
	flag("checkout-v2", "false")
	start("first", takeFlags(t, f, "one", "global", ""), `[{percent: 100}]`)
	awaitRollout(t, f, "first", "to end", phaseIs("Done"))
	all("old")

	flag("checkout-v2", "true")
	start("second", takeFlags(t, f, "two", "global", ""), `[{nodes: 1, soak: 10m}, {percent: 100, soak: 3s}]`)
	moved := awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking")).Waves[0].Nodes
	for _, s := range shops {
		if slices.Contains(moved, s.id) {
			s.await(t, "new")
		} else if got, err := s.checkout(); got != "old" {
			t.Errorf("%s, which is not of the first wave, has %q, %v", s.id, got, err)
		}
	}
	mustRun(t, f, append([]string{"rollout", "promote", "second", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "second", "to end", phaseIs("Done"))
	all("new")

	// A shop refuses it: no person is needed, and nothing has changed anywhere.
	flag("checkout-v2", "false")
	flag("gift-card", "true")
	start("third", takeFlags(t, f, "three", "global", ""), `[{nodes: 1, soak: 10m}, {percent: 100}]`)
	back := awaitRollout(t, f, "third", "to be rolled back", phaseIs("RolledBack"))
	if !slices.ContainsFunc(back.Nodes, func(n struct {
		Node, State, Reason, From string
		Wave                      int
	}) bool {
		return strings.Contains(n.Reason, "this shop has no flag gift-card")
	}) && !strings.Contains(fmt.Sprint(back), "this shop has no flag gift-card") {
		t.Errorf("the rollout does not say why: %+v", back)
	}
	all("new")

	// Killed, and without a distributor.
	for _, s := range shops {
		s.awaitGood(t)
	}
	f.Serve().Kill()
	for _, s := range shops {
		s.Kill()
	}
	for _, s := range shops[:2] {
		s.open(t, f)
		s.await(t, "new")
	}
	// A disk that has lost the end of the newest file: the release before.
	tear(t, shops[2])
	shops[2].open(t, f)
	shops[2].await(t, "old")

	// The distributor is back, and so are they.
	if err := f.StartServe(t.Context()); err != nil {
		t.Fatal(err)
	}
	all("new")
	flag("checkout-v2", "false")
	mustRun(t, f, append([]string{"delete", "flags", "gift-card", "--reason", "test"}, f.Server()...)...)
	start("fourth", takeFlags(t, f, "four", "global", ""), `[{nodes: 1, soak: 1s}, {percent: 100, soak: 1s}]`)
	awaitRollout(t, f, "fourth", "to end", phaseIs("Done"))
	all("old")
}

// tear cuts the file off that holds the release two of a shop.
func tear(t *testing.T, s *shop) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.state, "snapshots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "two@sha256:") {
			torn++
			if err := os.WriteFile(path, text[:len(text)-1], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if torn != 1 {
		t.Fatalf("%d of the files %q are of the release two", torn, paths)
	}
}
