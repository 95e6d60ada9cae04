package mcp

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// SinkServer is a sink that waits to be dialled: it serves istio.mcp.v1alpha1.ResourceSink, for places that may be dialled
// and must not dial out. Who may be its source is the gRPC server's to say: give that TLS with client certificates, and
// grpc.MaxRecvMsgSize(MaxResourcesBytes).
//
// One source is listened to at a time. A newer stream ends the older one, whose end may not have been noticed.
type SinkServer struct {
	mcpv1.UnimplementedResourceSinkServer

	sink *Sink
	// turn holds a token; whoever has it may touch the sink.
	turn chan struct{}

	mu sync.Mutex
	// end ends the latest stream; nil when there was none.
	end context.CancelCauseFunc
}

// NewSinkServer checks the configuration of a sink that is dialled.
func NewSinkServer(cfg SinkConfig) (*SinkServer, error) {
	if cfg.Conn != nil {
		return nil, errors.New("mcp sink: it is to be dialled, and has a connection of its own")
	}
	sink, err := newSink(cfg)
	if err != nil {
		return nil, err
	}
	return &SinkServer{sink: sink, turn: make(chan struct{}, 1)}, nil
}

// Register adds the sink to a gRPC server. Its streams end when the server stops.
func (s *SinkServer) Register(r grpc.ServiceRegistrar) { mcpv1.RegisterResourceSinkServer(r, s) }

var errReplaced = status.Error(codes.Aborted, "another source has taken the place of this one; check that one alone dials this sink")

// EstablishResourceStream takes what one source sends until it goes, or another one comes.
func (s *SinkServer) EstablishResourceStream(stream grpc.BidiStreamingServer[mcpv1.Resources, mcpv1.RequestResources]) error {
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	s.mu.Lock()
	if s.end != nil {
		s.end(errReplaced)
	}
	s.end = end
	s.mu.Unlock()

	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()

	_, err := s.sink.exchange(ctx, received{stream, ctx, receiveSoon(ctx, stream)})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.sink.log.Warn("lost the source", "node", s.sink.cfg.Node, "error", err)
	s.sink.state(SinkState{Err: err})
	return err
}

// received is a stream whose receiving ends with a context, too.
type received struct {
	grpc.BidiStreamingServer[mcpv1.Resources, mcpv1.RequestResources]
	ctx  context.Context
	soon <-chan message
}

type message struct {
	*mcpv1.Resources
	err error
}

// receiveSoon receives in a goroutine of its own, which ends with the stream.
func receiveSoon(ctx context.Context, stream grpc.BidiStreamingServer[mcpv1.Resources, mcpv1.RequestResources]) <-chan message {
	c := make(chan message)
	go func() {
		for {
			m, err := stream.Recv()
			select {
			case c <- message{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

// Recv implements sinkExchange.
func (r received) Recv() (*mcpv1.Resources, error) {
	select {
	case m := <-r.soon:
		return m.Resources, m.err
	case <-r.ctx.Done():
		return nil, context.Cause(r.ctx)
	}
}
