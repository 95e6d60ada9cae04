package distributor_test

import (
	"errors"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

type reportStream = grpc.BidiStreamingClient[waftv1.ReportRequest, waftv1.ReportResponse]

func hello(node string) *waftv1.ReportRequest {
	return &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: &waftv1.Hello{Node: node, Labels: map[string]string{"env": "prod"}}}}
}

func TestReportStreams(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	c := s.client(t)
	open := func(t *testing.T, reports ...*waftv1.ReportRequest) reportStream {
		t.Helper()
		stream, err := c.Reports.Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			if err := stream.Send(r); err != nil {
				t.Fatal(err)
			}
		}
		return stream
	}
	// ends reads to the end of the stream.
	ends := func(stream reportStream) error {
		for {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
	}
	for name, tc := range map[string]struct {
		reports []*waftv1.ReportRequest
		kind    error
		says    string
	}{
		"no hello":      {[]*waftv1.ReportRequest{{Report: &waftv1.ReportRequest_Fetched{Fetched: &waftv1.Fetched{}}}}, model.ErrInvalid, "send a Hello first"},
		"nothing":       {[]*waftv1.ReportRequest{{}}, model.ErrInvalid, "send a Hello first"},
		"no node":       {[]*waftv1.ReportRequest{hello("")}, model.ErrInvalid, "node"},
		"hello twice":   {[]*waftv1.ReportRequest{hello("a"), hello("a")}, model.ErrInvalid, "a stream has one Hello"},
		"unknown state": {[]*waftv1.ReportRequest{hello("a"), {Report: &waftv1.ReportRequest_Chain{Chain: &waftv1.ChainReport{Hash: "x", State: 99}}}}, model.ErrInvalid, "99 is no state"},
		"negative":      {[]*waftv1.ReportRequest{hello("a"), {Report: &waftv1.ReportRequest_Statistics{Statistics: &waftv1.Statistics{Requests: -1}}}}, model.ErrInvalid, "-1 is less than 0"},
	} {
		t.Run(name, func(t *testing.T) {
			err := ends(open(t, tc.reports...))
			if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("it ended by %v; want %q", err, tc.says)
			}
		})
	}
	t.Run("a report of a kind that is not known yet is left alone, and a newer stream takes over", func(t *testing.T) {
		old := open(t, hello("b"), &waftv1.ReportRequest{}, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Restarted{
			Restarted: &waftv1.EnvoyRestarted{At: timestamppb.Now(), Reason: "test"}}})
		if _, err := old.Recv(); err != nil {
			t.Fatal(err)
		}
		young := open(t, hello("b"))
		if _, err := young.Recv(); err != nil {
			t.Fatal(err)
		}
		if err := ends(old); !errors.Is(err, model.ErrConflict) || !strings.Contains(err.Error(), "another report stream of node b") {
			t.Errorf("the old one ended by %v", err)
		}
		n, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: "b"})
		if err != nil || n.GetPresence() != "connected" || !n.GetReports() || n.GetLabels()["env"] != "prod" {
			t.Errorf("%v %v", n, err)
		}
	})
	t.Run("what a node cannot fetch is shown with it alone, until an Envoy without an agent takes its place", func(t *testing.T) {
		digest := "sha256:" + strings.Repeat("e", 64)
		agent := open(t, hello("d"), &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Fetched{Fetched: &waftv1.Fetched{Failed: map[string]string{digest: "no such module"}}}})
		unfetched := func() map[string]string {
			n, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: "d"})
			if err != nil {
				return nil // it has not connected yet
			}
			return n.GetUnfetched()
		}
		eventually(t, "the node has it", func() bool { return unfetched()[digest] == "no such module" })
		list, err := c.Nodes.ListNodes(t.Context(), &waftv1.ListNodesRequest{})
		if err != nil || len(list.GetNodes()) == 0 {
			t.Errorf("%v, %v", list, err)
		}
		for _, n := range list.GetNodes() {
			if len(n.GetUnfetched()) > 0 {
				t.Errorf("in the list it has %v", n.GetUnfetched())
			}
		}
		if err := agent.CloseSend(); err != nil {
			t.Fatal(err)
		}
		_ = ends(agent)
		envoy, err := discoveryv3.NewAggregatedDiscoveryServiceClient(dialPlain(t, s.GRPC)).StreamAggregatedResources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := envoy.Send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "d"}, TypeUrl: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", ResourceNames: []string{"waft"}}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing is said of it any more", func() bool { return len(unfetched()) == 0 })
	})
	t.Run("a retry of what was not rejected", func(t *testing.T) {
		open(t, hello("c"))
		_, err := c.Nodes.RetryNode(t.Context(), &waftv1.RetryNodeRequest{Id: "b", Reason: "x"})
		if !errors.Is(err, model.ErrPrecondition) {
			t.Errorf("%v", err)
		}
		_, err = c.Nodes.RetryNode(t.Context(), &waftv1.RetryNodeRequest{Id: "nobody", Reason: "x"})
		if !errors.Is(err, model.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}
