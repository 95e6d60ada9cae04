package envoy

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mutatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// Clusters of an Envoy that asks a server for its chain.
const (
	// ADSCluster is the server of aggregated discovery.
	ADSCluster = "waft-ads"
	// ModulesCluster is where RemoteModules are fetched.
	ModulesCluster = "waft-modules"
)

// NodeHeader says in a request for a module which node asks, so that the server that offers chains knows what is there. It proves nothing.
const NodeHeader = "x-waft-node"

// MetadataLabels is the key, in the metadata of Envoy's node, of the labels by which rollouts select it: a struct of strings.
const MetadataLabels = "labels"

// How Envoy finds out that the server is gone, which the network does not always say.
const (
	adsKeepaliveInterval = 20 * time.Second
	adsKeepaliveTimeout  = 10 * time.Second
)

// ADS is the server that an Envoy asks for its chain, and for the modules in it.
type ADS struct {
	// Address (gRPC) and Modules (HTTP) are host:port.
	Address, Modules string
	// Delta: only what changes is sent (incremental xDS). False: state of the world.
	Delta bool
	// Dynamic has Envoy ask the server for its listeners and clusters, too, and for all that they refer to: the bootstrap has no listener of its own but the one
	// that loads modules (Preload), and Envoy listens when it is given listeners. An Envoy before 1.39 can be such a one, too; it is given no filters.
	Dynamic bool
	// Labels of the node.
	Labels map[string]string
	// TLS to both; nil: none.
	TLS *ADSTLS
	// Statistics is how often Envoy pushes its statistics to the server. Zero: never.
	Statistics time.Duration
	// OnlyJudged: it has no others than those by which chains are judged, for anybody.
	OnlyJudged bool
}

// ADSTLS names PEM files as Envoy finds them, by absolute paths.
type ADSTLS struct {
	// CA holds the authorities that may vouch for the server. Required.
	CA string
	// Cert and Key are the node's own; empty: it has none.
	Cert, Key string
}

func (c BootstrapConfig) checkADS() error {
	switch {
	case c.Inline || c.TCP || c.SlotDir != "" || len(c.SlotFilters) > 0:
		return fmt.Errorf("%w: a chain comes from a server (ADS), from files (SlotDir) or stands in the listener (Inline), one of them", ErrInvalid)
	case c.Default != nil:
		return fmt.Errorf("%w: an Envoy that asks a server has no chain to begin with", ErrInvalid)
	case c.ADS.Statistics != 0 && c.ADS.Statistics < MinStatistics:
		return fmt.Errorf("%w: statistics every %s are too often; %s is the least", ErrInvalid, c.ADS.Statistics, MinStatistics)
	case c.StatPrefix != "" && c.StatPrefix != DefaultStatPrefix && c.ADS.Statistics != 0:
		return fmt.Errorf("%w: a server that is pushed statistics knows those of the connection manager %s, not of %s", ErrInvalid, DefaultStatPrefix, c.StatPrefix)
	case !c.Number.HasFilterChain() && !c.ADS.Dynamic:
		return fmt.Errorf("%w: Envoy %s has no slot for a whole chain; from a server only 1.39 and later take theirs", ErrInvalid, c.Number)
	}
	if c.ADS.Dynamic {
		return c.checkDynamic()
	}
	return nil
}

// apply makes the bootstrap one that asks the server.
func (a *ADS) apply(b *bootstrapv3.Bootstrap, number Number) error {
	api := corev3.ApiConfigSource_GRPC
	if a.Delta {
		api = corev3.ApiConfigSource_DELTA_GRPC
	}
	b.DynamicResources = &bootstrapv3.Bootstrap_DynamicResources{AdsConfig: &corev3.ApiConfigSource{
		ApiType: api, TransportApiVersion: corev3.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
		GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: ADSCluster}}}},
	}}
	if a.Dynamic {
		a.dynamic(b)
	}
	said := a.metadata(b)
	if len(a.Labels) > 0 {
		labels := map[string]any{}
		for k, v := range a.Labels {
			labels[k] = v
		}
		if said == nil {
			said = map[string]any{}
		}
		said[MetadataLabels] = labels
	}
	if len(said) > 0 {
		metadata, err := structpb.NewStruct(said)
		if err != nil {
			return fmt.Errorf("%w: metadata of the node: %w", ErrInvalid, err)
		}
		b.Node.Metadata = metadata
	}
	stream, err := a.cluster(ADSCluster, a.Address, &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			ConnectionKeepalive: &corev3.KeepaliveSettings{Interval: durationpb.New(adsKeepaliveInterval), Timeout: durationpb.New(adsKeepaliveTimeout)},
		}},
	})})
	if err != nil {
		return err
	}
	named, err := nameNode(b.GetNode().GetId())
	if err != nil {
		return err
	}
	modules, err := a.cluster(ModulesCluster, a.Modules, &httpv3.HttpProtocolOptions{HttpFilters: named, UpstreamProtocolOptions: explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}},
	})})
	if err != nil {
		return err
	}
	b.StaticResources.Clusters = append(b.StaticResources.Clusters, stream, modules)
	return a.push(b, number)
}

