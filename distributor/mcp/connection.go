package mcp

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"github.com/waft-project/waft/distributor/proxied"
)

// Times of the connection of a node to its distributor.
const (
	// A distributor whose machine is gone is found by TCP: the kernel asks after tcpSilent, again every tcpAgain, and gives up when nothing has come for
	// keepaliveTimeout since. A question by HTTP/2 would have to be answered by the distributor itself, for every node of the fleet; asked every
	// keepaliveTime it is for what TCP cannot see, a process that hangs.
	tcpSilent        = 20 * time.Second
	tcpAgain         = 5 * time.Second
	keepaliveTime    = 5 * time.Minute
	keepaliveTimeout = 10 * time.Second
	connectTimeout   = 10 * time.Second
	// windowBytes is what is taken of a stream before it has been read. It is fixed: gRPC finds one of its own by a ping for every message that comes
	// alone, and each of those would have to be answered by the distributor, for every node of the fleet.
	windowBytes = 1 << 20
)

// Connection is the target, and the options, of a connection that carries a node's streams, of MCP and of reports, to the distributor at an address, host:port; credentials are
// the caller's. maxDelay bounds the pause between two attempts to connect. Where the environment names a proxy for that address, it goes through the proxy.
func Connection(address string, maxDelay time.Duration) (target string, options []grpc.DialOption) {
	if proxied.Named(address) {
		return "passthrough:///" + address, ConnectionOptions(maxDelay) // the proxy looks the name up
	}
	return address, optionsWith(maxDelay, func(ctx context.Context, address string) (net.Conn, error) {
		return dialer().DialContext(ctx, "tcp", address)
	})
}

// ConnectionOptions are those of such a connection where the caller has a resolver of its own, which leaves names as they are: a dialler that is given keeps gRPC from
// asking the environment for a proxy, so this one does, and what it asks about are names. Through a proxy TCP finds only that the proxy is gone; a distributor whose machine
// is, is found after keepaliveTime.
func ConnectionOptions(maxDelay time.Duration) []grpc.DialOption {
	return optionsWith(maxDelay, func(ctx context.Context, address string) (net.Conn, error) {
		return proxied.Dial(ctx, dialer(), address)
	})
}

func dialer() *net.Dialer {
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: tcpSilent, Interval: tcpAgain, Count: int(keepaliveTimeout / tcpAgain)}}
}

func optionsWith(maxDelay time.Duration, dial func(context.Context, string) (net.Conn, error)) []grpc.DialOption {
	patience := grpcbackoff.DefaultConfig
	patience.MaxDelay = maxDelay
	return []grpc.DialOption{
		// It bounds, too, what TCP may leave unacknowledged, which is keepaliveTimeout.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithContextDialer(dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: patience, MinConnectTimeout: connectTimeout}),
		grpc.WithStaticStreamWindowSize(windowBytes), grpc.WithStaticConnWindowSize(windowBytes),
	}
}
