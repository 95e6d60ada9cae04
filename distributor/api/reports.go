package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

type reports struct {
	waftv1.UnimplementedReportServiceServer
	*Server
}

// Report carries what one node says to its session, and what the session asks for back, until the node goes, another
// stream takes its place, or the server stops.
func (s reports) Report(stream grpc.BidiStreamingServer[waftv1.ReportRequest, waftv1.ReportResponse]) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return model.Invalidf("", "hello", "send a Hello first", "the first report is no Hello")
	}
	session, err := s.service.Connect(ctx, helloModel(hello))
	if err != nil {
		return err
	}
	defer session.Close()

	// Reports are read in a goroutine of its own, which ends with the stream.
	failed := make(chan error, 1)
	go func() { failed <- listen(stream, hello.GetNode(), session) }()
	for {
		select {
		case <-s.stop.Done():
			return errStopping()
		case <-session.Done():
			if s.service.Ready() != nil {
				return errStopping()
			}
			return status.Errorf(codes.Aborted, "another report stream of node %s has taken the place of this one; check that no two agents have its id", hello.GetNode())
		case err := <-failed:
			return err
		case d := <-session.Directives():
			if err := stream.Send(&waftv1.ReportResponse{StatisticsInterval: durationpb.New(d.StatisticsInterval), Retry: d.Retry, Statistics: d.Statistics}); err != nil {
				return err
			}
		}
	}
}

// listen reads reports until the stream ends: nil when the node has closed it in order.
func listen(stream grpc.BidiStreamingServer[waftv1.ReportRequest, waftv1.ReportResponse], node string, session *service.Session) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := report(node, session, req); err != nil {
			return err
		}
	}
}

// report takes one report. One of a kind that this version does not know is left alone: agents may be newer than the
// distributor.
func report(node string, session *service.Session, req *waftv1.ReportRequest) error {
	switch r := req.GetReport().(type) {
	case *waftv1.ReportRequest_Hello:
		return model.Invalidf("node/"+node, "hello", "open a new stream", "a stream has one Hello")
	case *waftv1.ReportRequest_Fetched:
		session.Fetched(r.Fetched.GetDigests(), r.Fetched.GetFailed())
	case *waftv1.ReportRequest_Chain:
		c, err := chainReport(node, r.Chain)
		if err != nil {
			return err
		}
		session.Chain(c)
	case *waftv1.ReportRequest_Statistics:
		st, err := statisticsModel(node, r.Statistics)
		if err != nil {
			return err
		}
		session.Statistics(st)
	case *waftv1.ReportRequest_Restarted:
		session.EnvoyRestarted(timeModel(r.Restarted.GetAt()), r.Restarted.GetReason())
	}
	return nil
}
