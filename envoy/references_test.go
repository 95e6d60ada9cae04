package envoy

import (
	"errors"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// FuzzReferences reads what anybody may have put into a resource. It must neither panic nor hang, and gives no reference without a name and a place.
func FuzzReferences(f *testing.F) {
	ads := &corev3.ConfigSource{ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}
	manager, err := anypb.New(&hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "r", ConfigSource: ads}},
		HttpFilters:    []*hcmv3.HttpFilter{{Name: SlotName, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{ConfigSource: ads}}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	urls := []string{ListenerURL, RouteURL, ClusterURL, EndpointsURL, SecretURL, ExtensionConfigURL}
	for i, m := range []proto.Message{
		&listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{Name: "f", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: manager}}}}}},
		nil,
		&clusterv3.Cluster{Name: "c", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}, EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads, ServiceName: "s"}},
	} {
		if m == nil {
			continue
		}
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), raw)
	}
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		_, references, err := References(urls[int(kind)%len(urls)], raw)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("the error is %v", err)
		}
		for _, r := range references {
			if r.Name == "" || r.Field == "" {
				t.Errorf("a reference is %+v", r)
			}
		}
	})
}

// What stands in an Any that nobody here knows is not seen, and is no error; one that is of a known type and broken is.
func TestReferencesInAny(t *testing.T) {
	of := func(a *anypb.Any) error {
		raw, err := proto.Marshal(&listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "f", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: a},
		}}}}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = References(ListenerURL, raw)
		return err
	}
	if err := of(&anypb.Any{TypeUrl: "type.googleapis.com/acme.v1.Unknown", Value: []byte{0xff}}); err != nil {
		t.Error(err)
	}
	if err := of(&anypb.Any{TypeUrl: ClusterURL, Value: []byte{0xff}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// The collectors of traces are clusters, which Envoy wants to have before it takes the listener.
func TestReferencesOfTracers(t *testing.T) {
	for name, config := range map[string]proto.Message{
		"zipkin":    &tracev3.ZipkinConfig{CollectorCluster: "traces"},
		"datadog":   &tracev3.DatadogConfig{CollectorCluster: "traces"},
		"lightstep": &tracev3.LightstepConfig{CollectorCluster: "traces"},
	} {
		packed, err := anypb.New(config)
		if err != nil {
			t.Fatal(err)
		}
		manager, err := anypb.New(&hcmv3.HttpConnectionManager{Tracing: &hcmv3.HttpConnectionManager_Tracing{
			Provider: &tracev3.Tracing_Http{Name: name, ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: packed}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := proto.Marshal(&listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "f", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: manager},
		}}}}})
		if err != nil {
			t.Fatal(err)
		}
		_, found, err := References(ListenerURL, raw)
		want := Reference{URL: ClusterURL, Name: "traces", Field: "filterChains[0].filters[0].typedConfig.tracing.provider.typedConfig.collectorCluster"}
		if err != nil || len(found) != 1 || found[0] != want {
			t.Errorf("%s: got %+v, %v", name, found, err)
		}
	}
}

// Messages that stand in one another deeper than any configuration are refused.
func TestReferencesTooDeep(t *testing.T) {
	inner := &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.Any"}
	for range maxNested + 1 {
		var err error
		if inner, err = anypb.New(inner); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := References(inner.GetTypeUrl(), inner.GetValue()); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
