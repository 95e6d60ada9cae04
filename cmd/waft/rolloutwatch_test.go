package main

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// moody serves a rollout on streams that end in ways that a test says.
type moody struct {
	waftv1.UnimplementedRolloutServiceServer
	// ends are the errors with which streams end, one after the other, each after one state.
	ends []error
	// silent streams end before they have said anything.
	silent bool
	opened int
}

func (m *moody) WatchRollout(_ *waftv1.WatchRolloutRequest, stream grpc.ServerStreamingServer[waftv1.Rollout]) error {
	end := m.ends[min(m.opened, len(m.ends)-1)]
	m.opened++
	if !m.silent {
		if err := stream.Send(&waftv1.Rollout{Status: &waftv1.RolloutStatus{Wave: int32(m.opened)}}); err != nil {
			return err
		}
	}
	return api.ToStatus(end)
}

// A rollout is followed over a stream that is lost, and no longer than it is there; one that never was, and any other error, ends it at once.
func TestRolloutIsWatchedOverSeveralStreams(t *testing.T) {
	away := &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "is stopping"}
	gone := &model.Error{Kind: model.ErrNotFound, Object: "rollout/r", Message: "no such rollout"}
	for name, tc := range map[string]struct {
		*moody
		states int
		end    error
	}{
		"one stream":              {&moody{ends: []error{nil}}, 1, io.EOF},
		"one that is lost":        {&moody{ends: []error{away, nil}}, 2, io.EOF},
		"another error":           {&moody{ends: []error{away, gone}}, 2, model.ErrNotFound},
		"one that never answered": {&moody{ends: []error{away}, silent: true}, 0, model.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			server := grpc.NewServer()
			waftv1.RegisterRolloutServiceServer(server, tc.moody)
			client, err := api.Dial(api.ClientConfig{Address: listening(t, server), Insecure: true})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			w := &rolloutWatch{client: client, name: "r"}
			for i := range tc.states {
				if r, err := w.next(t.Context()); err != nil || int(r.GetStatus().GetWave()) != i+1 {
					t.Fatalf("state %d: %v, %v", i, r, err)
				}
			}
			if r, err := w.next(t.Context()); !errors.Is(err, tc.end) {
				t.Errorf("it ends with %v, %v; want %v", r, err, tc.end)
			}
		})
	}
}
