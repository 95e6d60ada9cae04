package envoy

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What a BootstrapConfig means where it does not say.
const (
	// DefaultAddress is loopback with a port that the system chooses.
	DefaultAddress = "127.0.0.1:0"
	// DefaultStatPrefix is that of the connection manager that holds the slot: its statistics are http.edge.….
	DefaultStatPrefix = "edge"
	// DefaultStreamIdleTimeout ends streams that a trapped VM left hanging.
	DefaultStreamIdleTimeout = 30 * time.Second
	// DefaultMaxStreamDuration ends every stream.
	DefaultMaxStreamDuration = 300 * time.Second
	// DefaultWorkerKillTimeout is how long a worker may hang before Envoy aborts.
	DefaultWorkerKillTimeout = 5 * time.Second
	// DefaultConnectTimeout bounds connecting to a cluster.
	DefaultConnectTimeout = 2 * time.Second
)

// Watchdog times. The main thread is never killed: loading modules blocks it for many seconds.
const (
	workerMissTimeout = 1 * time.Second
	workerMegaMiss    = 2 * time.Second
	mainMissTimeout   = 5 * time.Second
	mainMegaMiss      = 30 * time.Second
	// fetchTimeout is how long the listener waits for the slot's file before it serves the default chain.
	fetchTimeout = 1 * time.Second
)

// Memory that Envoy does not use is given back at this rate, in bytes at each interval.
const (
	releaseBytes    = 64 << 20
	releaseInterval = 1 * time.Second
)

// ListenersFileName is the name, in the folder of the slots' files, of the file with the listener of an Envoy that was
// started without a chain.
const ListenersFileName = "listeners.json"

// UpstreamCluster is the name of the cluster that a bootstrap makes of BootstrapConfig.Upstream.
const UpstreamCluster = "upstream"

// preloadAddress is where the listener of the pre-loading slot would listen, did it bind. Envoy wants listeners' addresses to differ.
const preloadAddress = "127.0.0.1:1"

// BootstrapConfig says what an Envoy with waft's slot looks like. One of Upstream, DirectResponse and Routes says where requests go.
type BootstrapConfig struct {
	// NodeID and Cluster name the node; file-based ECDS needs both.
	NodeID  string
	Cluster string
	// Number is the version that the bootstrap is for.
	Number Number
	// AdminAddress and Listen are host:port. Empty: DefaultAddress.
	AdminAddress string
	Listen       string
	// StatPrefix of the connection manager that holds the slot. Empty: DefaultStatPrefix.
	StatPrefix string
	// SlotDir is the folder of the slots' files (SlotFileName), absolute. Each file must exist when Envoy starts.
	SlotDir string
	// Default is the chain to serve while the slot's file gives none: the last good one. Empty but not nil: serve without
	// filters. Nil: there never was one, and Envoy does not listen; it takes the listener from the file ListenersFileName
	// in SlotDir, which WaitingListeners and BootstrapConfig.Listeners render. Before 1.39 it must fit
	// SlotFilters, as Fill says.
	Default []WasmFilter
	// SlotFilters names the filters that have a slot, in their order. For Envoy 1.36 to 1.38 only; later ones have one slot for all.
	SlotFilters []string
	// Inline puts Default into the listener itself instead of a slot; nothing can be swapped then. The probe uses it.
	Inline bool
	// ADS has Envoy ask a server for its chain, by aggregated discovery, instead of reading files: SlotDir is empty then, Default nil, and Envoy listens
	// once it has accepted its first chain. Nil: files. It needs Number.HasFilterChain.
	ADS *ADS
	// Preload adds the slot PreloadSlotName (1.39 and later).
	Preload bool
	// TCP makes Default a chain of filters of connections, before Envoy's TCP proxy to Upstream; the statistics of listener and
	// proxy are listener.PREFIX.… and tcp.PREFIX.…, with StatPrefix. It goes with Inline and Upstream only: Envoy has no slot for it.
	TCP bool

	// Upstream is host:port of one HTTP/1 server that takes all requests.
	Upstream string
	// DirectResponse answers all requests.
	DirectResponse *DirectResponse
	// Routes are tried in order.
	Routes []Route
	// Clusters are more clusters that filters can call.
	Clusters []Cluster

	// Limits; zero means the default, negative none.
	StreamIdleTimeout time.Duration
	MaxStreamDuration time.Duration
	// WorkerKillTimeout is how long a worker may hang before Envoy aborts.
	WorkerKillTimeout time.Duration
}

