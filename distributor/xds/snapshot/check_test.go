package snapshot

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

func with(name string, m proto.Message) model.RenderedResource {
	return rendered(Listeners, name, "", &listenerv3.Listener{Name: name, FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		Name: "f", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(m)},
	}}}}})
}

func discovered(name string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{HttpFilters: []*hcmv3.HttpFilter{{
		Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{ConfigSource: ads}},
	}}}
}

func tlsListener(name, secret string) model.RenderedResource {
	return rendered(Listeners, name, "", &listenerv3.Listener{Name: name, FilterChains: []*listenerv3.FilterChain{{TransportSocket: &corev3.TransportSocket{
		Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed(&tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: secret, SdsConfig: ads}},
		}})},
	}}}})
}

func TestCheck(t *testing.T) {
	all := []model.RenderedResource{
		edsCluster("c", ""), endpoints("c", ""), secret("s", ""), route("r", "", "c", "own"), listener("l", "", "r"), tlsListener("secure", "s"), with("slot", discovered(envoy.SlotName)),
	}
	without := func(key string) []model.RenderedResource {
		var rest []model.RenderedResource
		for _, r := range all {
			if r.Key() != key {
				rest = append(rest, r)
			}
		}
		return rest
	}
	for name, test := range map[string]struct {
		of      []model.RenderedResource
		takes   model.Takes
		filters bool
		// want is in the error; empty: there is none.
		want []string
	}{
		"whole":                   {of: all},
		"nothing":                 {},
		"filters":                 {of: all, filters: true},
		"no listener for filters": {filters: true, want: []string{"chain", "envoy/listeners", "config_discovery", "slot waft"}},
		"filters nowhere":         {of: without("envoy/listeners:slot"), filters: true, want: []string{"chain", "envoy/listeners", "slot waft"}},
		"slot of its own":         {of: without("envoy/listeners:slot"), takes: model.Takes{Collections: takesAll.Collections, Clusters: takesAll.Clusters, Slot: true}, filters: true},
		"slot and nothing else":   {takes: model.Takes{Collections: takesAll.Collections, Clusters: takesAll.Clusters, Slot: true}, filters: true},
		"own listeners":           {of: []model.RenderedResource{staticCluster("c", "")}, takes: model.Takes{Collections: []string{"envoy/clusters"}}, filters: true},
		"no routes":               {of: without("envoy/routes:r"), want: []string{"envoy/listeners:l", "spec.filterChains[0].filters[0].typedConfig.rds.routeConfigName", "envoy/routes:r"}},
		"no listener":             {of: without("envoy/listeners:l"), want: []string{"envoy/routes:r", "nothing in the release asks for it"}},
		"no cluster":              {of: []model.RenderedResource{route("r", "", "gone"), listener("l", "", "r")}, want: []string{"envoy/routes:r", "spec.virtualHosts[0].routes[0].route.cluster", "gone", envoy.MetadataClusters}},
		"no endpoints":            {of: without("envoy/endpoints:c"), want: []string{"envoy/clusters:c", "envoy/endpoints:c"}},
		"endpoints only":          {of: []model.RenderedResource{endpoints("c", "")}, want: []string{"envoy/endpoints:c", "nothing in the release"}},
		"no secret":               {of: without("envoy/secrets:s"), want: []string{"envoy/listeners:secure", "tlsCertificateSdsSecretConfigs[0].name", "envoy/secrets:s"}},
		"secret only":             {of: []model.RenderedResource{secret("s", "")}, want: []string{"envoy/secrets:s"}},
		"no extension":            {of: []model.RenderedResource{with("l", discovered("mine"))}, want: []string{"envoy/extensions:mine", "httpFilters[0].name"}},
		"other slot":              {of: []model.RenderedResource{with("l", discovered(envoy.PreloadSlotName))}, want: []string{"waft-next", "waft's own"}},
		"own cluster":             {of: []model.RenderedResource{staticCluster("waft-modules", "")}, want: []string{"envoy/clusters:waft-modules", "waft's own"}},
		"to own cluster":          {of: []model.RenderedResource{with("l", &tcpv3.TcpProxy{ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: "waft-ads"}})}, want: []string{"waft-ads", "waft's own"}},
		"bootstrap's":             {of: []model.RenderedResource{staticCluster("own", "")}, want: []string{"envoy/clusters:own", "from its bootstrap"}},
		"tcp":                     {of: []model.RenderedResource{with("l", &tcpv3.TcpProxy{ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: "gone"}})}, want: []string{"envoy/listeners:l", "typedConfig.cluster", "gone"}},
		"flags":                   {of: []model.RenderedResource{{ResourceSpec: model.ResourceSpec{Collection: "flags", Name: "f"}}}, want: []string{"flags", "agent"}},
		"not asked":               {of: all, takes: model.Takes{Collections: []string{"envoy/clusters"}, Clusters: []string{"own"}}, want: []string{"envoy/listeners:", "--dynamic", envoy.MetadataCollections}},
		"bootstrap asks":          {of: []model.RenderedResource{route("r", "", "own")}, takes: model.Takes{Collections: []string{"envoy/routes"}, Clusters: []string{"own"}}},
		"other type": {of: []model.RenderedResource{with("l", &hcmv3.HttpConnectionManager{RouteSpecifier: &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: &hcmv3.ScopedRoutes{
			Name: "x", RdsConfigSource: ads, ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: ads}},
		}}})}, want: []string{"envoy/listeners:l", "does not serve"}},
		"on demand": {of: []model.RenderedResource{rendered(Routes, "r", "", &routev3.RouteConfiguration{Name: "r", Vhds: &routev3.Vhds{ConfigSource: ads}}), listener("l", "", "r")}, want: []string{"envoy/routes:r", "spec.vhds", "does not serve"}},
	} {
		t.Run(name, func(t *testing.T) {
			if len(test.takes.Collections) == 0 {
				test.takes = takesAll
			}
			err := newSnapshot(t, test.of...).Check(test.takes, test.filters)
			if (err == nil) != (len(test.want) == 0) || err != nil && !errors.Is(err, model.ErrInvalid) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			for _, word := range test.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not say %q", err, word)
				}
			}
		})
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	broken := staticCluster("c", "")
	broken.Bytes = []byte{0xff}
	named := rendered(Clusters, "c", "", &clusterv3.Cluster{Name: "another"})
	for name, one := range map[string]model.RenderedResource{"no message": broken, "another name": named} {
		if _, err := New([]model.RenderedResource{one}); !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "envoy/clusters:c") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The checker answers of one chain from memory, also with an error, and for each kind of bootstrap by itself.
