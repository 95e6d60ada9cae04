package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/envoy"
)

// dynamicNode is an Envoy from `waft bootstrap --dynamic`.
func dynamicNode() *corev3.Node {
	n := nodeOf("n")
	asked, err := structpb.NewList([]any{"envoy/clusters", "envoy/listeners"})
	if err != nil {
		panic(err)
	}
	n.Metadata.Fields[envoy.MetadataCollections] = structpb.NewListValue(asked)
	return n
}

var fromADS = &corev3.ConfigSource{ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}

func pack(m proto.Message) *anypb.Any {
	packed, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return packed
}

// described are the resources of a release in short: c:NAME a cluster with its endpoints, r:NAME>CLUSTER routes, l:NAME>ROUTES a listener, L:NAME>ROUTES one that
// holds the slot. What stands behind a further > makes another version of the same.
func described(texts ...string) []model.Collection {
	byName := map[string]*model.Collection{}
	add := func(kind snapshot.Kind, name, word string, m proto.Message) {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			panic(err)
		}
		c := byName[kind.Collection()]
		if c == nil {
			c = &model.Collection{Name: kind.Collection()}
			byName[kind.Collection()] = c
		}
		c.Resources = append(c.Resources, model.Resource{Name: name, Version: model.Digest(append([]byte(word), raw...)), Any: &model.AnyBody{Type: kind.URL(), Bytes: raw}})
	}
	for _, text := range texts {
		kind, rest, _ := strings.Cut(text, ":")
		name, rest, _ := strings.Cut(rest, ">")
		to, word, _ := strings.Cut(rest, ">")
		switch kind {
		case "c":
			add(snapshot.Clusters, name, to, &clusterv3.Cluster{
				Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}, EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: fromADS},
			})
			add(snapshot.Endpoints, name, "", &endpointv3.ClusterLoadAssignment{ClusterName: name})
		case "r":
			add(snapshot.Routes, name, word, &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: to}}},
			}}}}})
		case "l", "L":
			m := &hcmv3.HttpConnectionManager{RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: fromADS, RouteConfigName: to}}}
			if kind == "L" {
				m.HttpFilters = []*hcmv3.HttpFilter{{Name: envoy.SlotName, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{ConfigSource: fromADS}}}}
			}
			add(snapshot.Listeners, name, word, &listenerv3.Listener{Name: name, FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
				Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(m)},
			}}}}})
		default:
			panic(text)
		}
	}
	var all []model.Collection
	for k := range snapshot.Kinds {
		if c := byName[k.Collection()]; c != nil {
			all = append(all, *c)
		}
	}
	return all
}

// wireHand asks for all types, message by message, by either kind of discovery.
type wireHand struct {
	t     *testing.T
	sotw  grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	delta grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	node  *corev3.Node
	// names, nonce and version are by type; nonce is the latest, version the accepted one, got that of the latest.
	names, subscribed   map[string][]string
	nonce, version, got map[string]string
}

