package mcp

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// DialConfig names a sink that waits to be dialled: one that serves istio.mcp.v1alpha1.ResourceSink.
type DialConfig struct {
	// Conn leads to the sink. It is not closed. Required.
	Conn grpc.ClientConnInterface
	// Node is the only id that the sink may give itself, so that whoever answers there gets what is meant for that node, and
	// nothing else. Required.
	Node string
	// MinBackoff and MaxBackoff bound the pause between attempts. Zero: DefaultMinBackoff, DefaultMaxBackoff.
	MinBackoff, MaxBackoff time.Duration
}

// Dial keeps a stream to a sink open until ctx or the source ends, and returns nil then. A stream that is lost, or that the
// sink is not served on for a fault of its own, is opened again after a pause that doubles from MinBackoff to MaxBackoff, with
// jitter, without an end.
func (s *Source) Dial(ctx context.Context, cfg DialConfig) error {
	switch {
	case cfg.Conn == nil:
		return errors.New("mcp source: no connection to dial")
	case cfg.Node == "":
		return errors.New("mcp source: the sink to dial has no node id")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	if cfg.MinBackoff <= 0 {
		cfg.MinBackoff = DefaultMinBackoff
	}
	if cfg.MaxBackoff < cfg.MinBackoff {
		cfg.MaxBackoff = max(DefaultMaxBackoff, cfg.MinBackoff)
	}
	pauses := backoff{min: cfg.MinBackoff, max: cfg.MaxBackoff}
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			s.metrics.reconnections.WithLabelValues(string(componentSource)).Inc()
		}
		opened := time.Now()
		err := s.dial(ctx, cfg)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("the sink closed the stream")
		}
		if time.Since(opened) >= cfg.MaxBackoff {
			pauses.reset() // it was there; a sink that fails at once each time is not asked ever faster
		}
		wait := pauses.next()
		s.log.Warn("lost a sink that is dialled", "node", cfg.Node, "error", err, "retry_in", wait)
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// dial opens one stream and serves it until it breaks.
func (s *Source) dial(ctx context.Context, cfg DialConfig) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := mcpv1.NewResourceSinkClient(cfg.Conn).EstablishResourceStream(ctx, grpc.MaxCallRecvMsgSize(MaxRequestBytes))
	if err != nil {
		return err
	}
	// Some servers hear of a stream only when its first message comes, and the sink is the one to ask. So Istio's source
	// begins with a message of no collection, which the sink refuses, and so does this one.
	if err := stream.Send(&mcpv1.Resources{}); err != nil {
		return endOf(err, stream.Recv)
	}
	return s.serve(stream, cfg.Node)
}

// endOf says what ended a stream that cannot be sent on any more: with io.EOF from sending, receiving knows.
func endOf[M any](err error, receive func() (M, error)) error {
	if errors.Is(err, io.EOF) {
		if _, told := receive(); told != nil && !errors.Is(told, io.EOF) {
			return told
		}
	}
	return err
}

// isGreeting says whether a message of a source is that one.
func isGreeting(m *mcpv1.Resources) bool {
	return m.GetCollection() == "" && len(m.GetResources()) == 0
}

// refusesGreeting says whether a request is a sink's answer to the message of no collection that begins a stream which the
// source opened. Such an answer asks for nothing.
func refusesGreeting(r *mcpv1.RequestResources) bool {
	return r.GetCollection() == "" && codes.Code(r.GetErrorDetail().GetCode()) == codes.Unimplemented
}
