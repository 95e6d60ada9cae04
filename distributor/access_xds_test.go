package distributor_test

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// An Envoy is given the chain of the node that its certificate names, whatever it says of itself, and whichever of its requests says so.
func TestAccessOfEnvoys(t *testing.T) { atEach(t, accessOfEnvoys) }

func accessOfEnvoys(t *testing.T, g *guarded) {
	ads := discoveryv3.NewAggregatedDiscoveryServiceClient(g.visitor(t, nodeOne).conn)
	const slots, listeners = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "type.googleapis.com/envoy.config.listener.v3.Listener"
	type asked struct{ node, typeURL string }
	sotw := func(requests []asked) error {
		stream, err := ads.StreamAggregatedResources(t.Context())
		if err != nil {
			return err
		}
		for _, r := range requests {
			if err := stream.Send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: r.node}, TypeUrl: r.typeURL, ResourceNames: []string{"waft"}}); err != nil {
				break // the reason comes from Recv
			}
		}
		_, err = stream.Recv()
		return err
	}
	delta := func(requests []asked) error {
		stream, err := ads.DeltaAggregatedResources(t.Context())
		if err != nil {
			return err
		}
		for _, r := range requests {
			if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: r.node}, TypeUrl: r.typeURL, ResourceNamesSubscribe: []string{"waft"}}); err != nil {
				break
			}
		}
		_, err = stream.Recv()
		return err
	}
	for kind, ask := range map[string]func([]asked) error{"ads": sotw, "delta": delta} {
		for what, requests := range map[string][]asked{
			"another's": {{"two", slots}}, "another's later": {{"one", slots}, {"two", slots}}, "another's after other types": {{"one", listeners}, {"two", slots}},
		} {
			if err := ask(requests); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `may not be the node "two"`) {
				t.Errorf("%s, %s: %v", kind, what, err)
			}
		}
	}
	push := func(node string) error {
		stream, err := metricsv3.NewMetricsServiceClient(g.visitor(t, nodeOne).conn).StreamMetrics(t.Context())
		if err != nil {
			return err
		}
		if err := stream.Send(&metricsv3.StreamMetricsMessage{Identifier: &metricsv3.StreamMetricsMessage_Identifier{Node: &corev3.Node{Id: node}}}); err != nil {
			return err
		}
		_, err = stream.CloseAndRecv()
		return err
	}
	if err := push("two"); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `may not be the node "two"`) {
		t.Errorf("another's statistics: %v", err)
	}
	if err := push(""); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nobody's statistics: %v", err)
	}
	if err := push("one"); err != nil {
		t.Errorf("its own statistics: %v", err)
	}
	// Its own it is: what ends the stream is only that it names another.
	if _, text := g.visitor(t, "viewer").ask(t, "GET", "/v1/nodes", "", nil); !strings.Contains(text, `"one"`) || strings.Contains(text, `"two"`) {
		t.Errorf("the nodes are %s", text)
	}
}
