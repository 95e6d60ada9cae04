package chaos

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// stuck is a distributor whose rollouts never end, but for the first.
type stuck struct {
	waftv1.UnimplementedReleaseServiceServer
	waftv1.UnimplementedRolloutServiceServer
	waftv1.UnimplementedNodeServiceServer
	waftv1.UnimplementedAuditServiceServer
}

func (stuck) rollout(name string) *waftv1.Rollout {
	phase := "Moving"
	if name == "base" {
		phase = "Done"
	}
	return &waftv1.Rollout{Metadata: &waftv1.RolloutMetadata{Name: name}, Spec: &waftv1.RolloutSpec{}, Status: &waftv1.RolloutStatus{Release: "chaos@sha256:1", Phase: phase}}
}

func (stuck) CreateRelease(context.Context, *waftv1.CreateReleaseRequest) (*waftv1.Release, error) {
	return &waftv1.Release{Metadata: &waftv1.ReleaseMetadata{Name: "chaos"}, Status: &waftv1.ReleaseStatus{Hash: "sha256:1"}}, nil
}

func (stuck) ListReleases(context.Context, *waftv1.ListReleasesRequest) (*waftv1.ListReleasesResponse, error) {
	return &waftv1.ListReleasesResponse{Releases: []*waftv1.Release{{Metadata: &waftv1.ReleaseMetadata{Name: "chaos"}, Status: &waftv1.ReleaseStatus{Hash: "sha256:1"}}}}, nil
}

func (s stuck) StartRollout(_ context.Context, r *waftv1.StartRolloutRequest) (*waftv1.Rollout, error) {
	return s.rollout(r.GetRollout().GetMetadata().GetName()), nil
}

func (s stuck) GetRollout(_ context.Context, r *waftv1.GetRolloutRequest) (*waftv1.Rollout, error) {
	return s.rollout(r.GetName()), nil
}

func (stuck) ListNodes(context.Context, *waftv1.ListNodesRequest) (*waftv1.ListNodesResponse, error) {
	return &waftv1.ListNodesResponse{}, nil
}

func (stuck) ListAudit(context.Context, *waftv1.ListAuditRequest) (*waftv1.ListAuditResponse, error) {
	return &waftv1.ListAuditResponse{}, nil
}

// A rollout that never ends is a violation, and no error: the run is cut short, and how things stand is read and judged all the same.
func TestRolloutThatNeverEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	waftv1.RegisterReleaseServiceServer(server, stuck{})
	waftv1.RegisterRolloutServiceServer(server, stuck{})
	waftv1.RegisterNodeServiceServer(server, stuck{})
	waftv1.RegisterAuditServiceServer(server, stuck{})
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	const limit = 2 * time.Second
	step := Step{Kind: Good, Shares: []int{1}}
	h, err := runOn(t.Context(), limit, &machines{grpc: l.Addr().String()}, Schedule{Seed: 9, Steps: []Step{step}}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	found := Check(h)
	for rule, text := range map[string]string{RuleDeadline: "rollout/r1 is Moving in the end", RuleRun: "within 2s"} {
		if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == rule && v.Seed == 9 && strings.Contains(v.Text, text) }) {
			t.Errorf("rule %s does not say %q: %v", rule, text, found)
		}
	}
}
