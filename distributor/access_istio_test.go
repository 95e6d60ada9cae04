package distributor_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Any pod of a control plane may be a node by the certificate of that control plane, and nobody else may.
func TestAccessOfIstio(t *testing.T) { atEach(t, accessOfIstio) }

func accessOfIstio(t *testing.T, g *guarded) {
	const kind = "networking.istio.io/v1/Gateway"
	ask := func(who, namespace string) error {
		t.Helper()
		stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(g.visitor(t, who).conn).StreamAggregatedResources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: kind, Node: &corev3.Node{
			Id:       "sidecar~10.0.0.1~istiod-1." + namespace + "~" + namespace + ".svc.cluster.local",
			Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"GENERATOR": structpb.NewStringValue("api")}},
		}}); err != nil && !errors.Is(err, io.EOF) { // who is turned away at once cannot send
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err == nil && m.GetTypeUrl() != kind {
			t.Errorf("got %v", m)
		}
		return err
	}
	const istio = "spiffe://example.org/node/istio.istio-system"
	if err := ask(istio, "istio-system"); err != nil {
		t.Error(err)
	}
	if err := ask(istio, "other-system"); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `may not be the node "istio.other-system"`) {
		t.Errorf("another control plane's: %v", err)
	}
	for _, who := range []string{nodeOne, "operator", nobody} {
		if code := status.Code(ask(who, "istio-system")); code != codes.PermissionDenied && code != codes.Unauthenticated {
			t.Errorf("%q: %v", who, code)
		}
	}
}
