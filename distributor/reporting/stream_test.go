package reporting

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
	"google.golang.org/protobuf/types/known/durationpb"

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

// notes is a sayer of one chain report.
type notes struct {
	mu    sync.Mutex
	hash  string
	said  bool
	heard int
}

func (n *notes) Hello() *waftv1.Hello { return &waftv1.Hello{Node: "n1"} }

func (n *notes) Again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = false
}

func (n *notes) Due() []*waftv1.ReportRequest {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hash == "" || n.said {
		return nil
	}
	n.said = true
	return []*waftv1.ReportRequest{{Report: &waftv1.ReportRequest_Chain{Chain: &waftv1.ChainReport{Hash: n.hash}}}}
}

func (n *notes) Statistics() *waftv1.Statistics { return &waftv1.Statistics{Requests: 7} }

func (n *notes) Heard(*waftv1.ReportResponse) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard++
}

// report has it say another one.
func (n *notes) report(s *Stream, hash string) {
	n.mu.Lock()
	n.hash, n.said = hash, false
	n.mu.Unlock()
	s.Wake()
}

// served is a stream to a distributor, which runs until the test ends.
func served(t *testing.T, d waftv1.ReportServiceServer, sayer Sayer, before ...string) *Stream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	waftv1.RegisterReportServiceServer(server, d)
	go func() { _ = server.Serve(listener) }() // Stop ends it
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := New(conn, slog.New(slog.DiscardHandler), sayer, 10*time.Millisecond, 100*time.Millisecond)
	for _, reason := range before {
		s.Restarted(time.Now(), reason)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	running.Go(func() { s.Run(ctx) })
	return s
}

func next(t *testing.T, heard <-chan *waftv1.ReportRequest) *waftv1.ReportRequest {
	t.Helper()
	select {
	case request := <-heard:
		return request
	case <-time.After(time.Minute):
		t.Fatal("nothing is told")
		return nil
	}
}

// A restart is told to the distributor that answers, however many did not; and once.
func TestRestartIsToldToWhoAnswers(t *testing.T) {
	d := &stopping{heard: make(chan *waftv1.ReportRequest, 16), end: make(chan struct{})}
	n := new(notes)
	s := served(t, d, n, "one", "two")
	for _, reason := range []string{"one", "two"} {
		if got := next(t, d.heard); got.GetRestarted().GetReason() != reason {
			t.Errorf("it says %v first", got)
		}
	}
	s.Restarted(time.Now(), "three")
	if got := next(t, d.heard); got.GetRestarted().GetReason() != "three" {
		t.Errorf("it says %v after a third", got)
	}
	n.report(s, "a")
	if got := next(t, d.heard); got.GetChain().GetHash() != "a" {
		t.Errorf("it says %v then", got)
	}
	d.end <- struct{}{}
	if got := next(t, d.heard); got.GetChain().GetHash() != "a" {
		t.Errorf("on a new stream it says %v", got)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.heard == 0 {
		t.Errorf("it has heard %d answers", n.heard)
	}
}

func TestRestartsThatWaitAreBounded(t *testing.T) {
	s := New(nil, slog.New(slog.DiscardHandler), new(notes), time.Second, time.Second)
	for range maxRestarts + 3 {
		s.Restarted(time.Now(), "again")
	}
	if due := s.due(); len(due) != maxRestarts || len(s.due()) != 0 {
		t.Errorf("%d are told, and %d again", len(due), len(s.due()))
	}
	s.Restarted(time.Now(), "the last")
	if due := s.due(); len(due) != 1 || due[0].GetRestarted().GetReason() != "the last" {
		t.Errorf("then %v", due)
	}
	if s.again(); len(s.due()) != maxRestarts {
		t.Error("a new stream is not told all of them")
	}
}

// counting is a distributor that wants statistics at an interval, and then none.
type counting struct {
	waftv1.UnimplementedReportServiceServer
	heard chan *waftv1.ReportRequest
	every chan time.Duration
}

func (c *counting) Report(stream grpc.BidiStreamingServer[waftv1.ReportRequest, waftv1.ReportResponse]) error {
	go func() {
		for {
			request, err := stream.Recv()
			if err != nil {
				return
			}
			c.heard <- request
		}
	}()
	for {
		select {
		case every := <-c.every:
			if err := stream.Send(&waftv1.ReportResponse{StatisticsInterval: durationpb.New(every)}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

func TestStatisticsComeAtTheIntervalThatIsWanted(t *testing.T) {
	d := &counting{heard: make(chan *waftv1.ReportRequest, 1024), every: make(chan time.Duration)}
	n := new(notes)
	s := served(t, d, n)
	if got := next(t, d.heard); got.GetHello().GetNode() != "n1" {
		t.Errorf("it says %v first", got)
	}
	n.report(s, "a")
	if got := next(t, d.heard); got.GetChain().GetHash() != "a" {
		t.Errorf("before it is asked for statistics it says %v", got)
	}
	d.every <- time.Millisecond
	for range 3 {
		if got := next(t, d.heard); got.GetStatistics().GetRequests() != 7 {
			t.Errorf("it says %v", got)
		}
	}
	d.every <- 0
	// What was on its way comes, and then nothing but what there is to say.
	n.report(s, "b")
	for got := next(t, d.heard); got.GetChain().GetHash() != "b"; got = next(t, d.heard) {
	}
	n.report(s, "c")
	for got := next(t, d.heard); got.GetChain().GetHash() != "c"; got = next(t, d.heard) {
	}
}
