package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// undoer takes back by a rollout of that name, which ends as it says.
type undoer struct {
	waftv1.UnimplementedRolloutServiceServer
	by, phase string
	nodes     []*waftv1.NodeProgress
}

func (u *undoer) UndoRollout(context.Context, *waftv1.UndoRolloutRequest) (*waftv1.Rollout, error) {
	return &waftv1.Rollout{Metadata: &waftv1.RolloutMetadata{Name: u.by}, Status: &waftv1.RolloutStatus{Phase: "RollingBack"}}, nil
}

func (u *undoer) PlanUndo(_ context.Context, req *waftv1.UndoRolloutRequest) (*waftv1.RolloutPlan, error) {
	return &waftv1.RolloutPlan{
		Release: "edge@sha256:1", TakesBack: req.GetName() + "-undo",
		Waves:   []*waftv1.PlannedWave{{Nodes: []*waftv1.PlannedNode{{Node: "a", From: "two", To: "one"}}}},
		LeftOut: []*waftv1.PlannedNode{{Node: "b", From: "one", Reason: "has what it had before already"}},
	}, nil
}

func (u *undoer) WatchRollout(req *waftv1.WatchRolloutRequest, stream grpc.ServerStreamingServer[waftv1.Rollout]) error {
	return stream.Send(&waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: req.GetName()},
		Status:   &waftv1.RolloutStatus{Phase: u.phase, Message: "because", Nodes: u.nodes},
	})
}

// An undo is followed to the end of what takes back: of the rollout itself, which is well when it has rolled back on every node, or of another, which is well when it is Done.
func TestUndoIsFollowed(t *testing.T) {
	back, lost := &waftv1.NodeProgress{Node: "a", State: "RolledBack"}, &waftv1.NodeProgress{Node: "b", State: "Failed"}
	for name, tc := range map[string]struct {
		undoer
		fails string
	}{
		"one that runs":                      {undoer{by: "r", phase: "RolledBack", nodes: []*waftv1.NodeProgress{back}}, ""},
		"one that runs, and leaves a node":   {undoer{by: "r", phase: "RolledBack", nodes: []*waftv1.NodeProgress{back, lost}}, "went back, but for b"},
		"one that runs, and is aborted":      {undoer{by: "r", phase: "Aborted"}, "rollout/r ended as Aborted"},
		"one that has ended":                 {undoer{by: "r-undo", phase: "Done"}, ""},
		"one that has ended, and fails":      {undoer{by: "r-undo", phase: "RolledBack"}, "rollout/r-undo ended as RolledBack: because"},
		"one that has ended, and is aborted": {undoer{by: "r-undo", phase: "Aborted"}, "rollout/r-undo ended as Aborted"},
	} {
		t.Run(name, func(t *testing.T) {
			server := grpc.NewServer()
			waftv1.RegisterRolloutServiceServer(server, &tc.undoer)
			var out bytes.Buffer
			root := newRoot()
			root.SetArgs([]string{"rollout", "undo", "r", "--insecure", "--server", listening(t, server), "--reason", "a test", "--follow"})
			root.SetOut(&out)
			root.SetErr(&out)
			err := root.ExecuteContext(t.Context())
			switch {
			case tc.fails == "" && err != nil:
				t.Errorf("%v\n%s", err, out.String())
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("got %v, want %q", err, tc.fails)
			case !strings.Contains(out.String(), tc.by):
				t.Errorf("it does not show %s:\n%s", tc.by, out.String())
			}
		})
	}
}

// With --dry-run an undo is planned, and drawn as the plan of a start is; nothing is undone.
func TestUndoIsPlanned(t *testing.T) {
	server := grpc.NewServer()
	waftv1.RegisterRolloutServiceServer(server, &undoer{by: "not this"})
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs([]string{"rollout", "undo", "r", "--insecure", "--server", listening(t, server), "--dry-run"})
	root.SetOut(&out)
	root.SetErr(&out)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := `WAVE   NODE   FROM   TO   NOTE
1      a      two    one
–      b      one    no chain   has what it had before already
rollout/r-undo would take back
edge@sha256:1, nothing was changed
`
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