func openWire(t *testing.T, c *grpc.ClientConn, incremental bool, node *corev3.Node) *wireHand {
	t.Helper()
	h := &wireHand{t: t, node: node, names: map[string][]string{}, subscribed: map[string][]string{}, nonce: map[string]string{}, version: map[string]string{}, got: map[string]string{}}
	client := discoveryv3.NewAggregatedDiscoveryServiceClient(c)
	var err error
	if incremental {
		h.delta, err = client.DeltaAggregatedResources(bounded(t))
	} else {
		h.sotw, err = client.StreamAggregatedResources(bounded(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask asks for a type, by all its names.
func (h *wireHand) ask(url string, names ...string) {
	h.t.Helper()
	h.names[url] = names
	h.send(url, "", "")
}

func (h *wireHand) send(url, answers, refused string) {
	h.t.Helper()
	var detail *spb.Status
	if refused != "" {
		detail = &spb.Status{Code: 13, Message: refused}
	}
	var err error
	if h.delta != nil {
		r := &discoveryv3.DeltaDiscoveryRequest{Node: h.node, TypeUrl: url, ResponseNonce: answers, ErrorDetail: detail}
		for _, name := range h.names[url] {
			if !slices.Contains(h.subscribed[url], name) {
				r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, name)
			}
		}
		for _, name := range h.subscribed[url] {
			if !slices.Contains(h.names[url], name) {
				r.ResourceNamesUnsubscribe = append(r.ResourceNamesUnsubscribe, name)
			}
		}
		h.subscribed[url] = h.names[url]
		err = h.delta.Send(r)
	} else {
		err = h.sotw.Send(&discoveryv3.DiscoveryRequest{
			Node: h.node, TypeUrl: url, ResourceNames: h.names[url], ResponseNonce: h.nonce[url], VersionInfo: h.version[url], ErrorDetail: detail,
		})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.node = nil
}

// want receives the next response, which is to be of that type, with those resources, and those that an incremental one takes away.
func (h *wireHand) want(url string, resources, removed []string) {
	h.t.Helper()
	var got, gone []string
	var of string
	if h.delta != nil {
		m, err := h.delta.Recv()
		if err != nil {
			h.t.Fatal(err)
		}
		of, gone = m.GetTypeUrl(), m.GetRemovedResources()
		h.nonce[of] = m.GetNonce()
		for _, r := range m.GetResources() {
			got = append(got, r.GetName())
		}
	} else {
		m, err := h.sotw.Recv()
		if err != nil {
			h.t.Fatal(err)
		}
		of = m.GetTypeUrl()
		h.nonce[of], h.got[of] = m.GetNonce(), m.GetVersionInfo()
		for _, r := range m.GetResources() {
			name, _, err := envoy.References(r.GetTypeUrl(), r.GetValue())
			if err != nil {
				h.t.Fatal(err)
			}
			got = append(got, name)
		}
	}
	if of != url || !slices.Equal(got, resources) || !slices.Equal(gone, removed) {
		h.t.Fatalf("got of %s %q without %q, want of %s %q without %q", of, got, gone, url, resources, removed)
	}
}

func (h *wireHand) ack(url string) {
	h.t.Helper()
	h.version[url] = h.got[url]
	h.send(url, h.nonce[url], "")
}

func (h *wireHand) nack(url, why string) {
	h.t.Helper()
	h.send(url, h.nonce[url], why)
}

// goOn asks for a type on a new stream, as an Envoy with incremental discovery that holds these of a chain.
func (h *wireHand) goOn(url string, of []model.Collection, held ...string) {
	h.t.Helper()
	m := &discoveryv3.DeltaDiscoveryRequest{Node: h.node, TypeUrl: url, InitialResourceVersions: map[string]string{}}
	for _, c := range of {
		for _, r := range c.Resources {
			if r.Any.Type == url && slices.Contains(held, r.Name) {
				m.InitialResourceVersions[r.Name] = r.Version
			}
		}
	}
	if url != envoy.ClusterURL && url != envoy.ListenerURL {
		m.ResourceNamesSubscribe, h.names[url], h.subscribed[url] = held, held, held
	}
	if err := h.delta.Send(m); err != nil {
		h.t.Fatal(err)
	}
	h.node = nil
}

func names(of ...string) []string { return of }

// whole are all resources of a type in the state of the world, or only those that have changed.
func (h *wireHand) whole(all, changed []string) []string {
	if h.delta != nil {
		return changed
	}
	return all
}

// reachAll takes an Envoy to run the release one: a listener l with routes r to the cluster a.
func reachAll(b *table, h *wireHand) {
	h.t.Helper()
	b.setAll("one", described("c:a", "r:r>a", "l:l>r"))
	h.ask(envoy.ClusterURL)
	h.want(envoy.ClusterURL, names("a"), nil)
	h.ask(envoy.EndpointsURL, "a") // the answer to clusters comes when they are warm
	h.want(envoy.EndpointsURL, names("a"), nil)
	h.ack(envoy.EndpointsURL)
	h.ack(envoy.ClusterURL)
	h.ask(envoy.ListenerURL)
	h.want(envoy.ListenerURL, names("l"), nil)
	h.ack(envoy.ListenerURL)
	h.ask(envoy.RouteURL, "r")
	h.want(envoy.RouteURL, names("r"), nil)
	b.until(h.t, "what is missing is said", func() bool {
		r := b.reports[len(b.reports)-1]
		return r.State == model.ChainFetched && strings.Contains(r.Reason, "envoy/routes")
	})
	h.ack(envoy.RouteURL)
	b.stands(h.t, model.ChainLoaded, "one")
}

// reachFiltered takes an Envoy to run the release one: a listener l that holds the slot, with routes r to the cluster a.
func reachFiltered(b *table, h *wireHand, one []model.Collection) {
	h.t.Helper()
	b.setAll("one", one)
	h.ask(envoy.ClusterURL)
	h.want(envoy.ClusterURL, names("a"), nil)
	h.ask(envoy.EndpointsURL, "a")
	h.want(envoy.EndpointsURL, names("a"), nil)
	h.ack(envoy.EndpointsURL)
	h.ack(envoy.ClusterURL)
	h.ask(envoy.ListenerURL)
	h.want(envoy.ListenerURL, names("l"), nil)
	h.ack(envoy.ListenerURL)
	h.ask(envoy.ExtensionConfigURL, serves)
	h.want(envoy.ExtensionConfigURL, names(serves), nil)
	h.ack(envoy.ExtensionConfigURL)
	h.ask(envoy.RouteURL, "r")
	h.want(envoy.RouteURL, names("r"), nil)
	h.ack(envoy.RouteURL)
	b.stands(h.t, model.ChainLoaded, "one")
}

func bothWires(t *testing.T, test func(t *testing.T, b *table, c *grpc.ClientConn, h *wireHand)) {
	for _, incremental := range []bool{false, true} {
		t.Run(fmt.Sprintf("delta=%v", incremental), func(t *testing.T) {
			b := newTable()
			_, conn := run(t, b)
			test(t, b, conn, openWire(t, conn, incremental, dynamicNode()))
		})
	}
}

// What is new comes before what refers to it, and what is not needed any more goes last.
func TestOrderOnTheWire(t *testing.T) {
	bothWires(t, func(t *testing.T, b *table, _ *grpc.ClientConn, h *wireHand) {
		reachAll(b, h)
		b.setAll("two", described("c:b", "r:r>b", "l:l>r"))
		h.want(envoy.ClusterURL, h.whole(names("a", "b"), names("b")), nil)
		h.ask(envoy.EndpointsURL, "a", "b")
		h.want(envoy.EndpointsURL, names("b"), nil)
		h.ack(envoy.EndpointsURL)
		h.ack(envoy.ClusterURL)
		h.want(envoy.RouteURL, names("r"), nil)
		h.ack(envoy.RouteURL)
		b.stands(t, model.ChainLoaded, "two")
		if h.delta != nil {
			h.want(envoy.ClusterURL, nil, names("a"))
		} else {
			h.want(envoy.ClusterURL, names("b"), nil)
		}
		h.ack(envoy.ClusterURL)
		if last := b.hellos[len(b.hellos)-1]; !last.Takes.Equal(model.Takes{Collections: []string{"envoy/clusters", "envoy/listeners"}}) {
			t.Errorf("it introduced itself as %+v", last)
		}
	})
}

// An Envoy that was given no release waits; one of an empty release is answered with nothing.
func TestNothingOnTheWire(t *testing.T) {
	bothWires(t, func(t *testing.T, b *table, _ *grpc.ClientConn, h *wireHand) {
		h.ask(envoy.ClusterURL)
		h.ask(envoy.ListenerURL)
		b.until(t, "it is a node", func() bool { return len(b.hellos) == 1 && len(b.changed) == 1 })
		b.set("none")
		h.want(envoy.ClusterURL, nil, nil)
		h.ack(envoy.ClusterURL)
		h.want(envoy.ListenerURL, nil, nil)
		h.ack(envoy.ListenerURL)
		b.stands(t, model.ChainLoaded, "none")
	})
}

// The routes are refused: the ledger has Envoy's words, the rest was taken, the version is not sent again, and the next one is.
func TestRejectedResourceOnTheWire(t *testing.T) {
	bothWires(t, func(t *testing.T, b *table, conn *grpc.ClientConn, h *wireHand) {
		reachAll(b, h)
		b.setAll("bad", described("c:a", "r:r>a>bad", "l:l>r"))
		h.want(envoy.RouteURL, names("r"), nil)
		h.nack(envoy.RouteURL, "no such thing")
		b.stands(t, model.ChainRejected, "one")
		if r := b.reports[len(b.reports)-1]; r.Reason != "envoy/routes:r: no such thing" || !r.Final || r.Chain != hashOf("bad") || r.Step != stepResources {
			t.Errorf("the report is %+v", r)
		}
		b.setAll("one", described("c:a", "r:r>a", "l:l>r"))
		b.stands(t, model.ChainLoaded, "one")
		b.setAll("bad", described("c:a", "r:r>a>bad", "l:l>r"))
		b.stands(t, model.ChainRejected, "one")
		b.setAll("two", described("c:a", "r:r>a>two", "l:l>r"))
		h.want(envoy.RouteURL, names("r"), nil) // and not the bad one
		h.ack(envoy.RouteURL)
		b.stands(t, model.ChainLoaded, "two")
		// A person asks for the bad one.
		b.setAll("bad", described("c:a", "r:r>a>bad", "l:l>r"))
		b.stands(t, model.ChainRejected, "two")
		b.session.direct(service.Directive{Retry: 1})
		h.want(envoy.RouteURL, names("r"), nil)
	})
}

// An Envoy that goes on under another stream is sent what has changed since, and is not taken to have started anew.
func TestReconnectWithResources(t *testing.T) {
	bothWires(t, func(t *testing.T, b *table, conn *grpc.ClientConn, h *wireHand) {
		reachAll(b, h)
		b.tell(func() { b.row.Serving = hashOf("one") })
		again := openWire(t, conn, h.delta != nil, dynamicNode())
		again.version = h.version
		if h.delta != nil {
			held := func(url, name string) { again.goOn(url, described("c:a", "r:r>a", "l:l>r"), name) }
			held(envoy.ClusterURL, "a")
			held(envoy.EndpointsURL, "a")
			held(envoy.ListenerURL, "l")
			held(envoy.RouteURL, "r")
		} else {
			again.ask(envoy.ClusterURL)
			again.ask(envoy.EndpointsURL, "a")
			again.ask(envoy.ListenerURL)
			again.ask(envoy.RouteURL, "r")
		}
		b.stands(t, model.ChainLoaded, "one")
		b.setAll("two", described("c:a", "r:r>a>two", "l:l>r"))
		again.want(envoy.RouteURL, names("r"), nil)
		again.ack(envoy.RouteURL)
		b.stands(t, model.ChainLoaded, "two")
		if b.restarts != 0 {
			t.Error("Envoy is taken to have restarted")
		}
	})
}

// A release that is not whole, or is not for this Envoy, is refused before anything of it is sent.
func TestMisfitOnTheWire(t *testing.T) {
	for name, test := range map[string]struct {
		node    *corev3.Node
		of      []model.Collection
		filters []string
		want    string
	}{
		"no cluster":   {node: dynamicNode(), of: described("r:r>gone", "l:l>r"), want: "there is no cluster gone"},
		"no listener":  {node: dynamicNode(), filters: []string{"f=1"}, want: "it has filters, and no listener that runs them"},
		"no slot":      {node: dynamicNode(), of: described("c:a", "r:r>a", "l:l>r"), filters: []string{"f=1"}, want: "none of these holds the slot waft"},
		"not declared": {node: nodeOf("n"), of: described("c:a", "r:r>a", "l:l>r"), want: "does not ask for envoy/clusters"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			_, conn := run(t, b)
			h := openWire(t, conn, true, test.node)
			h.ask(envoy.ExtensionConfigURL, serves)
			b.setAll("one", test.of, test.filters...)
			b.stands(t, model.ChainRejected, "")
			if r := b.reports[len(b.reports)-1]; !strings.Contains(r.Reason, test.want) || !r.Final {
				t.Errorf("the report is %+v", r)
			}
		})
	}
}

// The filters are swapped when their clusters are there, and before listeners and routes are changed.
func TestFiltersAmongResources(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	h := openWire(t, conn, false, dynamicNode())
	b.setAll("one", described("c:a", "r:r>a", "L:l>r"))
	h.ask(envoy.ClusterURL)
	h.want(envoy.ClusterURL, names("a"), nil)
	h.ask(envoy.EndpointsURL, "a")
	h.want(envoy.EndpointsURL, names("a"), nil)
	h.ack(envoy.EndpointsURL)
	h.ack(envoy.ClusterURL)
	h.ask(envoy.ListenerURL)
	h.want(envoy.ListenerURL, names("l"), nil)
	h.ack(envoy.ListenerURL)
	h.ask(envoy.ExtensionConfigURL, serves) // the listener makes it ask
	h.want(envoy.ExtensionConfigURL, names(serves), nil)
	h.ack(envoy.ExtensionConfigURL)
	h.ask(envoy.RouteURL, "r")
	h.want(envoy.RouteURL, names("r"), nil)
	h.ack(envoy.RouteURL)
	b.stands(t, model.ChainLoaded, "one")

	b.setAll("two", described("c:a", "c:b", "r:r>b", "L:l>r>two"), "f=1")
	h.want(envoy.ClusterURL, names("a", "b"), nil)
	h.ask(envoy.EndpointsURL, "a", "b")
	h.want(envoy.EndpointsURL, names("b"), nil)
	h.ack(envoy.EndpointsURL)
	h.ack(envoy.ClusterURL)
	h.want(envoy.ExtensionConfigURL, names(serves), nil)
	h.ack(envoy.ExtensionConfigURL)
	h.want(envoy.ListenerURL, names("l"), nil)
	h.ack(envoy.ListenerURL)
	h.want(envoy.RouteURL, names("r"), nil)
	h.ack(envoy.RouteURL)
	b.stands(t, model.ChainLoaded, "two")
}

// An Envoy whose bootstrap has a listener with the slot, and asks for others: it says so, and is given filters though no listener of the release takes them; before its
// listeners, also when it goes on under another stream and asks for those first.
func TestSlotOfItsOwn(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	own := dynamicNode()
	own.Metadata.Fields[envoy.MetadataSlot] = structpb.NewBoolValue(true)
	h := openWire(t, conn, false, own)
	b.setAll("one", described("c:a", "r:r>a", "l:l>r"), "f=1")
	h.ask(envoy.ClusterURL)
	h.want(envoy.ClusterURL, names("a"), nil)
	h.ask(envoy.EndpointsURL, "a")
	h.want(envoy.EndpointsURL, names("a"), nil)
	h.ack(envoy.EndpointsURL)
	h.ack(envoy.ClusterURL)
	h.ask(envoy.ListenerURL)
	h.ask(envoy.ExtensionConfigURL, serves)
	h.want(envoy.ExtensionConfigURL, names(serves), nil)
	h.ack(envoy.ExtensionConfigURL)
	h.want(envoy.ListenerURL, names("l"), nil)
	h.ack(envoy.ListenerURL)
	h.ask(envoy.RouteURL, "r")
	h.want(envoy.RouteURL, names("r"), nil)
	h.ack(envoy.RouteURL)
	b.stands(t, model.ChainLoaded, "one")

	// A chain without filters empties the slot, and is not had before.
	b.setAll("two", described("c:a", "r:r>a", "l:l>r>two"))
	h.want(envoy.ExtensionConfigURL, names(serves), nil)
	h.ack(envoy.ExtensionConfigURL)
	h.want(envoy.ListenerURL, names("l"), nil)
	h.ack(envoy.ListenerURL)
	b.stands(t, model.ChainLoaded, "two")

	b.setAll("three", described("c:a", "r:r>a", "l:l>r>three"), "f=3")
	again := openWire(t, conn, false, own)
	again.ask(envoy.ClusterURL)
	again.want(envoy.ClusterURL, names("a"), nil)
	again.ask(envoy.EndpointsURL, "a")
	again.want(envoy.EndpointsURL, names("a"), nil)
	again.ack(envoy.EndpointsURL)
	again.ack(envoy.ClusterURL)
	again.ask(envoy.ListenerURL)
	again.ask(envoy.RouteURL, "r")
	again.ask(envoy.ExtensionConfigURL, serves)
	again.want(envoy.ExtensionConfigURL, names(serves), nil)
	again.ack(envoy.ExtensionConfigURL)
	again.want(envoy.ListenerURL, names("l"), nil)
}

// An Envoy of the state of the world says only under which version it holds its clusters. A server that never saw it finds out by what the node had before, so that
// nothing is removed that is in use.
func TestEnvoyFromAnotherServer(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	h := openWire(t, conn, false, dynamicNode())
	reachAll(b, h)
	chain := []model.Resource{{Name: "n", Chain: b.current}}
	b.before = [][]model.Collection{append([]model.Collection{{Name: model.CollectionChains, Resources: chain}}, b.others...)}
	b.row.Serving = hashOf("one")
	_, another := run(t, b)
	again := openWire(t, another, false, dynamicNode())
	again.version = h.version
	b.setAll("two", described("c:b", "r:r>b", "l:l>r"))
	again.ask(envoy.ClusterURL)
	again.want(envoy.ClusterURL, names("a", "b"), nil) // and not b alone
}

// A new process asks for one type after the other, as it is answered; one that goes on asks for all at once, and may hold nothing of the first.
func TestRestartWithResources(t *testing.T) {
	for name, holds := range map[string]bool{"new": false, "goes on": true} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			b.row = model.Node{Serving: hashOf("one")}
			b.setAll("two", described("c:a", "r:r>a", "l:l>r"))
			_, conn := run(t, b)
			h := openWire(t, conn, true, dynamicNode())
			h.ask(envoy.ClusterURL)
			if holds {
				if err := h.delta.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ListenerURL, InitialResourceVersions: map[string]string{"old": "x"}}); err != nil {
					t.Fatal(err)
				}
			}
			h.want(envoy.ClusterURL, names("a"), nil)
			h.ask(envoy.EndpointsURL, "a")
			h.want(envoy.EndpointsURL, names("a"), nil)
			h.ack(envoy.EndpointsURL)
			h.ack(envoy.ClusterURL)
			if !holds {
				h.ask(envoy.ListenerURL)
				h.want(envoy.ListenerURL, names("l"), nil)
			} else {
				h.want(envoy.ListenerURL, names("l"), names("old"))
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if (b.restarts == 1) == holds {
				t.Errorf("it is taken to have restarted %d times", b.restarts)
			}
		})
	}
}

