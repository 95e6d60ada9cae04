package distributor

import (
	"log/slog"
	"net"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/waft-project/waft/distributor/api"
)

// Port is the gRPC port of a distributor: its limits, its TLS, and its patience with clients that do not read. What is registered with it is served by
// Serve. The zero value is of no use.
type Port struct {
	*grpc.Server
	slow *patience
}

// NewPort makes the port that Run opens, without an access policy, bounds on clients and arrivals, and with nothing behind it yet, so that what the port itself costs can be measured
// (bench-fanout). Certificates are those that Config has; the zero value switches TLS off. Log may be nil.
func NewPort(certificates TLS, log *slog.Logger) (*Port, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opened, err := certificates.open(log)
	if err != nil {
		return nil, err
	}
	return newPort(opened, api.ServerOptions(log), newPatience(DefaultPatience), nil, nil, nil), nil
}

// newPort is the port for those outside; shown is nil where TLS is off, permitted where there is no access policy, limits and admitted where there are none.
func newPort(shown *certificates, options []grpc.ServerOption, slow *patience, permitted *permissions, limits *throttle, admitted *admission) *Port {
	if shown != nil {
		// Where there is an access policy clients may have a token, and who has neither is told so, which a broken handshake cannot.
		options = slices.Concat(options, []grpc.ServerOption{grpc.Creds(admitted.credentials(credentials.NewTLS(shown.server(permitted != nil))))})
	}
	options = slices.Concat(options, slow.interceptors(), limits.before(), permitted.interceptors(permitted.calling), limits.behind(), admitted.interceptors(), permitted.door(limits))
	return &Port{Server: grpc.NewServer(options...), slow: slow}
}

// Serve serves what comes to the listener until the port is stopped.
func (p *Port) Serve(l net.Listener) error { return p.Server.Serve(p.slow.listener(l)) }
