package distributor_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// resourceFile has a cluster of Envoy's, a message of protobuf's own, one that nobody knows, and a declaration.
const resourceFile = `
apiVersion: waft.dev/v1
kind: Collection
metadata: {name: envoy/endpoints}
spec: {lists: [{path: policy.dropOverloads, key: category}]}
---
apiVersion: waft.dev/v1
kind: Resource
metadata: {collection: envoy/clusters, name: backend}
spec: {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, connect_timeout: 5s, type: STATIC}
---
---
apiVersion: waft.dev/v1
kind: Resource
metadata: {collection: settings, name: site, layer: team/pay}
spec: {"@type": type.googleapis.com/google.protobuf.Struct, value: {title: "é", sizes: [1, 2.5]}}
---
apiVersion: waft.dev/v1
kind: Resource
metadata: {collection: things, name: "a/b|c"}
spec: {"@type": type.googleapis.com/acme.Thing, value: AAEC}
`

// applied decodes a file and applies it.
func applied(t *testing.T, c *api.Client, file string) (*waftv1.ApplyResourcesResponse, error) {
	t.Helper()
	documents, err := api.DecodeDocuments([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	req := &waftv1.ApplyResourcesRequest{Reason: "a test"}
	for _, d := range documents {
		switch d := d.(type) {
		case *waftv1.Resource:
			req.Resources = append(req.Resources, d)
		case *waftv1.Collection:
			req.Collections = append(req.Collections, d)
		}
	}
	return c.Resources.ApplyResources(t.Context(), req)
}

// A private key in a resource is refused, unless whoever starts the distributor allows it.
func TestInlineSecretsAreAllowed(t *testing.T) {
	const file = `
apiVersion: waft.dev/v1
kind: Resource
metadata: {collection: envoy/secrets, name: site}
spec: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, tlsCertificate: {privateKey: {inlineString: hunter2}}}
`
	for allowed, want := range map[bool]error{false: model.ErrInvalid, true: nil} {
		s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true, AllowInlineSecrets: allowed})
		if _, err := applied(t, s.client(t), file); !errors.Is(err, want) {
			t.Errorf("allowed is %v: %v", allowed, err)
		}
	}
}

// documentedSite is the release in docs/dialects.md of which an Envoy is made.
var documentedSite = regexp.MustCompile("(?s)```yaml\n(apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: shop}\n.*?)```")

// The page's release of all that an Envoy is can be created, and is whole: a rollout to an Envoy that asks for all of it starts.
func TestDocumentedSite(t *testing.T) {
	page, err := os.ReadFile("../docs/dialects.md")
	if err != nil {
		t.Fatal(err)
	}
	block := documentedSite.FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/dialects.md has no release shop")
	}
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	c := s.client(t)
	push(t, s.HTTP+"/filters/authz:1.2.0", module("authz"), `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}`)
	if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, strings.ReplaceAll(string(block[1]), "waft.example:7071", s.HTTP))}); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said, err := structpb.NewStruct(map[string]any{"labels": map[string]any{"env": "prod"}, "collections": []any{"envoy/clusters", "envoy/listeners"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster", Node: &corev3.Node{
		Id: "edge-4", Metadata: said, UserAgentName: "envoy",
		UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40}}},
	}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Envoy is connected", func() bool {
		node, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: "edge-4"})
		return err == nil && node.GetPresence() == "connected"
	})
	if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Reason: "go", Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "shop-1"}, Spec: &waftv1.RolloutSpec{Release: "shop", Waves: []*waftv1.Wave{{Percent: 100}}, Target: &waftv1.Target{Selector: "env=prod"}},
	}}); err != nil {
		t.Error(err)
	}
}