// DirectResponse is an answer that Envoy gives by itself.
type DirectResponse struct {
	Status int
	Body   string
}

// Route sends requests whose path has a prefix somewhere.
type Route struct {
	// Name is what the property xds.route_name shows.
	Name string
	// Prefix of the path. Empty: /.
	Prefix string
	// Cluster by name, or DirectResponse.
	Cluster        string
	DirectResponse *DirectResponse
}

// Cluster is a server that Envoy can send requests to, over HTTP/1.
type Cluster struct {
	Name string
	// Address is host:port; a host name is resolved by DNS.
	Address string
}

// Render renders the bootstrap as JSON. Its errors wrap ErrInvalid where the configuration is at fault.
func (c BootstrapConfig) Render() ([]byte, error) {
	bootstrap, err := c.Proto()
	if err != nil {
		return nil, err
	}
	return render(bootstrap)
}

// Proto renders the bootstrap as Envoy's own message.
func (c BootstrapConfig) Proto() (*bootstrapv3.Bootstrap, error) {
	if c.Number.Compare(OldestSupported) < 0 {
		return nil, fmt.Errorf("%w: Envoy %s is older than %s", ErrInvalid, c.Number, OldestSupported)
	}
	if c.NodeID == "" || c.Cluster == "" {
		return nil, fmt.Errorf("%w: a node needs an id and a cluster, or Envoy reads no ECDS file", ErrInvalid)
	}
	if c.ADS != nil {
		if err := c.checkADS(); err != nil {
			return nil, err
		}
	}
	if !c.Inline && c.ADS == nil && !filepath.IsAbs(c.SlotDir) {
		return nil, fmt.Errorf("%w: the folder of the slots' files, %q, is not an absolute path", ErrInvalid, c.SlotDir)
	}
	if c.Preload && !c.Number.HasFilterChain() {
		return nil, fmt.Errorf("%w: Envoy %s has no slot for a whole chain, so none to load it beforehand", ErrInvalid, c.Number)
	}
	if c.TCP && (!c.Inline || c.Upstream == "" || c.DirectResponse != nil || c.Routes != nil) {
		return nil, fmt.Errorf("%w: filters of connections stand in the listener itself (Inline), and connections go to one upstream (Upstream)", ErrInvalid)
	}
	adminAddress, err := socketAddress(or(c.AdminAddress, DefaultAddress))
	if err != nil {
		return nil, err
	}
	var listeners []*listenerv3.Listener
	if c.ADS == nil || !c.ADS.Dynamic {
		edge, err := c.edge()
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, edge)
	}
	clusters, err := c.clusters()
	if err != nil {
		return nil, err
	}
	var dynamic *bootstrapv3.Bootstrap_DynamicResources
	if c.waits() {
		listeners = nil
		dynamic = &bootstrapv3.Bootstrap_DynamicResources{LdsConfig: c.file(ListenersFileName, fetchTimeout)}
	}
	if c.Preload {
		next, err := c.preload()
		if err != nil {
			return nil, err
		}
		if c.ADS != nil {
			// Envoy asks for slots in the order of its listeners, and the one for loading is to be known first.
			listeners = append([]*listenerv3.Listener{next}, listeners...)
		} else {
			listeners = append(listeners, next)
		}
	}
	bootstrap := &bootstrapv3.Bootstrap{
		Node:  &corev3.Node{Id: c.NodeID, Cluster: c.Cluster},
		Admin: &bootstrapv3.Admin{Address: adminAddress},
		Watchdogs: &bootstrapv3.Watchdogs{
			WorkerWatchdog: &bootstrapv3.Watchdog{
				MissTimeout:     durationpb.New(workerMissTimeout),
				MegamissTimeout: durationpb.New(workerMegaMiss),
				KillTimeout:     limit(c.WorkerKillTimeout, DefaultWorkerKillTimeout),
			},
			MainThreadWatchdog: c.Number.mainWatchdog(),
		},
		MemoryAllocatorManager: memoryAllocator(),
		StaticResources:        &bootstrapv3.Bootstrap_StaticResources{Listeners: listeners, Clusters: clusters},
		DynamicResources:       dynamic,
	}
	if c.ADS != nil {
		if err := c.ADS.apply(bootstrap, c.Number); err != nil {
			return nil, err
		}
	}
	if err := c.beginEngine(bootstrap); err != nil {
		return nil, err
	}
	if c.Number.hasAdminAllowPaths() {
		bootstrap.Admin.AllowPaths = adminAllowPaths()
	}
	return bootstrap, nil
}