// While Envoy has something of one chain and something of another it runs all of neither: no chain is said to serve, and none is again before Envoy has accepted the last
// part of it.
func TestBetweenTwoChains(t *testing.T) {
	bothWires(t, func(t *testing.T, b *table, _ *grpc.ClientConn, h *wireHand) {
		one, two := described("c:a", "r:r>a", "L:l>r"), described("c:a", "r:r>a>two", "L:l>r>two")
		reachFiltered(b, h, one)

		b.setAll("two", two, "f=1")
		h.want(envoy.ExtensionConfigURL, names(serves), nil)
		h.ack(envoy.ExtensionConfigURL)
		h.want(envoy.ListenerURL, names("l"), nil)
		b.stands(t, model.ChainFetched, "")
		h.ack(envoy.ListenerURL)
		h.want(envoy.RouteURL, names("r"), nil)
		h.nack(envoy.RouteURL, "no such thing")
		b.stands(t, model.ChainRejected, "")

		b.setAll("one", one)
		h.want(envoy.ExtensionConfigURL, names(serves), nil)
		b.until(t, "the way back is said to have begun", func() bool { return b.reports[len(b.reports)-1].Chain == hashOf("one") })
		b.stands(t, model.ChainFetched, "")
		h.ack(envoy.ExtensionConfigURL)
		h.want(envoy.ListenerURL, names("l"), nil)
		b.stands(t, model.ChainFetched, "")
		h.ack(envoy.ListenerURL)
		b.stands(t, model.ChainLoaded, "one")
	})
}

