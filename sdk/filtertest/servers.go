package filtertest

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// server is a scripted server behind a cluster of a real Envoy.
type server interface {
	address() string
	script(c Cluster)
	take() []ObservedRequest
	stop()
}

// httpServer is an upstream as a server.
type httpServer struct{ *upstream }

func (s httpServer) script(c Cluster) { s.upstream.script(c.Reply) }

// nowhere is an address where nobody listens.
type nowhere string

func (n nowhere) address() string       { return string(n) }
func (nowhere) script(Cluster)          {}
func (nowhere) take() []ObservedRequest { return nil }
func (nowhere) stop()                   {}

// servers are the servers behind a file's clusters, in their order.
type servers []namedServer

type namedServer struct {
	Cluster
	server server
}

// startServers starts a server for each cluster. Stop them.
func startServers(clusters []Cluster) (servers, error) {
	var out servers
	for _, c := range clusters {
		s, err := startServer(c)
		if err != nil {
			out.stop()
			return nil, err
		}
		s.script(c)
		out = append(out, namedServer{c, s})
	}
	return out, nil
}

func startServer(c Cluster) (server, error) {
	switch {
	case c.Reply.Fault.standing():
		return findNowhere()
	case c.GRPC != nil:
		return startGRPC()
	}
	u, err := startUpstream()
	return httpServer{u}, err
}

// findNowhere finds a port that is free. The system gives ports out in turn, so it stays so for a while.
func findNowhere() (server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port where nobody listens: %w", err)
	}
	return nowhere(l.Addr().String()), l.Close()
}

func (ss servers) stop() {
	for _, s := range ss {
		s.server.stop()
	}
}

// script sets what the servers answer.
func (ss servers) script(clusters []Cluster) {
	for _, s := range ss {
		for _, c := range clusters {
			if c.Name == s.Name {
				s.server.script(c)
			}
		}
	}
}

// take gives what reached the servers since the last call.
func (ss servers) take() map[string][]ObservedRequest {
	var out map[string][]ObservedRequest
	for _, s := range ss {
		if seen := s.server.take(); len(seen) > 0 {
			if out == nil {
				out = map[string][]ObservedRequest{}
			}
			out[s.Name] = sortCallouts(seen)
		}
	}
	return out
}

// clusters are the servers as clusters of Envoy.
func (ss servers) clusters() []envoy.Cluster {
	var out []envoy.Cluster
	for _, s := range ss {
		out = append(out, envoy.Cluster{Name: s.Name, Address: s.server.address()})
	}
	return out
}

// configure completes what a bootstrap says of clusters and of the connection manager.
func (ss servers) configure(bootstrap map[string]any) error {
	static := member(bootstrap, "static_resources", "staticResources")
	clusters, _ := static["clusters"].([]any)
	if len(clusters) == 0 {
		return errors.New("bootstrap: no clusters")
	}
	for _, c := range clusters {
		c, ok := c.(map[string]any)
		if !ok {
			return errors.New("bootstrap: a cluster is not an object")
		}
		i := slices.IndexFunc(ss, func(s namedServer) bool { return s.Name == c["name"] })
		if i >= 0 && ss[i].Reply.Fault == FaultUnhealthy {
			delete(c, "load_assignment")
			delete(c, "loadAssignment")
		}
		c["typed_extension_protocol_options"] = map[string]any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol(i >= 0 && ss[i].GRPC != nil),
		}
	}
	return enableTrailers(static)
}

// protocol is how Envoy speaks to a server. Over HTTP/1.1 it sends one request over a connection: a filter that sends more than it says
// must not spoil the next one.
func protocol(grpc bool) map[string]any {
	options := map[string]any{"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
	if grpc {
		options["explicit_http_config"] = map[string]any{"http2_protocol_options": map[string]any{}}
		return options
	}
	options["common_http_protocol_options"] = map[string]any{"max_requests_per_connection": 1}
	options["explicit_http_config"] = map[string]any{"http_protocol_options": map[string]any{"enable_trailers": true}}
	return options
}

// connectionManager is the type of the filter that speaks HTTP.
const connectionManager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

// enableTrailers lets trailers through on the way from and to the client: over HTTP/1.1 Envoy drops them otherwise.
func enableTrailers(static map[string]any) error {
	listeners, _ := static["listeners"].([]any)
	for _, l := range listeners {
		l, _ := l.(map[string]any)
		chains, _ := either(l, "filter_chains", "filterChains").([]any)
		for _, chain := range chains {
			chain, _ := chain.(map[string]any)
			filters, _ := chain["filters"].([]any)
			for _, f := range filters {
				f, _ := f.(map[string]any)
				if manager := member(f, "typed_config", "typedConfig"); manager != nil && manager["@type"] == connectionManager {
					manager["http_protocol_options"] = map[string]any{"enable_trailers": true}
				}
			}
		}
	}
	if len(listeners) == 0 {
		return errors.New("bootstrap: no listeners")
	}
	return nil
}

// either is a member of an object that may be spelled in two ways.
func either(m map[string]any, name, other string) any {
	if v, ok := m[name]; ok {
		return v
	}
	return m[other]
}

func member(m map[string]any, name, other string) map[string]any {
	v, _ := either(m, name, other).(map[string]any)
	return v
}

// without leaves a header out.
func without(hs wasmhost.Headers, name string) wasmhost.Headers {
	return slices.DeleteFunc(hs, func(h wasmhost.Header) bool { return h.Name == name })
}
