package client

import (
	"fmt"
	"math/rand/v2"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/mcp"
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
	options := append(mcp.ConnectionOptions(retryMax), grpc.WithResolvers(servers), grpc.WithTransportCredentials(creds))
	return grpc.NewClient(servers.Scheme()+":///distributor", options...)
}