// The answer to a listener of another chain is lost with the stream: Envoy may serve with it.
func TestBetweenTwoChainsOverStreams(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	h := openWire(t, conn, false, dynamicNode())
	reachAll(b, h)
	b.tell(func() { b.row.Serving = hashOf("one") })
	b.setAll("two", described("c:a", "r:r>a", "l:l>r>two"))
	h.want(envoy.ListenerURL, names("l"), nil)
	b.setAll("one", described("c:a", "r:r>a", "l:l>r"))
	again := openWire(t, conn, false, dynamicNode())
	again.version = h.version
	again.version[envoy.ListenerURL] = h.got[envoy.ListenerURL]
	again.ask(envoy.ClusterURL)
	b.until(t, "no chain is said to serve", func() bool { return b.reports[len(b.reports)-1].Serving == "" })
	again.ask(envoy.EndpointsURL, "a")
	again.ask(envoy.ListenerURL)
	again.want(envoy.ListenerURL, names("l"), nil)
	again.ask(envoy.RouteURL, "r")
	again.ack(envoy.ListenerURL)
	b.stands(t, model.ChainLoaded, "one")
}

// An Envoy that goes on asks for clusters, listeners and routes before it asks for the slot. What it is sent of the new chain waits for the filters, also where only the
// version of its listener is known.
func TestFiltersFirstAfterReconnect(t *testing.T) {
	one, two := described("c:a", "r:r>a", "L:l>r"), described("c:a", "r:r>a>two", "L:l>r>two")
	for name, another := range map[string]bool{"the same server": false, "another server": true} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			_, conn := run(t, b)
			h := openWire(t, conn, true, dynamicNode())
			reachFiltered(b, h, one)
			b.tell(func() { b.row.Serving = hashOf("one") })
			b.setAll("two", two, "f=1")
			h.want(envoy.ExtensionConfigURL, names(serves), nil) // and never answers
			if another {
				_, conn = run(t, b)
			}
			again := openWire(t, conn, true, dynamicNode())
			again.goOn(envoy.ClusterURL, one, "a")
			again.goOn(envoy.EndpointsURL, one, "a")
			again.goOn(envoy.ListenerURL, one, "l")
			again.goOn(envoy.RouteURL, one, "r")
			slot := &discoveryv3.DeltaDiscoveryRequest{
				TypeUrl: envoy.ExtensionConfigURL, ResourceNamesSubscribe: names(serves), InitialResourceVersions: map[string]string{serves: hashOf("one")},
			}
			if err := again.delta.Send(slot); err != nil {
				t.Fatal(err)
			}
			if another { // it does not know what else the cluster may be waiting for
				again.want(envoy.EndpointsURL, names("a"), nil)
				again.ack(envoy.EndpointsURL)
			}
			again.want(envoy.ExtensionConfigURL, names(serves), nil)
			again.ack(envoy.ExtensionConfigURL)
			again.want(envoy.ListenerURL, names("l"), nil)
			again.ack(envoy.ListenerURL)
			again.want(envoy.RouteURL, names("r"), nil)
			again.ack(envoy.RouteURL)
			b.stands(t, model.ChainLoaded, "two")
		})
	}
}

