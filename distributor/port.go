package distributor

import (
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/distributor/port"
)

// Port is the gRPC port of a distributor: its limits, its TLS, and its patience with clients that do not read. What is registered with it is served by
// Serve. The zero value is of no use.
type Port struct {
	*port.Server
	slow *patience
}

// NewPort makes the port that Run opens, without an access policy and bounds on clients and streams that arrive, and with nothing behind it yet, so that what the port itself costs can be measured
// (bench-fanout). Certificates are those that Config has; the zero value switches TLS off. Log may be nil.
func NewPort(certificates TLS, log *slog.Logger) (*Port, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opened, err := certificates.open(log)
	if err != nil {
		return nil, err
	}
	admitted, err := newAdmission(prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	admitted.arrivals = nil
	return newPort(opened, portConfig(log), newPatience(DefaultPatience), nil, nil, admitted), nil
}

// portConfig is what every port for those outside has: the limits of api.ServerOptions.
func portConfig(log *slog.Logger) port.Config {
	return port.Config{
		Codec: encoded.Codec{},
		Unary: []grpc.UnaryServerInterceptor{api.UnaryErrors(log)}, Stream: []grpc.StreamServerInterceptor{api.StreamErrors(log)},
		MaxReceive: api.MaxMessageBytes, MaxHeader: api.MaxHeaderBytes, MaxStreams: api.MaxStreams, Window: api.WindowBytes,
		Handshake: api.HandshakeTimeout, Silence: api.KeepaliveTime, Answer: api.KeepaliveTimeout, MinPing: api.MinKeepaliveTime,
		Log: log,
	}
}

// newPort is the port for those outside; shown is nil where TLS is off, permitted where there is no access policy, limits and admitted where there are none.
func newPort(shown *certificates, cfg port.Config, slow *patience, permitted *permissions, limits *throttle, admitted *admission) *Port {
	if shown != nil {
		// Where there is an access policy clients may have a token, and who has neither is told so, which a broken handshake cannot.
		cfg.Credentials = admitted.credentials(port.TLS(shown.server(permitted != nil, port.ALPN)))
	}
	for _, one := range []around{limits.before(), permitted.interceptors(permitted.calling), limits.behind(permitted), admitted.interceptors()} {
		if one.unary != nil {
			cfg.Unary = append(cfg.Unary, one.unary)
		}
		if one.stream != nil {
			cfg.Stream = append(cfg.Stream, one.stream)
		}
	}
	cfg.Door, cfg.Patience = permitted.door(limits), slow.limit
	return &Port{Server: port.NewServer(cfg), slow: slow}
}

// Serve serves what comes to the listener until the port is stopped.
func (p *Port) Serve(l net.Listener) error { return p.Server.Serve(p.slow.watched(l)) }

// around stands around the handlers of calls, of both kinds; nil: nothing does.
type around struct {
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
}

// options is that for grpc-go's server.
func (a around) options() []grpc.ServerOption {
	var all []grpc.ServerOption
	if a.unary != nil {
		all = append(all, grpc.ChainUnaryInterceptor(a.unary))
	}
	if a.stream != nil {
		all = append(all, grpc.ChainStreamInterceptor(a.stream))
	}
	return all
}
