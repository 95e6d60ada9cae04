package cluster

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// stuckHealth answers nothing.
type stuckHealth struct {
	*health.Server
	asked chan struct{}
}

// Check is healthpb.HealthServer's.
func (s *stuckHealth) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	close(s.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

// asked is a stream of one message.
type asked struct {
	grpc.ServerStream
	ctx context.Context
}

func (a asked) Context() context.Context { return a.ctx }
func (a asked) RecvMsg(any) error        { return nil }

// A call that waits for what never comes ends with what it is of, and says what is not known; one whose client has gone, with that.
func TestCallsUntil(t *testing.T) {
	for name, c := range map[string]struct {
		ended bool
		code  codes.Code
	}{"what it is of has ended": {true, codes.Unavailable}, "its client has gone": {false, codes.Canceled}} {
		until, end := context.WithCancel(t.Context())
		client, leave := context.WithCancel(t.Context())
		if !c.ended {
			end, leave = leave, end
		}
		stuck := &stuckHealth{health.NewServer(), make(chan struct{})}
		calls := &Calls{Until: until}
		healthpb.RegisterHealthServer(calls, stuck)
		answered := make(chan error, 1)
		go func() { answered <- calls.Handle("/grpc.health.v1.Health/Check", asked{ctx: client}) }()
		<-stuck.asked
		end()
		err := <-answered
		if says := strings.Contains(err.Error(), "look whether it was carried out"); says != c.ended {
			t.Errorf("%s: it is told %v", name, err)
		}
		if status.FromContextError(err).Code() != c.code && status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		leave()
	}
}