// An Envoy whose listener is of a chain that is not known, and does not take filters, never asks for the slot. It is not waited for longer than it takes to ask.
func TestSlotThatIsNotAskedFor(t *testing.T) {
	resources := resourcesIn(described("c:a", "r:r>a", "L:l>r"))
	snap, err := snapshot.New(resources)
	if err != nil {
		t.Fatal(err)
	}
	listener := resources[slices.IndexFunc(resources, func(r model.RenderedResource) bool { return r.Name == "l" })]
	c := chainFor("two", "f=1")
	c.resources = snap
	start := time.Unix(1, 0)
	for name, test := range map[string]struct {
		claims map[string]string
		after  time.Duration
		want   bool
	}{
		"not known, at once":    {map[string]string{"l": "old"}, 0, false},
		"not known, later":      {map[string]string{"l": "old"}, askPause, true},
		"no listener":           {nil, 0, true},
		"takes the slot, later": {map[string]string{"l": listener.Version}, askPause, false},
	} {
		client := &snapshot.Client{}
		client.Reset(true)
		client.Aim(snap)
		client.Claim(snapshot.Listeners, "", test.claims, start)
		client.AskAlso(snapshot.Listeners, nil, nil)
		d := &desk{memory: &memory{client: client}, want: c, asksUntil: start.Add(askPause)}
		if got := d.swapped(c, start.Add(test.after)); got != test.want {
			t.Errorf("%s: the filters count as swapped: %v", name, got)
		}
		if wakes := !d.slotWake(start.Add(test.after)).IsZero(); wakes != (test.after == 0) {
			t.Errorf("%s: it is looked at again: %v", name, wakes)
		}
	}
}

