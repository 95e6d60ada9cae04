package xds

import (
	"fmt"
	"maps"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/xds/pushed"
	"github.com/waft-project/waft/envoy"
)

// Labels that come from fields of Envoy's node, where the metadata has none of that name.
const (
	labelCluster = "cluster"
	labelRegion  = "region"
	labelZone    = "zone"
)

// helloOf reads who an Envoy is. The second result says why it can be given no filters; empty when it can.
func helloOf(n *corev3.Node) (service.NodeHello, string, error) {
	var none service.NodeHello
	switch id := n.GetId(); {
	case id == "":
		return none, "", status.Error(codes.InvalidArgument, "node.id is empty; give Envoy one in its bootstrap (node) or by --service-node")
	case len(id) > MaxNodeIDBytes:
		return none, "", status.Errorf(codes.InvalidArgument, "node.id has %d bytes; the limit is %d", len(id), MaxNodeIDBytes)
	}
	labels, err := labelsOf(n)
	if err != nil {
		return none, "", err
	}
	takes, err := takesOf(n)
	if err != nil {
		return none, "", err
	}
	hello := service.NodeHello{ID: n.GetId(), Labels: labels, Reports: true, Dialect: model.DialectADS, Takes: takes}
	build := n.GetUserAgentBuildVersion()
	if n.GetUserAgentName() != "envoy" || build == nil {
		return hello, "", nil // another client of the protocol: nothing is known of what it can load
	}
	v := build.GetVersion()
	number := envoy.Number{Major: int(v.GetMajorNumber()), Minor: int(v.GetMinorNumber()), Patch: int(v.GetPatch())}
	hello.EnvoyVersion = number.String()
	hello.EnvoyBuild = buildOf(number, build.GetMetadata())
	if !number.HasFilterChain() {
		return hello, fmt.Sprintf("Envoy %s has no slot for a whole chain, so it cannot be given one over ADS; upgrade it to 1.39 or later, or run waft agent beside it", number), nil
	}
	hello.Splits = true
	return hello, "", nil
}

// buildOf is what `envoy --version` prints after "version:", so that a node has the same build with and without an agent.
func buildOf(number envoy.Number, metadata *structpb.Struct) string {
	part := func(key string) string { return metadata.GetFields()[key].GetStringValue() }
	return fmt.Sprintf("%s/%s/%s/%s/%s", part("revision.sha"), number, part("revision.status"), part("build.type"), part("ssl.version"))
}

// NodeNamed is the node that a message of an Envoy says it comes from; empty for one that does not say, and for what is no such message. The labels are those that
// the node says it has; nil for a message by which no node gets any.
func NodeNamed(message any) (id string, labels map[string]string) {
	switch m := message.(type) {
	case *discoveryv3.DiscoveryRequest:
		if ofEnvoy(m) {
			return named(m.GetNode())
		}
	case *discoveryv3.DeltaDiscoveryRequest:
		return named(m.GetNode())
	case *pushed.Message:
		return m.Node(), nil
	}
	return "", nil
}

func named(n *corev3.Node) (string, map[string]string) {
	labels, err := labelsOf(n)
	if err != nil {
		labels = map[string]string{} // none that could be permitted; the server says what is wrong with them
	}
	return n.GetId(), labels
}

func labelsOf(n *corev3.Node) (map[string]string, error) {
	labels := map[string]string{}
	for k, v := range map[string]string{labelCluster: n.GetCluster(), labelRegion: n.GetLocality().GetRegion(), labelZone: n.GetLocality().GetZone()} {
		if v != "" {
			labels[k] = v
		}
	}
	given := n.GetMetadata().GetFields()[envoy.MetadataLabels].GetStructValue().GetFields()
	if len(given) > MaxLabels {
		return nil, status.Errorf(codes.InvalidArgument, "node.metadata.%s has %d labels; the limit is %d", envoy.MetadataLabels, len(given), MaxLabels)
	}
	stated := make(map[string]string, len(given))
	for k, v := range given {
		text, ok := v.GetKind().(*structpb.Value_StringValue)
		if !ok {
			return nil, status.Errorf(codes.InvalidArgument, "node.metadata.%s.%.64s is no string; write it in quotes", envoy.MetadataLabels, k)
		}
		stated[k] = text.StringValue
	}
	maps.Copy(labels, stated)
	for k, v := range labels {
		if len(k)+len(v) > MaxLabelBytes {
			return nil, status.Errorf(codes.InvalidArgument, "label %.64q of the node has more than %d bytes", k, MaxLabelBytes)
		}
	}
	return labels, nil
}