func TestResourcesOverTheAPI(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	c := s.client(t)
	done, err := applied(t, c, resourceFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.GetResources()) != 3 || len(done.GetCollections()) != 1 || done.GetCollections()[0].GetNow().GetSpec().GetType() != "envoy.config.endpoint.v3.ClusterLoadAssignment" ||
		!done.GetResources()[2].GetNow().GetStatus().GetOpaque() {
		t.Errorf("got %v", done)
	}
	// What is shown can be given back, and is the same: by gRPC, and over REST with names that a path could not hold.
	for _, r := range done.GetResources() {
		m := r.GetNow().GetMetadata()
		shown, err := c.Resources.GetResource(t.Context(), &waftv1.GetResourceRequest{Collection: m.GetCollection(), Name: m.GetName(), Layer: m.GetLayer()})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := protojson.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		again, err := applied(t, c, string(raw))
		if err != nil || again.GetResources()[0].GetChange() != "unchanged" {
			t.Errorf("%s given back: %v, %v", raw, again, err)
		}
	}
	status, body, _ := get(t, "http://"+s.HTTP+"/v1/resources:get?collection=things&name=a%2Fb%7Cc")
	var shown struct {
		Spec map[string]any `json:"spec"`
	}
	if err := json.Unmarshal([]byte(body), &shown); status != http.StatusOK || err != nil || shown.Spec["value"] != "AAEC" {
		t.Errorf("REST: %d %s", status, body)
	}
	if status, body, _ := get(t, "http://"+s.HTTP+"/v1/resources?layer=team/pay"); status != http.StatusOK || !strings.Contains(string(body), `"settings"`) || strings.Contains(string(body), "things") {
		t.Errorf("REST: %d %s", status, body)
	}
	if status, body := post(t, "http://"+s.HTTP+"/v1/resources:delete", "ann", `{"resources":[{"metadata":{"collection":"things","name":"gone"}}]}`); status != http.StatusNotFound {
		t.Errorf("REST: %d %s", status, body)
	}
	_, err = applied(t, c, strings.Replace(resourceFile, "connect_timeout", "conect_timeout", 1))
	if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "resource/envoy/clusters:backend: spec.conect_timeout") || !strings.Contains(err.Error(), "connectTimeout") {
		t.Errorf("a field that is not there: %v", err)
	}
}

// What the API shows of a release with resources is what its hash is of, in every part that says how they are read.
func TestReleaseOfResources(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	c := s.client(t)
	if _, err := applied(t, c, resourceFile); err != nil {
		t.Fatal(err)
	}
	create := func() *waftv1.Release {
		created, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, `
apiVersion: waft.dev/v1
kind: Release
metadata: {name: edge}
spec:
  collections: [envoy/clusters, things]
  resources:
  - {collection: envoy/endpoints, name: backend, spec: {"@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, endpoints: [{priority: 1}]}}
  resourceOverrides:
  - {collection: envoy/clusters, name: backend, spec: {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, connectTimeout: 1s}}
`)})
		if err != nil {
			t.Fatal(err)
		}
		return created
	}
	read, err := api.ReleaseOf(create())
	if err != nil || len(read.Resources) != 3 || len(read.ResourceOverrides) != 1 || len(read.Declared) != 1 || len(read.Taken) != 2 || !read.Resources[2].IsOpaque() {
		t.Fatalf("%+v, %v", read, err)
	}
	for name, change := range map[string]func(*waftv1.Release){
		"opaque":      func(r *waftv1.Release) { r.GetStatus().GetResources()[2].Opaque = false },
		"descriptors": func(r *waftv1.Release) { r.GetStatus().GetResources()[0].Descriptors = model.Digest(nil) },
		"lists":       func(r *waftv1.Release) { r.GetStatus().GetDeclared()[0].GetLists()[0].Key = "x" },
		"a resource":  func(r *waftv1.Release) { r.GetSpec().GetResources()[0].Name = "x" },
		"no status":   func(r *waftv1.Release) { r.GetStatus().Resources = nil },
	} {
		shown := create()
		change(shown)
		if _, err := api.ReleaseOf(shown); !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