// A release may have many extensions, which are of the type of the slots, and Envoy asks for all of them in one request when it connects.
func TestManyExtensions(t *testing.T) {
	bothWires(t, func(t *testing.T, b *table, conn *grpc.ClientConn, h *wireHand) {
		many := make([]string, 0, model.MaxResources+2)
		for i := range model.MaxResources {
			many = append(many, fmt.Sprintf("e%d", i))
		}
		many = append(many, loads, serves)
		b.setAll("one", described("c:a", "r:r>a", "L:l>r"), "f=1")
		h.ask(envoy.ClusterURL)
		h.want(envoy.ClusterURL, names("a"), nil)
		h.ask(envoy.EndpointsURL, "a")
		h.want(envoy.EndpointsURL, names("a"), nil)
		h.ack(envoy.EndpointsURL)
		h.ack(envoy.ClusterURL)
		h.ask(envoy.ExtensionConfigURL, many...)
		h.want(envoy.ExtensionConfigURL, names(loads), nil) // the slots are seen, behind all the others

		again := openWire(t, conn, h.delta != nil, dynamicNode()) // for an Envoy with a listener of its own it is the first request
		again.ask(envoy.ExtensionConfigURL, many...)
		again.want(envoy.ExtensionConfigURL, names(loads), nil)
	})
}

