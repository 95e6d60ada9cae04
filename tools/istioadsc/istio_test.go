package istioadsc

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sort"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	extensions "istio.io/api/extensions/v1alpha1"
	"istio.io/istio/pilot/pkg/config/memory"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/adsc"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvk"

	"github.com/waft-project/waft/tools/wafttest"
)

// istiod is Istio's end, set up as its bootstrap does for configSources: xds://…
type istiod struct {
	t      *testing.T
	client *adsc.ADSC
	store  model.ConfigStore
	node   string
}

func start(t *testing.T, address, pod string, requests []*discovery.DiscoveryRequest, options ...grpc.DialOption) *istiod {
	t.Helper()
	const ip = "10.0.0.1"
	client, err := adsc.New(address, &adsc.ADSConfig{
		InitialDiscoveryRequests: requests,
		Config: adsc.Config{
			Namespace: "istio-system", Workload: pod, IP: ip, Revision: "default",
			Meta: model.NodeMetadata{Generator: "api", IstioRevision: "default"}.ToStruct(), GrpcOpts: options,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	i := &istiod{t: t, client: client, store: memory.NewController(memory.Make(collections.Pilot)), node: "sidecar~" + ip + "~" + pod + ".istio-system~istio-system.svc.cluster.local"}
	client.Store = i.store
	if err := client.Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return i
}

func (i *istiod) synced() bool { return i.client.HasSynced() }

// has says whether the store holds these resources of a kind, and no others.
func (i *istiod) has(kind config.GroupVersionKind, names ...string) func() bool {
	return func() bool {
		var got []string
		for _, c := range i.store.List(kind, "") {
			got = append(got, c.Namespace+"/"+c.Name)
		}
		sort.Strings(got)
		return strings.Join(got, " ") == strings.Join(names, " ")
	}
}

// release is what the filter of a release was told.
func (i *istiod) release(name string) string {
	i.t.Helper()
	c := i.store.Get(gvk.TrafficExtension, name, "istio-system")
	if c == nil {
		return ""
	}
	wasm := c.Spec.(*extensions.TrafficExtension).GetWasm()
	return wasm.GetPluginConfig().GetFields()["response"].GetListValue().GetValues()[0].GetStructValue().GetFields()["value"].GetStringValue()
}

// certified shows the certificate of a node.
func certified(t *testing.T, d *wafttest.Distributor, node string) grpc.DialOption {
	t.Helper()
	ca, cert, key := d.Issue(node)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(text)
	return grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities, Certificates: []tls.Certificate{pair}}))
}

