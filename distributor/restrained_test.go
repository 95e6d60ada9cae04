package distributor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// What a configuration says of freezes, of the cap and of what is kept is so in the distributor that runs by it: each of these is a field that is handed on
// once, to a service whose own tests set it themselves.
func TestRunIsRestrained(t *testing.T) {
	windows := filepath.Join(t.TempDir(), "freeze.yaml")
	if err := os.WriteFile(windows, []byte("freeze:\n- {from: 2000-01-01T00:00:00Z, until: 2100-01-01T00:00:00Z, reason: the century}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, distributor.Config{
		Data: t.TempDir(), Insecure: true, FreezeFile: windows, MaxNotServing: model.Cap{Nodes: 1},
		KeepReleases: 1, KeepRollouts: 1, ForgetNodesAfter: 100 * time.Millisecond, CollectEvery: 20 * time.Millisecond,
	})
	push(t, s.HTTP+"/filters/f:1", module("one"), schema)
	c := s.client(t)
	agent(t, s, "node-1")
	agent(t, s, "node-2")
	create := func(issuer string) string {
		t.Helper()
		r, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, document("edge", s.HTTP+"/filters/f:1", "{issuer: "+issuer+"}")), Reason: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return "edge@" + r.GetStatus().GetHash()
	}
	begin := func(name, release string) {
		t.Helper()
		if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
			Metadata: &waftv1.RolloutMetadata{Name: name}, Spec: &waftv1.RolloutSpec{Release: release, Waves: []*waftv1.Wave{{Percent: 100}}},
		}, Reason: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	done := func(name string) *waftv1.Rollout {
		t.Helper()
		ended := follow(t, c, name)
		if got := ended.GetStatus(); got.GetPhase() != "Done" {
			t.Fatalf("%s is %s: %s", name, got.GetPhase(), got.GetMessage())
		}
		return ended
	}
	nodes := func(there ...string) func() bool {
		return func() bool {
			list, err := c.Nodes.ListNodes(t.Context(), &waftv1.ListNodesRequest{})
			var ids []string
			for _, n := range list.GetNodes() {
				ids = append(ids, n.GetId())
			}
			return err == nil && slices.Equal(ids, there)
		}
	}

	eventually(t, "both nodes are there", nodes("node-1", "node-2"))
	begin("r0", create("a"))
	eventually(t, "the file's window holds the rollout up", func() bool {
		r, err := c.Rollouts.GetRollout(t.Context(), &waftv1.GetRolloutRequest{Name: "r0"})
		return err == nil && strings.Contains(r.GetStatus().GetMessage(), "the century")
	})
	if err := os.WriteFile(windows, []byte("freeze: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if history := fmt.Sprint(done("r0").GetStatus().GetHistory()); !strings.Contains(history, "no more than 1 may be on their way") {
		t.Errorf("it did not wait for room: %s", history)
	}

	for i, issuer := range []string{"b", "c", "d"} {
		begin(fmt.Sprintf("r%d", i+1), create(issuer))
		done(fmt.Sprintf("r%d", i+1))
	}
	eventually(t, "the oldest rollout is collected", func() bool {
		_, err := c.Rollouts.GetRollout(t.Context(), &waftv1.GetRolloutRequest{Name: "r0"})
		return errors.Is(err, model.ErrNotFound)
	})
	unused := create("nobody's")
	create("the newest")
	eventually(t, "a release that nobody has used is collected", func() bool {
		_, err := c.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: unused})
		return errors.Is(err, model.ErrNotFound)
	})

	t.Run("a node that goes", func(t *testing.T) {
		agent(t, s, "node-3")
		eventually(t, "it is there", nodes("node-1", "node-2", "node-3"))
	})
	eventually(t, "it is forgotten", nodes("node-1", "node-2"))
	eventually(t, "the audit log says that it was forgotten", func() bool {
		audit, err := c.Audit.ListAudit(t.Context(), &waftv1.ListAuditRequest{Object: "node/node-3"})
		return err == nil && strings.Contains(fmt.Sprint(audit), "node.forget")
	})
}