func explicit(config *httpv3.HttpProtocolOptions_ExplicitHttpConfig) *httpv3.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: config}
}

// nameNode are the filters of a cluster that say in each request which node it comes from.
func nameNode(id string) ([]*hcmv3.HttpFilter, error) {
	mutation, err := anypb.New(&mutatev3.HeaderMutation{Mutations: &mutatev3.Mutations{RequestMutations: []*mutationv3.HeaderMutation{{
		Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: NodeHeader, Value: strings.ReplaceAll(id, "%", "%%")},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}},
	}}}})
	if err != nil {
		return nil, fmt.Errorf("render the header of the node: %w", err)
	}
	codec, err := anypb.New(&codecv3.UpstreamCodec{})
	if err != nil {
		return nil, fmt.Errorf("render the codec: %w", err)
	}
	return []*hcmv3.HttpFilter{
		{Name: "envoy.filters.http.header_mutation", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: mutation}},
		{Name: "envoy.filters.http.upstream_codec", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: codec}},
	}, nil
}

func (a *ADS) cluster(name, address string, protocol *httpv3.HttpProtocolOptions) (*clusterv3.Cluster, error) {
	clusters, err := BootstrapConfig{Clusters: []Cluster{{Name: name, Address: address}}}.clusters()
	if err != nil {
		return nil, err
	}
	cluster := clusters[0]
	packed, err := anypb.New(protocol)
	if err != nil {
		return nil, fmt.Errorf("render cluster %s: %w", name, err)
	}
	cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed}
	if a.TLS != nil {
		host := cluster.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress().GetAddress()
		if cluster.TransportSocket, err = a.TLS.socket(host); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", name, err)
		}
	}
	return cluster, nil
}

// socket speaks TLS to a server that must show a certificate for that name or address.
func (t *ADSTLS) socket(host string) (*corev3.TransportSocket, error) {
	for what, path := range map[string]string{"the authorities": t.CA, "the certificate": t.Cert, "the key": t.Key} {
		if path != "" && !filepath.IsAbs(path) {
			return nil, fmt.Errorf("%w: the file of %s, %q, is not an absolute path", ErrInvalid, what, path)
		}
	}
	if t.CA == "" || (t.Cert == "") != (t.Key == "") {
		return nil, fmt.Errorf("%w: TLS needs the file of the authorities, and a certificate goes with its key", ErrInvalid)
	}
	file := func(path string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
	}
	validation := &tlsv3.CertificateValidationContext{TrustedCa: file(t.CA)}
	context := &tlsv3.UpstreamTlsContext{
		CommonTlsContext: &tlsv3.CommonTlsContext{ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}},
	}
	kind := tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	if net.ParseIP(host) == nil {
		kind, context.Sni = tlsv3.SubjectAltNameMatcher_DNS, host
	}
	validation.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{{
		SanType: kind, Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: host}},
	}}
	if t.Cert != "" {
		context.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{{CertificateChain: file(t.Cert), PrivateKey: file(t.Key)}}
	}
	packed, err := anypb.New(context)
	if err != nil {
		return nil, fmt.Errorf("render TLS: %w", err)
	}
	return &corev3.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed}}, nil
}

// aggregated is a configuration source that asks the server.
func aggregated(wait time.Duration) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		InitialFetchTimeout:   durationpb.New(wait),
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}
}