// mainWatchdog is that of the main thread. Where Envoy watches its workers by it, too, and not by their own, it has their times, so that a worker
// that hangs shows in seconds (watchdog_mega_miss); but never their kill timeout, which would end Envoy while it loads modules. There, whoever
// started Envoy must end it.
func (n Number) mainWatchdog() *bootstrapv3.Watchdog {
	miss, mega := mainMissTimeout, mainMegaMiss
	if !n.watchesWorkersApart() {
		miss, mega = workerMissTimeout, workerMegaMiss
	}
	return &bootstrapv3.Watchdog{MissTimeout: durationpb.New(miss), MegamissTimeout: durationpb.New(mega)}
}

// memoryAllocator has Envoy give memory back that it does not use: V8 compiles a module in much more than the code takes, and the
// allocator would keep that for good. For a filter in Go of 3 MB it is 16 MB of 87 (Envoy 1.40).
func memoryAllocator() *bootstrapv3.MemoryAllocatorManager {
	return &bootstrapv3.MemoryAllocatorManager{BytesToRelease: releaseBytes, MemoryReleaseInterval: durationpb.New(releaseInterval)}
}

// waits says whether the bootstrap has no listener of its own, because there is no chain yet that it could serve.
func (c BootstrapConfig) waits() bool { return c.Default == nil && !c.Inline && c.ADS == nil }

// Listeners renders the file ListenersFileName for a bootstrap without a default chain, once the slot's file holds the
// first chain: the listener that serves it.
func (c BootstrapConfig) Listeners(version string) ([]byte, error) {
	edge, err := c.edge()
	if err != nil {
		return nil, err
	}
	packed, err := anypb.New(edge)
	if err != nil {
		return nil, fmt.Errorf("render the listeners: %w", err)
	}
	return render(&discoveryv3.DiscoveryResponse{VersionInfo: version, TypeUrl: listenerURL, Resources: []*anypb.Any{packed}})
}

// WaitingListeners renders the file ListenersFileName for as long as there is no chain: Envoy runs, and does not listen.
// An ECDS slot alone cannot wait: after a file that it cannot use, Envoy is LIVE and answers 500 to everything.
func WaitingListeners() ([]byte, error) {
	return render(&discoveryv3.DiscoveryResponse{TypeUrl: listenerURL})
}

// adminAllowPaths leaves out /config_dump, which shows secrets in plugin configurations.
func adminAllowPaths() []*matcherv3.StringMatcher {
	exact := func(path string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: path}}
	}
	prefix := func(path string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: path}}
	}
	return []*matcherv3.StringMatcher{exact("/ready"), exact("/server_info"), prefix("/stats"), prefix("/listeners"), prefix("/drain_listeners"), prefix("/quitquitquit")}
}

