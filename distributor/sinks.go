package distributor

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
)

// SinkAddress is where the sink of a node waits to be dialled.
type SinkAddress struct {
	// Node is the id that the sink gives itself; it is served as no other.
	Node string
	// Address is HOST:PORT.
	Address string
}

// ParseSinkAddress reads NODE=HOST:PORT.
func ParseSinkAddress(text string) (SinkAddress, error) {
	node, address, ok := strings.Cut(text, "=")
	if !ok {
		return SinkAddress{}, model.Invalidf("", "sink", "write NODE=HOST:PORT", "%q names no node", text)
	}
	sink := SinkAddress{Node: node, Address: address}
	return sink, checkSinks([]SinkAddress{sink})
}

func checkSinks(sinks []SinkAddress) error {
	seen := map[string]string{}
	for _, s := range sinks {
		if err := model.ValidateNodeID("", "sink", s.Node); err != nil {
			return err
		}
		if host, port, err := net.SplitHostPort(s.Address); err != nil || host == "" || port == "" {
			return model.Invalidf("node/"+s.Node, "sink", "write NODE=HOST:PORT", "%q is not HOST:PORT", s.Address)
		}
		if other, twice := seen[s.Node]; twice {
			return model.Invalidf("node/"+s.Node, "sink", "give each sink an id of its own", "is to be dialled at %s and at %s", other, s.Address)
		}
		seen[s.Node] = s.Address
	}
	return nil
}

// sinks are the connections to sinks that are dialled.
type sinks struct {
	source *mcp.Source
	log    *slog.Logger
	conns  map[string]*grpc.ClientConn
}

// openSinks makes the connections; nothing is dialled yet. ours are this distributor's certificates, nil when TLS is off.
func openSinks(cfg Config, ours *certificates, source *mcp.Source, log *slog.Logger) (*sinks, error) {
	s := &sinks{source: source, log: log, conns: map[string]*grpc.ClientConn{}}
	if len(cfg.Sinks) == 0 {
		return s, nil
	}
	transport := insecure.NewCredentials()
	if ours == nil {
		warnPlain(cfg.Sinks, log)
	}
	if ours != nil {
		transport = certfile.Transport(ours.client)
	}
	for _, sink := range cfg.Sinks {
		conn, err := grpc.NewClient(sink.Address,
			grpc.WithTransportCredentials(transport),
			// net.Dialer's TCP keepalive finds a sink that is gone. gRPC's own would have to be slower: servers that were not told
			// otherwise end connections on which they are asked more often than every five minutes.
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", address)
			}))
		if err != nil {
			s.close()
			return nil, model.Invalidf("node/"+sink.Node, "sink", "write NODE=HOST:PORT", "%q: %v", sink.Address, err)
		}
		s.conns[sink.Node] = conn
	}
	return s, nil
}

// warnPlain says which sinks are told over a network, in the clear, what to run.
func warnPlain(sinks []SinkAddress, log *slog.Logger) {
	for _, s := range sinks {
		host, _, _ := net.SplitHostPort(s.Address)
		if !model.OnThisMachine(host) {
			log.Warn("TLS is off and a sink on another machine is dialled: whoever is between may change what it runs", "node", s.Node, "address", s.Address)
		}
	}
}

// serve keeps a stream to each sink until ctx ends.
func (s *sinks) serve(ctx context.Context) {
	var all sync.WaitGroup
	for node, conn := range s.conns {
		all.Go(func() {
			if err := s.source.Dial(ctx, mcp.DialConfig{Conn: conn, Node: node}); err != nil {
				s.log.Error("a sink is not dialled", "node", node, "error", err) // a fault of this program's
			}
		})
	}
	all.Wait()
}

func (s *sinks) close() {
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}
