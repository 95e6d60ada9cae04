package distributor

import (
	"context"
	"time"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// healthInterval is how often readiness is looked at for those who watch grpc.health.v1: sooner than anybody who asks /readyz would notice.
const healthInterval = 250 * time.Millisecond

// tellHealth has grpc.health.v1 say what /readyz says, until ctx ends: one load balancer asks the one, and another the other. Once checks are shut down they say no more
// that anything is served.
func tellHealth(ctx context.Context, checks *health.Server, ready func() error) {
	look := time.NewTicker(healthInterval)
	defer look.Stop()
	var told healthpb.HealthCheckResponse_ServingStatus
	for {
		now := healthpb.HealthCheckResponse_SERVING
		if ready() != nil {
			now = healthpb.HealthCheckResponse_NOT_SERVING
		}
		if now != told {
			checks.SetServingStatus("", now)
			told = now
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