// What an Envoy holds while it is between two chains are the resources of both.
func TestLimitsOfARequest(t *testing.T) {
	dynamic := model.Takes{Collections: []string{"envoy/clusters"}}
	some := func(n int) []string { return make([]string, n) }
	held := func(n int) map[string]string {
		all := map[string]string{}
		for i := range n {
			all[fmt.Sprint(i)] = "v"
		}
		return all
	}
	for name, test := range map[string]struct {
		of    request
		takes model.Takes
		ok    bool
	}{
		"two chains' clusters":  {request{typeURL: envoy.ClusterURL, versions: held(2 * model.MaxResources)}, dynamic, true},
		"more clusters":         {request{typeURL: envoy.ClusterURL, versions: held(MaxResourceNames + 1)}, dynamic, false},
		"two chains' endpoints": {request{typeURL: envoy.EndpointsURL, names: some(2 * model.MaxResources)}, dynamic, true},
		"extensions":            {request{typeURL: envoy.ExtensionConfigURL, names: some(2 * model.MaxResources)}, dynamic, true},
		"more extensions":       {request{typeURL: envoy.ExtensionConfigURL, names: some(MaxResourceNames), dropped: some(1)}, dynamic, false},
		"slots":                 {request{typeURL: envoy.ExtensionConfigURL, names: some(MaxNames)}, model.Takes{}, true},
		"more slots":            {request{typeURL: envoy.ExtensionConfigURL, names: some(MaxNames + 1)}, model.Takes{}, false},
	} {
		if err := test.of.check(test.takes); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An Envoy with incremental discovery whose chain has no clusters, or nothing at all, says at first that it holds nothing. It is no new process, and serves what it served.
func TestReconnectWithoutClusters(t *testing.T) {
	node := func() *corev3.Node {
		n := dynamicNode()
		own, err := structpb.NewList([]any{"own"})
		if err != nil {
			t.Fatal(err)
		}
		n.Metadata.Fields[envoy.MetadataClusters] = structpb.NewListValue(own)
		return n
	}
	for name, test := range map[string]struct {
		of      []model.Collection
		another bool
	}{
		"the same server":             {of: described("r:r>own", "l:l>r")},
		"another server":              {of: described("r:r>own", "l:l>r"), another: true},
		"nothing":                     {},
		"nothing, and another server": {another: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			_, conn := run(t, b)
			b.setAll("one", test.of)
			h := openWire(t, conn, true, node())
			h.ask(envoy.ClusterURL)
			h.want(envoy.ClusterURL, nil, nil)
			h.ack(envoy.ClusterURL)
			h.ask(envoy.ListenerURL)
			if test.of == nil {
				h.want(envoy.ListenerURL, nil, nil)
				h.ack(envoy.ListenerURL)
			} else {
				h.want(envoy.ListenerURL, names("l"), nil)
				h.ack(envoy.ListenerURL)
				h.ask(envoy.RouteURL, "r")
				h.want(envoy.RouteURL, names("r"), nil)
				h.ack(envoy.RouteURL)
			}
			b.stands(t, model.ChainLoaded, "one")
			before := 0
			b.tell(func() { b.row.Serving, before = hashOf("one"), len(b.reports) })
			if test.another {
				_, conn = run(t, b)
			}
			again := openWire(t, conn, true, node())
			again.goOn(envoy.ClusterURL, test.of)
			if test.of == nil {
				again.goOn(envoy.ListenerURL, nil)
				again.want(envoy.ClusterURL, nil, nil)
				again.ack(envoy.ClusterURL)
				again.want(envoy.ListenerURL, nil, nil)
				again.ack(envoy.ListenerURL)
			} else {
				again.goOn(envoy.ListenerURL, test.of, "l")
				again.goOn(envoy.RouteURL, test.of, "r")
				again.want(envoy.ClusterURL, nil, nil)
				again.ack(envoy.ClusterURL)
			}
			b.setAll("two", described("r:r>own>two", "l:l>r"))
			if test.of == nil {
				again.want(envoy.ListenerURL, names("l"), nil)
				again.ack(envoy.ListenerURL)
				again.ask(envoy.RouteURL, "r")
			}
			again.want(envoy.RouteURL, names("r"), nil)
			again.ack(envoy.RouteURL)
			b.stands(t, model.ChainLoaded, "two")
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.restarts != 0 {
				t.Error("Envoy is taken to have restarted")
			}
			for _, r := range b.reports[before:] {
				if r.Serving == "" && r.Chain != hashOf("two") { // between the two it serves neither
					t.Errorf("it is said to serve nothing: %+v", r)
				}
			}
		})
	}
}
