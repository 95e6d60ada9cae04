package distributor

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	// healthInterval is how often readiness is looked at for those who watch grpc.health.v1: sooner than anybody who asks /readyz would notice.
	healthInterval = 250 * time.Millisecond
	// lastWord is how long who watches has to hear that this process stops.
	lastWord = 100 * time.Millisecond
)

// checks are grpc.health.v1: they say what /readyz says, since one load balancer asks the one, and another the other. They may be used concurrently.
type checks struct {
	*health.Server
	// over ends the streams of those who watch.
	over context.Context
	end  context.CancelFunc
}

// newChecks say that nothing is served yet.
func newChecks() *checks {
	c := &checks{Server: health.NewServer()}
	c.over, c.end = context.WithCancel(context.Background())
	c.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	return c
}

// follow has the checks say whether this process is ready, until ctx ends.
func (c *checks) follow(ctx context.Context, ready func() error) {
	look := time.NewTicker(healthInterval)
	defer look.Stop()
	var told healthpb.HealthCheckResponse_ServingStatus
	for {
		now := healthpb.HealthCheckResponse_SERVING
		if ready() != nil {
			now = healthpb.HealthCheckResponse_NOT_SERVING
		}
		if now != told {
			c.SetServingStatus("", now)
			told = now
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// stop says that nothing is served any more, whatever follow finds, and lets go who watches, for whom a server that stops would wait.
func (c *checks) stop() {
	c.Shutdown()
	time.AfterFunc(lastWord, c.end)
}

// Watch is healthpb.HealthServer's.
func (c *checks) Watch(request *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ctx, end := context.WithCancel(stream.Context())
	defer end()
	defer context.AfterFunc(c.over, end)()
	err := c.Server.Watch(request, watching{stream, ctx})
	if c.over.Err() != nil {
		return status.Error(codes.Unavailable, "the distributor is stopping; connect again")
	}
	return err
}

// watching is a stream with a context of its own.
type watching struct {
	grpc.ServerStreamingServer[healthpb.HealthCheckResponse]
	ctx context.Context
}

// Context is grpc.ServerStream's.
func (w watching) Context() context.Context { return w.ctx }