// refusedAsAnother: with the certificate of another node it is given nothing, and is told why.
func refusedAsAnother(t *testing.T, d *wafttest.Distributor) {
	t.Helper()
	conn, err := grpc.NewClient(d.GRPC, certified(t, d, "edge-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	request := adsc.ConfigInitialRequests()[0]
	request.Node = &core.Node{Id: "sidecar~10.0.0.1~istiod-1.istio-system~istio-system.svc.cluster.local", Metadata: model.NodeMetadata{Generator: "api"}.ToStruct()}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `may not be the node "istio.istio-system"`) {
		t.Errorf("with the certificate of another node: %v", err)
	}
}

// All of it by TLS, with the certificate of the control plane.
func TestIstioFollowsReleases(t *testing.T) {
	d := wafttest.ServeSecure(t)
	mutual := certified(t, d, "istio.istio-system")
	refusedAsAnother(t, d)
	i := start(t, d.GRPC, "istiod-1", adsc.ConfigInitialRequests(), mutual)
	wafttest.Wait(t, "all collections to be answered", i.synced)
	if !i.has(gvk.TrafficExtension)() || !i.has(gvk.WasmPlugin)() {
		t.Fatal("there is something before anything was given")
	}
	if got := d.Node(i.node).Labels; got["dialect"] != "istio" || got["namespace"] != "istio-system" || got["revision"] != "default" {
		t.Errorf("labels %v", got)
	}

	d.Give("authz", "headers")
	wafttest.Wait(t, "two filters", i.has(gvk.TrafficExtension, "istio-system/authz", "istio-system/headers"))
	if !i.has(gvk.WasmPlugin)() {
		t.Error("Istio would run each filter twice: it makes a TrafficExtension of each WasmPlugin")
	}
	c := i.store.Get(gvk.TrafficExtension, "authz", "istio-system")
	spec := c.Spec.(*extensions.TrafficExtension)
	wasm := spec.GetWasm()
	if !strings.HasPrefix(wasm.GetUrl(), "oci://"+d.HTTP+"/filters/headers@sha256:") || !strings.HasSuffix(wasm.GetUrl(), wasm.GetSha256()) || len(wasm.GetSha256()) != 64 ||
		wasm.GetPluginName() != "authz" || wasm.GetFailStrategy() != extensions.FailStrategy_FAIL_RELOAD || i.release("authz") != "1" {
		t.Errorf("got %v", spec)
	}
	// Istio's own check of a resource that a person writes.
	schema, _ := collections.Pilot.FindByGroupVersionKind(gvk.TrafficExtension)
	if warning, err := schema.ValidateConfig(*c); err != nil || warning != nil {
		t.Errorf("Istio says of it: %v, %v", warning, err)
	}
	wafttest.Wait(t, "the ledger to say offered", func() bool { return strings.EqualFold(d.Node(i.node).Ledger.State, "offered") })

	d.Give("authz")
	wafttest.Wait(t, "a change and a removal", func() bool {
		return i.has(gvk.TrafficExtension, "istio-system/authz")() && i.release("authz") == "2"
	})

	// A control plane that is new is told what others like it have before it is told that this is all.
	young := start(t, d.GRPC, "istiod-2", adsc.ConfigInitialRequests(), mutual)
	wafttest.Wait(t, "the second one to be synced", young.synced)
	if !young.has(gvk.TrafficExtension, "istio-system/authz")() {
		t.Error("for a moment its proxies would have gone without the filter")
	}
	d.Give()
	wafttest.Wait(t, "all to be removed", i.has(gvk.TrafficExtension))
	wafttest.Wait(t, "all to be removed from the second one", young.has(gvk.TrafficExtension))
}

func TestIstioBefore130(t *testing.T) {
	d := wafttest.Serve(t)
	var requests []*discovery.DiscoveryRequest
	for _, r := range adsc.ConfigInitialRequests() {
		if r.TypeUrl != gvk.TrafficExtension.String() {
			requests = append(requests, r)
		}
	}
	i := start(t, d.GRPC, "istiod-1", requests)
	wafttest.Wait(t, "all collections to be answered", i.synced)
	d.Give("authz")
	wafttest.Wait(t, "a plugin", i.has(gvk.WasmPlugin, "istio-system/authz"))
	c := i.store.Get(gvk.WasmPlugin, "authz", "istio-system")
	schema, _ := collections.Pilot.FindByGroupVersionKind(gvk.WasmPlugin)
	if warning, err := schema.ValidateConfig(*c); err != nil || warning != nil {
		t.Errorf("Istio says of it: %v, %v", warning, err)
	}
	if !i.has(gvk.TrafficExtension)() {
		t.Error("it was sent what it did not ask for")
	}
}

// A distributor that is away takes nothing from Istio, and one that comes back is read again.
func TestIstioOutlivesTheDistributor(t *testing.T) {
	d := wafttest.Serve(t)
	i := start(t, d.GRPC, "istiod-1", adsc.ConfigInitialRequests())
	wafttest.Wait(t, "all collections to be answered", i.synced)
	d.Give("authz")
	wafttest.Wait(t, "the filter", i.has(gvk.TrafficExtension, "istio-system/authz"))
	d.Restart()
	wafttest.Wait(t, "Istio to come back", func() bool {
		if !i.has(gvk.TrafficExtension, "istio-system/authz")() {
			t.Fatal("the filter is gone")
		}
		return d.Node(i.node).Presence == "connected"
	})
	d.Give("authz", "headers")
	wafttest.Wait(t, "what is new", i.has(gvk.TrafficExtension, "istio-system/authz", "istio-system/headers"))
}
