package envoy

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Type URLs of the resources that Envoy asks for by xDS, beside ExtensionConfigURL.
const (
	ListenerURL  = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteURL     = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	ClusterURL   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointsURL = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	SecretURL    = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
)

// Reference is what a resource needs by name: another resource that is asked for over the stream of aggregated discovery, or a cluster, wherever that comes
// from.
type Reference struct {
	// URL is the type of what is referred to. Empty: something else that is asked for over the stream, and Name says what.
	URL string
	// Name is never empty.
	Name string
	// Field is where it stands, in the JSON form of protobuf: filterChains[0].filters[0].typedConfig.rds.routeConfigName.
	Field string
}

// maxNested bounds how deep messages may stand in another, those in an Any among them.
const maxNested = 256

// References reads one resource: the name by which Envoy knows it, and what it refers to, in the order of its fields. It looks into an Any whose type is linked
// (see resources.go) and not into others, of which nothing is known. Errors wrap ErrInvalid.
func References(url string, raw []byte) (name string, references []Reference, err error) {
	message, err := (&anypb.Any{TypeUrl: url, Value: raw}).UnmarshalNew()
	if err != nil {
		return "", nil, fmt.Errorf("%w: it cannot be read as %s: %w", ErrInvalid, url, err)
	}
	m := message.ProtoReflect()
	named := "name"
	if url == EndpointsURL {
		named = "cluster_name"
	}
	if f := m.Descriptor().Fields().ByName(protoreflect.Name(named)); f != nil && f.Kind() == protoreflect.StringKind {
		name = m.Get(f).String()
	}
	w := walk{}
	if err := w.message(m, "", 0); err != nil {
		return "", nil, err
	}
	return name, w.found, nil
}

// walk gathers references.
type walk struct{ found []Reference }

func (w *walk) add(url, name, field string) {
	if name != "" {
		w.found = append(w.found, Reference{URL: url, Name: name, Field: field})
	}
}

// clusterNames are the fields, of messages by their full names, that name a cluster.
var clusterNames = map[protoreflect.FullName][]protoreflect.Name{
	"envoy.config.core.v3.GrpcService.EnvoyGrpc":                                                     {"cluster_name"},
	"envoy.config.core.v3.HttpUri":                                                                   {"cluster"},
	"envoy.config.core.v3.ApiConfigSource":                                                           {"cluster_names"},
	"envoy.config.route.v3.RouteAction":                                                              {"cluster"},
	"envoy.config.route.v3.RouteAction.RequestMirrorPolicy":                                          {"cluster"},
	"envoy.config.route.v3.WeightedCluster.ClusterWeight":                                            {"name"},
	"envoy.config.trace.v3.ZipkinConfig":                                                             {"collector_cluster"},
	"envoy.config.trace.v3.DatadogConfig":                                                            {"collector_cluster"},
	"envoy.config.trace.v3.LightstepConfig":                                                          {"collector_cluster"},
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy":                                         {"cluster"},
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight":           {"name"},
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.MirrorPolicy": {"cluster"},
}

// sources are the fields, of messages by their full names, that say where a resource is asked for, with the field of its name.
var sources = map[protoreflect.FullName]struct {
	url          string
	source, name protoreflect.Name
}{
	"envoy.extensions.filters.network.http_connection_manager.v3.Rds": {RouteURL, "config_source", "route_config_name"},
	"envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig":       {SecretURL, "sds_config", "name"},
}

const (
	clusterMessage      = "envoy.config.cluster.v3.Cluster"
	configSource        = "envoy.config.core.v3.ConfigSource"
	extensionSource     = "envoy.config.core.v3.ExtensionConfigSource"
	anyMessage          = "google.protobuf.Any"
	extensionDiscovered = "config_discovery"
)

