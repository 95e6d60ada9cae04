package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

const (
	// watchPatience is for how long a distributor that a rollout is watched at may be away: another replica may lead by then, or the same one run again.
	watchPatience = 30 * time.Second
	// watchPause is between two attempts to find it.
	watchPause = time.Second
)

// rolloutWatch follows a rollout over as many streams as that takes: one ends when its connection is old, or its replica stops. The next begins with the state as
// it is then.
type rolloutWatch struct {
	client *api.Client
	name   string
	stream grpc.ServerStreamingClient[waftv1.Rollout]
	// seen: something has come, so that the rollout is there and a stream that is lost is worth another one.
	seen bool
}

// next is the rollout's next state; io.EOF once it has ended.
func (w *rolloutWatch) next(ctx context.Context) (*waftv1.Rollout, error) {
	for lost := (time.Time{}); ; {
		r, err := w.receive(ctx)
		if err == nil {
			w.seen = true
			return r, nil
		}
		w.stream = nil
		if !w.seen || !errors.Is(err, model.ErrUnavailable) {
			return nil, err
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > watchPatience {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(watchPause):
		}
	}
}

func (w *rolloutWatch) receive(ctx context.Context) (_ *waftv1.Rollout, err error) {
	if w.stream == nil {
		if w.stream, err = w.client.Rollouts.WatchRollout(ctx, &waftv1.WatchRolloutRequest{Name: w.name}); err != nil {
			return nil, err
		}
	}
	return w.stream.Recv()
}
