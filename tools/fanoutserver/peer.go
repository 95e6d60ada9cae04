package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/envoy"
)

// peer is go-control-plane's snapshot cache and server, on a gRPC server with the limits of waft's.
type peer struct {
	grpc  *grpc.Server
	cache cache.SnapshotCache
	ids   []string
}

// everyone has all nodes share one snapshot.
type everyone struct{}

// ID is cache.NodeHash's.
func (everyone) ID(*corev3.Node) string { return "" }

func openPeer(ctx context.Context, s settings) (server, error) {
	if s.dialect == "mcp" {
		return nil, errors.New("go-control-plane does not speak mcp; compare with delta")
	}
	certificate, err := tls.LoadX509KeyPair(s.tls.Cert, s.tls.Key)
	if err != nil {
		return nil, err
	}
	authorities, err := os.ReadFile(s.tls.ClientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	options := append(api.ServerOptions(slog.New(slog.DiscardHandler)), grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	p := &peer{grpc: grpc.NewServer(options...), ids: []string{""}}
	var hash cache.NodeHash = everyone{}
	if s.perNode > 0 {
		hash, p.ids = cache.IDHash{}, nil
		for i := range s.perNode {
			p.ids = append(p.ids, fmt.Sprintf("node-%05d", i))
		}
	}
	p.cache = cache.NewSnapshotCache(true, hash, nil)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(p.grpc, serverv3.NewServer(ctx, p.cache, nil))
	return p, nil
}

func (p *peer) serve(l net.Listener) error { return p.grpc.Serve(l) }

// prepare renders the same resource that waft's server sends.
func (p *peer) prepare(number, bytes int) (func() error, error) {
	chain, err := chainOf(number, bytes)
	if err != nil {
		return nil, err
	}
	f := chain.Filters[0]
	packed, err := envoy.ChainResource(envoy.SlotName, []envoy.WasmFilter{{
		Name: f.Name, FailurePolicy: envoy.FailurePolicy(f.FailurePolicy), Config: f.Config,
		Remote: envoy.RemoteModule{
			URL: "http://waft/v2/waft/modules/blobs/" + f.Module.Digest, Cluster: envoy.ModulesCluster, SHA256: strings.TrimPrefix(f.Module.Digest, "sha256:"),
		},
	}})
	if err != nil {
		return nil, err
	}
	config := &corev3.TypedExtensionConfig{}
	if err := packed.UnmarshalTo(config); err != nil {
		return nil, err
	}
	snapshots := make([]cache.ResourceSnapshot, 0, len(p.ids))
	for range p.ids {
		one, err := cache.NewSnapshot(chain.Hash, map[resource.Type][]types.Resource{resource.ExtensionConfigType: {proto.CloneOf(config)}})
		if err != nil {
			return nil, err
		}
		snapshots = append(snapshots, one)
	}
	return func() error {
		for i, id := range p.ids {
			if err := p.cache.SetSnapshot(context.Background(), id, snapshots[i]); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