func (c BootstrapConfig) edge() (*listenerv3.Listener, error) {
	if c.TCP {
		return c.tcpListener()
	}
	statPrefix := or(c.StatPrefix, DefaultStatPrefix)
	slots, err := c.slots()
	if err != nil {
		return nil, err
	}
	routes, err := c.routes()
	if err != nil {
		return nil, err
	}
	idle := limit(c.StreamIdleTimeout, DefaultStreamIdleTimeout)
	if idle == nil {
		idle = durationpb.New(0) // an absent one means Envoy's own five minutes
	}
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:        statPrefix,
		StreamIdleTimeout: idle,
		RouteSpecifier:    &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: routes}}}},
		HttpFilters:       slots,
	}
	if c.Number.CountsDenied() && !c.Inline {
		if manager.AccessLog, err = counts(); err != nil {
			return nil, err
		}
		manager.AccessLogOptions = logOptions()
	}
	if duration := limit(c.MaxStreamDuration, DefaultMaxStreamDuration); duration != nil {
		manager.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxStreamDuration: duration}
	}
	return listener(statPrefix, or(c.Listen, DefaultAddress), manager)
}

func (c BootstrapConfig) preload() (*listenerv3.Listener, error) {
	slot := c.slot(PreloadSlotName, filterChainURL, nil)
	listener, err := listener(PreloadSlotName, preloadAddress, &hcmv3.HttpConnectionManager{
		StatPrefix:     "waft_next",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{}},
		HttpFilters:    []*hcmv3.HttpFilter{slot},
	})
	if err != nil {
		return nil, err
	}
	listener.BindToPort = wrapperspb.Bool(false)
	return listener, nil
}

// slots is what stands before the router in the listener that serves.
func (c BootstrapConfig) slots() ([]*hcmv3.HttpFilter, error) {
	switch {
	case c.Inline:
		return c.inline()
	case c.Number.HasFilterChain():
		if len(c.SlotFilters) > 0 {
			return nil, fmt.Errorf("%w: Envoy %s has one slot for the whole chain; it takes no slots by filter", ErrInvalid, c.Number)
		}
		var chain *anypb.Any
		if c.Default != nil {
			var err error
			if chain, err = filterChain(c.Default); err != nil {
				return nil, err
			}
		}
		return []*hcmv3.HttpFilter{c.slot(SlotName, filterChainURL, chain)}, nil
	default:
		return c.filterSlots()
	}
}

func (c BootstrapConfig) inline() ([]*hcmv3.HttpFilter, error) {
	if err := unique(c.Default); err != nil {
		return nil, err
	}
	var filters []*hcmv3.HttpFilter
	for _, filter := range c.Default {
		wasm, err := filter.wasm()
		if err != nil {
			return nil, err
		}
		filters = append(filters, &hcmv3.HttpFilter{Name: filter.id(), ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: wasm}})
	}
	return filters, nil
}

// filterSlots is the shape of Envoy 1.36 to 1.38.
func (c BootstrapConfig) filterSlots() ([]*hcmv3.HttpFilter, error) {
	var defaults []WasmFilter
	if c.Default != nil {
		var err error
		if defaults, err = Fill(c.SlotFilters, c.Default); err != nil {
			return nil, fmt.Errorf("the default chain: %w", err)
		}
	}
	var slots []*hcmv3.HttpFilter
	for i, name := range c.SlotFilters {
		if len(name) > filterNameLimit || !filterName.MatchString(name) {
			return nil, fmt.Errorf("%w: slot %q is not named for a filter (a DNS label)", ErrInvalid, name)
		}
		var wasm *anypb.Any
		if c.Default != nil {
			var err error
			if wasm, err = defaults[i].wasm(); err != nil {
				return nil, err
			}
		}
		slots = append(slots, c.slot(FilterSlotName(name), wasmURL, wasm))
	}
	return slots, nil
}

// slot is an ECDS entry fed by a file, or by a server. Without a default it waits for the file for ever: after any
// other waiting time Envoy answers 500 to everything.
func (c BootstrapConfig) slot(name, typeURL string, fallback *anypb.Any) *hcmv3.HttpFilter {
	wait := time.Duration(0)
	if fallback != nil {
		wait = fetchTimeout
	}
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
		ConfigSource:  c.source(name, wait),
		DefaultConfig: fallback,
		TypeUrls:      []string{typeURL},
	}}}
}

