package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// In an emergency a command takes out the filter that it names, where it says, and no door unless that is said, too; and it is put back in the waves that are told. What is not said whole asks for nothing.
func TestEmergencyCommandsAskForWhatTheySay(t *testing.T) {
	var asked []proto.Message
	server := grpc.NewServer(grpc.UnaryInterceptor(func(_ context.Context, request any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		asked = append(asked, request.(proto.Message))
		if strings.HasSuffix(info.FullMethod, "/EnableFilter") {
			return &waftv1.Rollout{}, nil
		}
		return &waftv1.DisabledFilter{}, nil
	}))
	waftv1.RegisterFilterServiceServer(server, waftv1.UnimplementedFilterServiceServer{})
	address := listening(t, server)
	all := &waftv1.Wave{Percent: 100}
	for line, want := range map[string]proto.Message{
		"disable f --everywhere --reason why":                                   &waftv1.DisableFilterRequest{Filter: "f", Everywhere: true, Reason: "why"},
		"disable f --selector zone=a --reason why":                              &waftv1.DisableFilterRequest{Filter: "f", Selector: "zone=a", Reason: "why"},
		"disable f -l zone=a --let-unauthorized-requests-pass --reason why":     &waftv1.DisableFilterRequest{Filter: "f", Selector: "zone=a", LetUnauthorizedRequestsPass: true, Reason: "why"},
		"disable f --reason why":                                                nil,
		"disable f --everywhere -l zone=a --reason why":                         nil,
		"disable f --everywhere":                                                nil,
		"enable f --reason why":                                                 &waftv1.EnableFilterRequest{Filter: "f", Reason: "why", Waves: []*waftv1.Wave{{Nodes: 1, Soak: "1m"}, {Percent: 25, Soak: "1m"}, all}},
		"enable f --nodes 2 --percent 50 --soak 5m --max-not-serving 3":         &waftv1.EnableFilterRequest{Filter: "f", Waves: []*waftv1.Wave{{Nodes: 2, Soak: "5m"}, {Percent: 50, Soak: "5m"}, all}, MaxNotServing: 3},
		"enable f --percent 0 --soak 5m":                                        &waftv1.EnableFilterRequest{Filter: "f", Waves: []*waftv1.Wave{{Nodes: 1, Soak: "5m"}, all}},
		"disable f --everywhere --reason why --selector= -o json --actor alice": &waftv1.DisableFilterRequest{Filter: "f", Everywhere: true, Reason: "why"},
	} {
		asked = nil
		err := try(t.Context(), nil, append(append([]string{"filter"}, strings.Fields(line)...), "--insecure", "--server", address)...)
		var usage usageError
		switch {
		case want == nil:
			if !errors.As(err, &usage) || len(asked) > 0 {
				t.Errorf("waft filter %s asked for %v, %v", line, asked, err)
			}
		case err != nil || len(asked) != 1 || !proto.Equal(asked[0], want):
			t.Errorf("waft filter %s asked for %v, %v; want %v", line, asked, err, want)
		}
	}
}
