package distributor_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// labelled binds what nodes say of themselves, in each dialect.
const labelled = `
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: test}
spec:
  bindings:
  - {name: viewers, subjects: [{certificate: "cn:viewer"}], roles: [viewer]}
  - {name: edges, subjects: [{certificate: "spiffe://example.org/node/{node}"}], roles: [node], labels: {env: [test, dev]}}
  - {name: istio, subjects: [{certificate: "spiffe://example.org/istiod"}], roles: [node], nodes: [istio.*], labels: {revision: canary}}
`

// metadata is that of an Envoy's node with labels.
func metadataOf(t *testing.T, labels map[string]string) *structpb.Struct {
	t.Helper()
	said := map[string]any{}
	for k, v := range labels {
		said[k] = v
	}
	s, err := structpb.NewStruct(map[string]any{"labels": said})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A node with a good certificate is in the targets that its binding gives it, whatever it says of itself, in every dialect.
func TestAccessOfLabels(t *testing.T) { atEachWith(t, labelled, accessOfLabels) }

func accessOfLabels(t *testing.T, g *guarded) {
	edge, istiod := g.visitor(t, nodeOne), g.visitor(t, "spiffe://example.org/istiod")
	const slots = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	const istioKind = "networking.istio.io/v1/Gateway"
	// Each opens a stream of a node that says that it has these labels, and gives what becomes of its first message; where nothing is sent to it, nil.
	dialects := map[string]func(labels map[string]string) error{
		"reports": func(labels map[string]string) error {
			s, err := waftv1.NewReportServiceClient(edge.conn).Report(t.Context())
			if err != nil {
				return err
			}
			h := hello("one")
			h.GetHello().Labels = labels
			if err := s.Send(h); err != nil {
				return err
			}
			_, err = s.Recv()
			return err
		},
		"mcp": func(labels map[string]string) error {
			s, err := mcpv1.NewResourceSourceClient(edge.conn).EstablishResourceStream(t.Context())
			if err != nil {
				return err
			}
			if err := s.Send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "one", Annotations: labels}, Collection: model.CollectionChains}); err != nil {
				return err
			}
			_, err = s.Recv()
			return err
		},
		"mcp-behind-a-greeting": func(labels map[string]string) error {
			s, err := mcpv1.NewResourceSourceClient(edge.conn).EstablishResourceStream(t.Context())
			if err != nil {
				return err
			}
			greeting := map[string]string{"env": "dev"}
			if labels["env"] == "test" {
				greeting = labels // who is honest says the same of itself all the time
			}
			for _, m := range []*mcpv1.RequestResources{
				{SinkNode: &mcpv1.SinkNode{Id: "one", Annotations: greeting}, ErrorDetail: status.New(codes.Unimplemented, "").Proto()},
				{SinkNode: &mcpv1.SinkNode{Id: "one", Annotations: labels}, Collection: model.CollectionChains},
			} {
				if err := s.Send(m); err != nil {
					return err
				}
			}
			_, err = s.Recv()
			return err
		},
		"ads": func(labels map[string]string) error {
			s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(edge.conn).StreamAggregatedResources(t.Context())
			if err != nil {
				return err
			}
			if err := s.Send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "one", Metadata: metadataOf(t, labels)}, TypeUrl: slots}); err != nil {
				return err
			}
			return g.settled(t, labels, func() error { _, err := s.Recv(); return err })
		},
		"delta": func(labels map[string]string) error {
			s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(edge.conn).DeltaAggregatedResources(t.Context())
			if err != nil {
				return err
			}
			if err := s.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "one", Metadata: metadataOf(t, labels)}, TypeUrl: slots}); err != nil {
				return err
			}
			return g.settled(t, labels, func() error { _, err := s.Recv(); return err })
		},
	}
	for name, open := range dialects {
		t.Run(name, func(t *testing.T) {
			for what, tc := range map[string]struct {
				labels map[string]string
				says   string // empty: it may
			}{
				"a lie":  {map[string]string{"env": "prod", "zone": "a"}, "with the label env=prod"},
				"silent": {map[string]string{"zone": "a"}, "without the label env"},
				"none":   {nil, "without the label env"},
				"true":   {map[string]string{"env": "test", "zone": name}, ""},
			} {
				err := open(tc.labels)
				if tc.says == "" {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
					continue
				}
				want := `node/one: ` + nodeOne + ` may not be the node "one" ` + tc.says + `: the binding edges of the access policy gives it env=test or dev; say env=test or dev where the node is configured`
				if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v; want %s", what, err, want)
				}
			}
		})
	}
	t.Run("istio", func(t *testing.T) {
		for revision, says := range map[string]string{"canary": "", "default": "with the label revision=default", "": "without the label revision"} {
			s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(istiod.conn).StreamAggregatedResources(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			fields := map[string]*structpb.Value{"GENERATOR": structpb.NewStringValue("api")}
			if revision != "" {
				fields["ISTIO_REVISION"] = structpb.NewStringValue(revision)
			}
			if err := s.Send(&discoveryv3.DiscoveryRequest{TypeUrl: istioKind, Node: &corev3.Node{
				Id: "sidecar~10.0.0.1~istiod-1.istio-system~istio-system.svc.cluster.local", Metadata: &structpb.Struct{Fields: fields},
			}}); err != nil {
				t.Fatal(err)
			}
			_, err = s.Recv()
			switch {
			case says == "" && err != nil, says != "" && (status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), says+": the binding istio")):
				t.Errorf("revision %q: %v", revision, err)
			}
		}
	})
	t.Run("statistics", func(t *testing.T) { // by which nobody gets a label
		s, err := metricsv3.NewMetricsServiceClient(edge.conn).StreamMetrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(&metricsv3.StreamMetricsMessage{Identifier: &metricsv3.StreamMetricsMessage_Identifier{Node: &corev3.Node{Id: "one"}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CloseAndRecv(); err != nil {
			t.Error(err)
		}
	})

	// Who has a label that the policy takes away is told so with the next message.
	s, err := mcpv1.NewResourceSourceClient(edge.conn).EstablishResourceStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	asks := &mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "one", Annotations: map[string]string{"env": "test"}}, Collection: model.CollectionChains}
	if err := s.Send(asks); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	g.write(t, strings.ReplaceAll(labelled, "[test, dev]", "dev"))
	g.await(t, "the access policy has changed")
	if err := s.Send(&mcpv1.RequestResources{Collection: "waft/none"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "with the label env=test") {
		t.Errorf("collections for who is not in test any more: %v", err)
	}
}

// By the labels that a node says first it is in targets, so a policy goes on to judge those, whatever permitted ones it says later.
func TestAccessOfLabelsThatChange(t *testing.T) {
	g := startWith(t, labelled)
	edge := g.visitor(t, nodeOne)
	// open gives a stream of a node that says that it has the first labels, and then the others.
	open := func(first, then map[string]string) (mcpv1.ResourceSource_EstablishResourceStreamClient, error) {
		t.Helper()
		s, err := mcpv1.NewResourceSourceClient(edge.conn).EstablishResourceStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, labels := range []map[string]string{first, then} {
			if err := s.Send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "one", Annotations: labels}, Collection: model.CollectionChains}); err != nil {
				return s, err
			}
			if _, err := s.Recv(); err != nil {
				return s, err
			}
		}
		return s, nil
	}
	test, dev := map[string]string{"env": "test"}, map[string]string{"env": "dev"}
	if _, err := open(test, dev); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "other labels than when its stream began") {
		t.Errorf("a node that was in test and says that it is in dev: %v", err)
	}
	if _, err := open(test, test); err != nil {
		t.Errorf("a node that says the same again: %v", err)
	}

	// One that leaves them out says nothing new, and is judged by what it said.
	g = startWith(t, strings.ReplaceAll(labelled, ", labels: {env: [test, dev]}", ""))
	edge = g.visitor(t, nodeOne)
	s, err := open(test, nil)
	if err != nil {
		t.Fatalf("a node that says only once what it has: %v", err)
	}
	g.write(t, strings.ReplaceAll(labelled, "[test, dev]", "dev"))
	g.await(t, "the access policy has changed")
	if err := s.Send(&mcpv1.RequestResources{Collection: "waft/none"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "with the label env=test") {
		t.Errorf("collections for who is not in test any more: %v", err)
	}
}

// await waits until the distributor's log says something.
func (g *guarded) await(t *testing.T, says string) {
	t.Helper()
	for late := time.Now().Add(patience); !strings.Contains(g.log.String(), says); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the log never says %q:\n%s", says, g.log)
		}
	}
}

// settled is what becomes of a message that is not answered when it is taken: nil once the node is known by these labels.
func (g *guarded) settled(t *testing.T, labels map[string]string, recv func() error) error {
	t.Helper()
	viewer := g.visitor(t, "viewer")
	refused := make(chan error, 1)
	go func() { refused <- recv() }()
	for late := time.Now().Add(patience / 6); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-refused:
			return err
		default:
		}
		var node struct {
			Labels   map[string]string
			Presence string
		}
		if _, text := viewer.ask(t, "GET", "/v1/nodes/one", "", nil); json.Unmarshal([]byte(text), &node) != nil || node.Presence != "connected" {
			continue
		}
		if maps.Equal(node.Labels, labels) {
			return nil
		}
	}
	_, text := viewer.ask(t, "GET", "/v1/nodes/one", "", nil)
	t.Fatalf("with labels %v it was neither taken nor refused; the node is %s", labels, text)
	return nil
}