func TestChecker(t *testing.T) {
	var c Checker
	chain := model.Chain{Hash: "sha256:one", Resources: []model.RenderedResource{route("r", "", "gone"), listener("l", "", "r")}}
	has := model.Takes{Collections: takesAll.Collections, Clusters: []string{"gone"}}
	for range 2 {
		if err := c.Misfit(chain, takesAll); err == nil || !strings.Contains(err.Error(), "gone") {
			t.Errorf("got %v", err)
		}
		if err := c.Misfit(chain, has); err != nil {
			t.Errorf("where the bootstrap has the cluster: %v", err)
		}
		chain.Resources = nil // it is known by its hash
	}
	chain = model.Chain{Hash: "sha256:two", Filters: []model.RenderedFilter{{}}, Resources: []model.RenderedResource{}}
	for range 2 {
		if err := c.Misfit(chain, takesAll); err == nil {
			t.Error("filters that run nowhere were taken")
		}
		if err := c.Misfit(chain, model.Takes{Collections: takesAll.Collections, Clusters: takesAll.Clusters, Slot: true}); err != nil {
			t.Errorf("where the bootstrap has the slot: %v", err)
		}
	}
}

// Chains are read once, however many there are in turn; those without resources are one, and take no room.
func TestCache(t *testing.T) {
	var c Cache
	read := 0
	of := func(hash string, resources ...model.RenderedResource) *Snapshot {
		s, err := c.Of(hash, func() []model.RenderedResource { read++; return resources })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := map[int]*Snapshot{}
	for round := range 3 {
		for i := range 200 {
			s := of(fmt.Sprint("sha256:", i), staticCluster(fmt.Sprint("c", i), ""))
			if round == 0 {
				first[i] = s
			}
			if s != first[i] || s.by[Clusters][fmt.Sprint("c", i)] == nil {
				t.Fatalf("round %d: chain %d has another snapshot", round, i)
			}
		}
	}
	if read != 200 {
		t.Errorf("read %d times", read)
	}
	if a, b := of("sha256:a"), of("sha256:b"); a != b || !a.Empty() || len(c.made) != 200 {
		t.Errorf("chains without resources are %p and %p, and %d are remembered", a, b, len(c.made))
	}
	for i := range maxMade {
		of(fmt.Sprint("sha256:more", i), staticCluster("c", ""))
	}
	if len(c.made) > maxMade {
		t.Errorf("%d are remembered", len(c.made))
	}
}
