package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/waft-project/waft/distributor/certfile"
)

// dial makes the connection for MCP and reports. It is made when the first stream opens, and again for ever: to the first of the servers that answers, in an order
// of this client's own, so that the clients of a fleet spread over the replicas. A name is looked up each time.
func dial(cfg Config) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if !cfg.Insecure {
		creds = certfile.Transport(cfg.TLS)
	}
	var state resolver.State
	for _, i := range rand.Perm(len(cfg.Servers)) {
		host, _, err := net.SplitHostPort(cfg.Servers[i])
		if err != nil {
			return nil, fmt.Errorf("%w: servers: %w", ErrInvalid, err)
		}
		state.Addresses = append(state.Addresses, resolver.Address{Addr: cfg.Servers[i], ServerName: host})
	}
	servers := manual.NewBuilderWithScheme("waft")
	servers.InitialState(state)
	patience := backoff.DefaultConfig
	patience.MaxDelay = retryMax
	return grpc.NewClient(servers.Scheme()+":///distributor",
		grpc.WithResolvers(servers),
		grpc.WithTransportCredentials(creds),
		// It bounds, too, what TCP may leave unacknowledged, which is keepaliveTimeout.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
				Enable: true, Idle: tcpSilent, Interval: tcpAgain, Count: int(keepaliveTimeout / tcpAgain),
			}}).DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: patience, MinConnectTimeout: connectTimeout}),
		grpc.WithStaticStreamWindowSize(windowBytes), grpc.WithStaticConnWindowSize(windowBytes),
	)
}
