package xds

import (
	"context"
	"errors"
	"io"
	"time"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds/internal/streams"
	"github.com/waft-project/waft/distributor/xds/pushed"
	"github.com/waft-project/waft/envoy"
)

// push is a stream of statistics of one node; another of the same node ends it.
type push struct {
	node string
	// over is closed when another has taken its place. Server.mu guards closing it.
	over chan struct{}
}

// What became of a message of statistics, as a label.
const (
	pushRead    = "read"
	pushDropped = "dropped"
)

// registerMetrics adds envoy.service.metrics.v3.MetricsService to a gRPC server. Its one method reads messages undecoded, which generated code cannot.
func (s *Server) registerMetrics(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: metricsv3.MetricsService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    "StreamMetrics",
			Handler:       func(_ any, stream grpc.ServerStream) error { return s.streamMetrics(stream) },
			ClientStreams: true,
		}},
		Metadata: metricsv3.MetricsService_ServiceDesc.Metadata,
	}, s)
}

// streamMetrics takes what one Envoy pushes until it goes, another of its node comes, or the server stops.
func (s *Server) streamMetrics(stream grpc.ServerStream) error {
	// Messages are read in a goroutine of its own, which ends with the stream.
	named, failed := make(chan *push, 1), make(chan error, 1)
	go func() { failed <- s.listen(stream, named) }()
	over := (<-chan struct{})(nil)
	for {
		select {
		case <-s.stop.Done():
			return streams.Stopping()
		case p := <-named:
			over = p.over
		case <-over:
			return status.Error(codes.Aborted, "another stream of statistics of this node has taken the place of this one; check that no two Envoys have its id")
		case err := <-failed:
			if err != nil {
				return err
			}
			return stream.SendMsg(&metricsv3.StreamMetricsResponse{})
		}
	}
}

// listen reads a stream: nil when Envoy has closed it in order. It says who it is of when that is known.
func (s *Server) listen(stream grpc.ServerStream, named chan<- *push) error {
	pace := rate.NewLimiter(MaxPushes, MaxPushesAtOnce)
	var from *push
	for {
		if err := pace.Wait(stream.Context()); err != nil {
			return err
		}
		var m pushed.Message
		if err := stream.RecvMsg(&m); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		switch id := m.Node(); {
		case from == nil && id == "":
			return status.Error(codes.InvalidArgument, "the first message names no node (identifier.node.id)")
		case len(id) > MaxNodeIDBytes:
			return status.Errorf(codes.InvalidArgument, "identifier.node.id has %d bytes; the limit is %d", len(id), MaxNodeIDBytes)
		case from == nil:
			from = s.enter(id)
			defer s.leave(from)
			named <- from
		case id != "" && id != from.node:
			return status.Errorf(codes.InvalidArgument, "identifier.node.id changed from %q to %.253q; a stream belongs to one node", from.node, id)
		}
		select {
		case <-from.over:
			return nil // who waits says why
		default:
		}
		if err := s.take(from.node, m.Bytes(), time.Now()); err != nil {
			return err
		}
	}
}

// enter makes a stream the one of its node.
func (s *Server) enter(node string) *push {
	s.mu.Lock()
	defer s.mu.Unlock()
	if older := s.pushing[node]; older != nil {
		close(older.over)
	}
	p := &push{node: node, over: make(chan struct{})}
	s.pushing[node] = p
	return p
}

func (s *Server) leave(p *push) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pushing[p.node] == p {
		delete(s.pushing, p.node)
	}
}

// take takes one message of a node. It is looked at only while statistics of the node are asked for, which they are of nodes in a running rollout.
func (s *Server) take(node string, message []byte, now time.Time) error {
	s.mu.Lock()
	r := s.nodes[node]
	s.mu.Unlock()
	if r == nil {
		s.metrics.pushed.WithLabelValues(pushDropped).Inc()
		return nil
	}
	stats, session, err := r.take(message, now)
	switch {
	case err != nil:
		return status.Errorf(codes.InvalidArgument, "statistics of node %s: %v", node, err)
	case session == nil:
		s.metrics.pushed.WithLabelValues(pushDropped).Inc()
		return nil
	}
	s.metrics.pushed.WithLabelValues(pushRead).Inc()
	if stats.Chain != "" {
		session.Statistics(stats)
	}
	return nil
}

// take gives what the node's chain has served, empty when the message says nothing of it, and whom to tell; nil: nobody asks. Only one goroutine calls it.
func (r *record) take(message []byte, now time.Time) (model.Statistics, session, error) {
	asked, wanted := r.asks()
	if !wanted {
		return model.Statistics{}, nil, nil
	}
	flush, err := pushed.Read(message, asked) // it may be large, and others wait for the lock
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner == nil {
		return model.Statistics{}, nil, nil
	}
	if err != nil {
		return model.Statistics{}, r.owner.session, err
	}
	if r.account == nil {
		r.account = &pushed.Account{}
	}
	stats, _ := r.account.Take(flush, r.serves(), asked, now)
	return stats, r.owner.session, nil
}

// asks says which statistics of the node are asked for beside those that are always read; false: none at all.
func (r *record) asks() ([]string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner == nil {
		return nil, false
	}
	if r.wanted.StatisticsInterval == 0 {
		r.account = nil // those of the next rollout begin anew
		return nil, false
	}
	return r.wanted.Statistics, true
}

// serves is what the node has accepted, as far as it is known; r.mu is held.
func (r *record) serves() pushed.Chain {
	c, held := r.memory.chain, r.memory.held
	if r.memory.client != nil {
		c, held = r.memory.last, r.memory.whole
	}
	if c == nil || c.hash != held {
		return pushed.Chain{}
	}
	of := pushed.Chain{Hash: c.hash, Split: c.split}
	for _, f := range c.filters {
		id := f.Name
		if model.Side(f.side) == model.SideCohort {
			id += envoy.CohortSuffix
		}
		of.Filters = append(of.Filters, pushed.Filter{ID: id, Side: model.Side(f.side)})
	}
	return of
}
