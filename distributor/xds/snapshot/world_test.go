package snapshot

import (
	"fmt"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waft-project/waft/distributor/model"
)

// takesAll is an Envoy from `waft bootstrap --dynamic`, with a cluster own in its bootstrap.
var takesAll = model.Takes{Collections: []string{"envoy/clusters", "envoy/listeners"}, Clusters: []string{"own"}}

var ads = &corev3.ConfigSource{ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}

// rendered is a resource whose version is that of its bytes, and of a word by which versions of one message can be told apart.
func rendered(kind Kind, name, word string, m proto.Message) model.RenderedResource {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return model.RenderedResource{
		ResourceSpec: model.ResourceSpec{Collection: kind.Collection(), Name: name, ResourceBody: model.ResourceBody{Type: kind.URL()}},
		Version:      model.Digest(append([]byte(word), raw...)), Bytes: raw,
	}
}

func staticCluster(name, word string) model.RenderedResource {
	return rendered(Clusters, name, word, &clusterv3.Cluster{Name: name})
}

func edsCluster(name, word string) model.RenderedResource {
	return rendered(Clusters, name, word, &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads},
	})
}

func endpoints(name, word string) model.RenderedResource {
	return rendered(Endpoints, name, word, &endpointv3.ClusterLoadAssignment{ClusterName: name})
}

func secret(name, word string) model.RenderedResource {
	return rendered(Secrets, name, word, &tlsv3.Secret{Name: name})
}

func routesTo(clusters ...string) *routev3.RouteConfiguration {
	host := &routev3.VirtualHost{Name: "all", Domains: []string{"*"}}
	for i, c := range clusters {
		host.Routes = append(host.Routes, &routev3.Route{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: fmt.Sprintf("/%d", i)}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: c}}},
		})
	}
	return &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{host}}
}

func route(name, word string, clusters ...string) model.RenderedResource {
	m := routesTo(clusters...)
	m.Name = name
	return rendered(Routes, name, word, m)
}

// listener asks for routes by name, or has them in itself where inline says to which clusters.
func listener(name, word, routes string, inline ...string) model.RenderedResource {
	manager := &hcmv3.HttpConnectionManager{StatPrefix: "edge"}
	if routes != "" {
		manager.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads, RouteConfigName: routes}}
	} else {
		manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routesTo(inline...)}
	}
	return rendered(Listeners, name, word, &listenerv3.Listener{Name: name, FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(manager)},
	}}}}})
}

func packed(m proto.Message) *anypb.Any {
	p, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return p
}

func newSnapshot(t testing.TB, resources ...model.RenderedResource) *Snapshot {
	t.Helper()
	s, err := New(resources)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
