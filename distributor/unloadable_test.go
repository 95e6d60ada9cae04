package distributor_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// A node whose Envoy cannot load a module, by the manifest that was pushed with it, is never offered it: it waits where its like run it, and a rollout to it is refused beforehand, as its dry run
// is. All three name the node's Envoy and the module.
func TestEnvoyThatCannotLoadAModule(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	push(t, s.HTTP+"/filters/f:1", module("one"), schema) // for Envoy 1.36 and later
	c := s.client(t)
	if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, document("edge", s.HTTP+"/filters/f:1", "{issuer: a}")), Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	node := func(id string) *waftv1.Node {
		n, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: id})
		if err != nil && !errors.Is(err, model.ErrNotFound) {
			t.Fatal(err)
		}
		return n
	}
	request := func(name string) *waftv1.StartRolloutRequest {
		return &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
			Metadata: &waftv1.RolloutMetadata{Name: name}, Spec: &waftv1.RolloutSpec{Release: "edge", Target: &waftv1.Target{Selector: "env=prod"}, Waves: []*waftv1.Wave{{Percent: 100}}},
		}, Reason: "test"}
	}
	says := func(what, text string) {
		t.Helper()
		for _, part := range []string{"1.35.6", "/filters/f:1", "envoy-1.36"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s does not say %q: %s", what, part, text)
			}
		}
	}
	agent(t, s, "new")
	eventually(t, "the new one is there", func() bool { return node("new").GetPresence() == "connected" })
	if _, err := c.Rollouts.StartRollout(t.Context(), request("first")); err != nil {
		t.Fatal(err)
	}
	if ended := follow(t, c, "first"); ended.GetStatus().GetPhase() != "Done" {
		t.Fatalf("it ended as %v", ended.GetStatus())
	}

	stream, err := c.Reports.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: &waftv1.Hello{
		Node: "old", Labels: map[string]string{"env": "prod"}, EnvoyVersion: "1.35.6", EnvoyBuild: "b", AgentVersion: "t",
	}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // the directive with which a session begins
		t.Fatal(err)
	}
	sink(t, s.GRPC, "old")
	eventually(t, "the old one is there, and waits for a reason", func() bool {
		n := node("old")
		return n.GetPresence() == "connected" && n.GetLedger().GetReason() != ""
	})
	says("the ledger", node("old").GetLedger().GetReason())
	_, planned := c.Rollouts.PlanRollout(t.Context(), request("second"))
	_, started := c.Rollouts.StartRollout(t.Context(), request("second"))
	for what, err := range map[string]error{"a dry run": planned, "a start": started} {
		if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "node/old") {
			t.Errorf("%s: %v", what, err)
			continue
		}
		says(what, err.Error())
	}
	if n := node("old"); n.GetChain() != "" || n.GetServing() != "" {
		t.Errorf("it is to run %q, and serves %q", n.GetChain(), n.GetServing())
	}
}
