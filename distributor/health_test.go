package distributor

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// Who watches, and who asks, hears each time that the process becomes ready or is so no more, and of one that stops that it serves no more.
func TestHealthFollowsReadiness(t *testing.T) {
	checks := newChecks()
	server, listener := grpc.NewServer(), bufconn.Listen(1<<16)
	healthpb.RegisterHealthServer(server, checks)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:checks", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	hears := func(what string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := watch.Recv(); err != nil || got.GetStatus() != want {
			t.Fatalf("%s: who watches hears %v, %v; want %v", what, got.GetStatus(), err, want)
		}
		if got, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || got.GetStatus() != want {
			t.Errorf("%s: who asks hears %v, %v; want %v", what, got.GetStatus(), err, want)
		}
	}
	hears("before it is looked at", healthpb.HealthCheckResponse_NOT_SERVING)
	var lost atomic.Bool
	running, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		checks.follow(running, func() error {
			if lost.Load() {
				return errors.New("the replica that leads is not reached")
			}
			return nil
		})
	}()
	hears("ready", healthpb.HealthCheckResponse_SERVING)
	lost.Store(true)
	hears("not ready", healthpb.HealthCheckResponse_NOT_SERVING)
	lost.Store(false)
	hears("ready again", healthpb.HealthCheckResponse_SERVING)
	checks.stop()
	hears("it stops", healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("of what stops the watch ends with %v", err)
	}
	stop()
	<-over
}