// source is where a slot's chain comes from.
func (c BootstrapConfig) source(slot string, wait time.Duration) *corev3.ConfigSource {
	if c.ADS != nil {
		return aggregated(wait)
	}
	return c.file(SlotFileName(slot), wait)
}

// file is a configuration source that watches a file of the slots' folder.
func (c BootstrapConfig) file(name string, wait time.Duration) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{Path: filepath.Join(c.SlotDir, name)}},
		InitialFetchTimeout:   durationpb.New(wait),
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}
}

func (c BootstrapConfig) routes() ([]*routev3.Route, error) {
	routes := c.Routes
	switch {
	case c.Upstream != "" && c.DirectResponse == nil && routes == nil:
		routes = []Route{{Cluster: UpstreamCluster}}
	case c.Upstream == "" && c.DirectResponse != nil && routes == nil:
		routes = []Route{{DirectResponse: c.DirectResponse}}
	case c.DirectResponse != nil || len(routes) == 0:
		return nil, fmt.Errorf("%w: requests need one place to go: an upstream, a direct response, or routes", ErrInvalid)
	}
	var rendered []*routev3.Route
	for _, route := range routes {
		r := &routev3.Route{Name: route.Name, Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: or(route.Prefix, "/")}}}
		switch {
		case route.Cluster != "" && route.DirectResponse == nil:
			r.Action = &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: route.Cluster}}}
		case route.Cluster == "" && route.DirectResponse != nil:
			answer := &routev3.DirectResponseAction{Status: uint32(route.DirectResponse.Status)}
			if route.DirectResponse.Body != "" {
				answer.Body = &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: route.DirectResponse.Body}}
			}
			r.Action = &routev3.Route_DirectResponse{DirectResponse: answer}
		default:
			return nil, fmt.Errorf("%w: route %q needs a cluster or a direct response, one of them", ErrInvalid, or(route.Name, route.Prefix))
		}
		rendered = append(rendered, r)
	}
	return rendered, nil
}

func (c BootstrapConfig) clusters() ([]*clusterv3.Cluster, error) {
	all := c.Clusters
	if c.Upstream != "" {
		all = append([]Cluster{{Name: UpstreamCluster, Address: c.Upstream}}, all...)
	}
	var clusters []*clusterv3.Cluster
	for _, cluster := range all {
		address, err := socketAddress(cluster.Address)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", cluster.Name, err)
		}
		kind := clusterv3.Cluster_STRICT_DNS
		if net.ParseIP(address.GetSocketAddress().GetAddress()) != nil {
			kind = clusterv3.Cluster_STATIC
		}
		clusters = append(clusters, &clusterv3.Cluster{
			Name:                 cluster.Name,
			ConnectTimeout:       durationpb.New(DefaultConnectTimeout),
			ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: kind},
			LoadAssignment: &endpointv3.ClusterLoadAssignment{
				ClusterName: cluster.Name,
				Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
					HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
				}}}},
			},
		})
	}
	return clusters, nil
}

func listener(name, address string, manager *hcmv3.HttpConnectionManager) (*listenerv3.Listener, error) {
	router, err := anypb.New(&routerv3.Router{})
	if err != nil {
		return nil, fmt.Errorf("render the router: %w", err)
	}
	manager.HttpFilters = append(manager.HttpFilters, &hcmv3.HttpFilter{Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router}})
	packed, err := anypb.New(manager)
	if err != nil {
		return nil, fmt.Errorf("render listener %s: %w", name, err)
	}
	socket, err := socketAddress(address)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", name, err)
	}
	return &listenerv3.Listener{
		Name:    name,
		Address: socket,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed},
		}}}},
	}, nil
}

func socketAddress(address string) (*corev3.Address, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: address %q is not host:port: %w", ErrInvalid, address, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" {
		return nil, fmt.Errorf("%w: address %q is not host:port", ErrInvalid, address)
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(number)},
	}}}, nil
}

// limit is nil where the limit is switched off.
func limit(value, fallback time.Duration) *durationpb.Duration {
	switch {
	case value < 0:
		return nil
	case value == 0:
		value = fallback
	}
	return durationpb.New(value)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
