package envoy

import (
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// tcpListener is a listener whose connections go through the filters of Default, then to Upstream.
func (c BootstrapConfig) tcpListener() (*listenerv3.Listener, error) {
	if err := unique(c.Default); err != nil {
		return nil, err
	}
	prefix := or(c.StatPrefix, DefaultStatPrefix)
	socket, err := socketAddress(or(c.Listen, DefaultAddress))
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", prefix, err)
	}
	var filters []*listenerv3.Filter
	for _, f := range c.Default {
		wasm, err := f.networkWasm()
		if err != nil {
			return nil, err
		}
		filters = append(filters, &listenerv3.Filter{Name: f.Name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wasm}})
	}
	idle := limit(c.StreamIdleTimeout, DefaultStreamIdleTimeout)
	if idle == nil {
		idle = durationpb.New(0) // an absent one means Envoy's own hour
	}
	proxy, err := anypb.New(&tcpproxyv3.TcpProxy{
		StatPrefix:       prefix,
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: UpstreamCluster},
		IdleTimeout:      idle,
	})
	if err != nil {
		return nil, fmt.Errorf("render the TCP proxy: %w", err)
	}
	filters = append(filters, &listenerv3.Filter{
		Name: "envoy.filters.network.tcp_proxy", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: proxy},
	})
	return &listenerv3.Listener{
		Name: prefix, StatPrefix: prefix, Address: socket, FilterChains: []*listenerv3.FilterChain{{Filters: filters}},
	}, nil
}