// message gathers what one message refers to, at a path.
func (w *walk) message(m protoreflect.Message, at string, depth int) error {
	if depth > maxNested {
		return fmt.Errorf("%w: %s: messages stand in more than %d others", ErrInvalid, at, maxNested)
	}
	name, fields := m.Descriptor().FullName(), m.Descriptor().Fields()
	switch name {
	case anyMessage:
		return w.packed(m, at, depth)
	case configSource:
		if byStream(m) {
			w.add("", "resources of another type", at)
			return nil
		}
	}
	for _, field := range clusterNames[name] {
		w.texts(m, fields.ByName(field), at)
	}
	skip := protoreflect.Name("") // its source is understood
	if s, is := sources[name]; is {
		if source := m.Get(fields.ByName(s.source)).Message(); source.IsValid() && byStream(source) {
			skip = s.source
			w.add(s.url, m.Get(fields.ByName(s.name)).String(), join(at, fields.ByName(s.name)))
		}
	}
	if discovered := fields.ByName(extensionDiscovered); discovered != nil && discovered.Message() != nil && discovered.Message().FullName() == extensionSource && m.Has(discovered) {
		extension := m.Get(discovered).Message()
		source := extension.Get(extension.Descriptor().Fields().ByName("config_source")).Message()
		if own := fields.ByName("name"); own != nil && source.IsValid() && byStream(source) {
			skip = extensionDiscovered
			w.add(ExtensionConfigURL, m.Get(own).String(), join(at, own))
		}
	}
	if name == clusterMessage {
		if w.cluster(m, at) {
			skip = "eds_cluster_config"
		}
	}
	var failed error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Name() == skip || f.Message() == nil {
			return true
		}
		failed = w.field(f, v, join(at, f), depth)
		return failed == nil
	})
	return failed
}

// field gathers what the messages of one field refer to.
func (w *walk) field(f protoreflect.FieldDescriptor, v protoreflect.Value, at string, depth int) error {
	switch {
	case f.IsMap():
		if f.MapValue().Message() == nil {
			return nil
		}
		var failed error
		v.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
			failed = w.message(value.Message(), at+"["+strconv.Quote(key.String())+"]", depth+1)
			return failed == nil
		})
		return failed
	case f.IsList():
		for i := range v.List().Len() {
			if err := w.message(v.List().Get(i).Message(), at+"["+strconv.Itoa(i)+"]", depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return w.message(v.Message(), at, depth+1)
}

// packed looks into an Any, unless nobody here knows its type.
func (w *walk) packed(m protoreflect.Message, at string, depth int) error {
	packed, is := m.Interface().(*anypb.Any)
	if !is {
		return nil
	}
	inner, err := packed.UnmarshalNew()
	switch {
	case err == nil:
		return w.message(inner.ProtoReflect(), at, depth+1)
	case isUnknown(packed):
		return nil
	}
	return fmt.Errorf("%w: %s cannot be read as %s: %w", ErrInvalid, at, packed.GetTypeUrl(), err)
}

// cluster notes where the endpoints of a cluster come from, and says whether that is the stream.
func (w *walk) cluster(m protoreflect.Message, at string) bool {
	fields := m.Descriptor().Fields()
	kind := fields.ByName("type")
	if !m.Has(kind) || kind.Enum().Values().ByNumber(m.Get(kind).Enum()) == nil || kind.Enum().Values().ByNumber(m.Get(kind).Enum()).Name() != "EDS" {
		return false
	}
	eds := m.Get(fields.ByName("eds_cluster_config")).Message()
	if !eds.IsValid() {
		return false
	}
	of := eds.Descriptor().Fields()
	source := eds.Get(of.ByName("eds_config")).Message()
	if !source.IsValid() || !byStream(source) {
		return false
	}
	under := join(at, fields.ByName("eds_cluster_config"))
	name, field := eds.Get(of.ByName("service_name")).String(), join(under, of.ByName("service_name"))
	if name == "" {
		name, field = m.Get(fields.ByName("name")).String(), join(at, fields.ByName("name"))
	}
	w.add(EndpointsURL, name, field)
	return true
}

// texts notes the clusters that a field names: one, or several.
func (w *walk) texts(m protoreflect.Message, f protoreflect.FieldDescriptor, at string) {
	switch {
	case f == nil || !m.Has(f) || f.Kind() != protoreflect.StringKind:
	case f.IsList():
		for i := range m.Get(f).List().Len() {
			w.add(ClusterURL, m.Get(f).List().Get(i).String(), join(at, f)+"["+strconv.Itoa(i)+"]")
		}
	default:
		w.add(ClusterURL, m.Get(f).String(), join(at, f))
	}
}

// byStream says whether a source is the stream of aggregated discovery: ads, or self, which is the same in what came over it.
func byStream(source protoreflect.Message) bool {
	fields := source.Descriptor().Fields()
	return source.Has(fields.ByName("ads")) || source.Has(fields.ByName("self"))
}

// isUnknown says whether nobody here knows the type of an Any.
func isUnknown(packed *anypb.Any) bool {
	_, err := anypb.UnmarshalNew(&anypb.Any{TypeUrl: packed.GetTypeUrl()}, proto.UnmarshalOptions{})
	return err != nil
}

func join(at string, f protoreflect.FieldDescriptor) string {
	if at == "" {
		return f.JSONName()
	}
	return at + "." + f.JSONName()
}
