package client

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// stopping is a distributor that ends the first stream before it answers, as one that is stopping does, and all others when they are to be ended.
type stopping struct {
	waftv1.UnimplementedReportServiceServer
	mu      sync.Mutex
	streams int
	heard   chan *waftv1.ReportRequest
	end     chan struct{}
}

func (s *stopping) Report(stream grpc.BidiStreamingServer[waftv1.ReportRequest, waftv1.ReportResponse]) error {
	s.mu.Lock()
	s.streams++
	first := s.streams == 1
	s.mu.Unlock()
	if _, err := stream.Recv(); err != nil || first {
		return status.Error(codes.Unavailable, "it stops")
	}
	if err := stream.Send(&waftv1.ReportResponse{}); err != nil {
		return err
	}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for {
			request, err := stream.Recv()
			if err != nil {
				return
			}
			s.heard <- request
		}
	}()
	select {
	case <-s.end:
	case <-reading:
	}
	return status.Error(codes.Unavailable, "it stops, too")
}

// That the application ended is told to the distributor that answers, however many did not; and once.
func TestRestartIsToldToWhoAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &stopping{heard: make(chan *waftv1.ReportRequest, 16), end: make(chan struct{})}
	server := grpc.NewServer()
	waftv1.RegisterReportServiceServer(server, d)
	go func() { _ = server.Serve(listener) }() // Stop ends it
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := newReporter(conn, slog.New(slog.DiscardHandler), func() *waftv1.Hello { return &waftv1.Hello{Node: "app-1"} })
	r.restart("a test")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { r.run(ctx) })
	next := func() *waftv1.ReportRequest {
		t.Helper()
		select {
		case request := <-d.heard:
			return request
		case <-time.After(time.Minute):
			t.Fatal("nothing is told")
			return nil
		}
	}
	if got := next(); got.GetRestarted().GetReason() != "a test" {
		t.Errorf("it says %v first", got)
	}
	r.stand(&waftv1.ChainReport{Hash: "a"})
	if got := next(); got.GetChain().GetHash() != "a" {
		t.Errorf("it says %v then", got)
	}
	d.end <- struct{}{}
	if got := next(); got.GetChain().GetHash() != "a" {
		t.Errorf("on a new stream it says %v", got)
	}
}
