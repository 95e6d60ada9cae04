package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// TestSteeringCommandsAskForWhatTheySay runs the commands with which a person steers: each makes the call of its name, of what was named, with the reason.
func TestSteeringCommandsAskForWhatTheySay(t *testing.T) {
	var asked []string
	server := grpc.NewServer(grpc.UnaryInterceptor(func(_ context.Context, req any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		call := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
		if r, is := req.(interface{ GetName() string }); is {
			call += " " + r.GetName()
		}
		if r, is := req.(interface{ GetId() string }); is {
			call += " " + r.GetId()
		}
		if r, is := req.(interface{ GetFor() string }); is {
			call += " for " + r.GetFor()
		}
		if r, is := req.(interface{ GetReason() string }); is {
			call += ": " + r.GetReason()
		}
		asked = append(asked, call)
		switch {
		case strings.HasPrefix(info.FullMethod, "/waft.v1.NodeService/"):
			return &waftv1.Node{Id: "edge-1"}, nil
		case strings.HasPrefix(info.FullMethod, "/waft.v1.FreezeService/"):
			return &waftv1.Freeze{}, nil
		}
		return &waftv1.Rollout{}, nil
	}))
	waftv1.RegisterRolloutServiceServer(server, waftv1.UnimplementedRolloutServiceServer{})
	waftv1.RegisterNodeServiceServer(server, waftv1.UnimplementedNodeServiceServer{})
	waftv1.RegisterFreezeServiceServer(server, waftv1.UnimplementedFreezeServiceServer{})
	address := listening(t, server)
	for line, want := range map[string]string{
		"rollout pause r":   "PauseRollout r: why",
		"rollout resume r":  "ResumeRollout r: why",
		"rollout promote r": "PromoteRollout r: why",
		"rollout approve r": "ApproveRollout r: why",
		"rollout abort r":   "AbortRollout r: why",
		"rollout undo r":    "UndoRollout r: why",
		"nodes retry n":     "RetryNode n: why",
		"nodes release n":   "ReleaseNode n: why",
		"freeze --for 90m":  "StartFreeze for 1h30m0s: why",
		"freeze":            "StartFreeze for : why",
		"unfreeze":          "EndFreeze: why",
	} {
		asked = nil
		root := newRoot()
		root.SetArgs(append(strings.Fields(line), "--insecure", "--server", address, "--reason", "why"))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		if err := root.ExecuteContext(t.Context()); err != nil || len(asked) != 1 || asked[0] != want {
			t.Errorf("waft %s asked for %q, %v", line, asked, err)
		}
	}
}
