package istio

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// generatorAPI is what a client that wants Istio's resources, and not Envoy's, says in its metadata.
const generatorAPI = "api"

// identity is who a client is.
type identity struct {
	// id is the node's, TYPE~IP~POD.NAMESPACE~DOMAIN as Istio writes it, taken as it is.
	id string
	// namespace is where it runs, and where its resources are: in that of Istio's own they hold for the whole mesh.
	namespace string
	labels    map[string]string
}

// identify reads the node of a first request.
func identify(n *corev3.Node) (identity, error) {
	fields := n.GetMetadata().GetFields()
	if got := fields["GENERATOR"].GetStringValue(); got != generatorAPI {
		return identity{}, status.Errorf(codes.InvalidArgument,
			"node.metadata.GENERATOR is %.64q; this port serves Istio's control plane, which says %q; an Envoy asks for Envoy's types first", got, generatorAPI)
	}
	parts := strings.Split(n.GetId(), "~")
	if len(parts) != 4 {
		return identity{}, status.Errorf(codes.InvalidArgument, "node.id is %.253q; Istio's is TYPE~IP~POD.NAMESPACE~DOMAIN", n.GetId())
	}
	// The name of a pod may have dots in it, the namespace has none.
	i := strings.LastIndexByte(parts[2], '.')
	if i < 0 || i+1 == len(parts[2]) {
		return identity{}, status.Errorf(codes.InvalidArgument, "node.id is %.253q; it names no namespace", n.GetId())
	}
	who := identity{id: n.GetId(), namespace: parts[2][i+1:]}
	who.labels = map[string]string{"dialect": "istio", "namespace": who.namespace}
	if revision := fields["ISTIO_REVISION"].GetStringValue(); revision != "" {
		who.labels["revision"] = revision
	}
	return who, nil
}

// PermittedID is PermittedAs of a client by its id; is says whether the id is one of Istio's.
func PermittedID(id string) (node string, is bool) {
	parts := strings.Split(id, "~")
	if len(parts) != 4 {
		return "", false
	}
	i := strings.LastIndexByte(parts[2], '.')
	return "istio." + parts[2][i+1:], i >= 0 && i+1 < len(parts[2])
}

// PermittedAs is the node as which an access policy permits the client that sends a message of this dialect: istio.NAMESPACE, for every
// pod of the control plane there, since their own ids change with each start and no certificate could hold them. It is empty for other messages,
// Envoy's among them, and for one that does not say who sends it. The labels are those that it gets by what it says.
func PermittedAs(message any) (node string, labels map[string]string) {
	req, ok := message.(*discoveryv3.DiscoveryRequest)
	if !ok || req.GetNode() == nil || checkKind(req.GetTypeUrl()) != nil {
		return "", nil
	}
	who, err := identify(req.GetNode())
	if err != nil {
		return "", nil // the server ends the stream of such a client
	}
	return "istio." + who.namespace, who.labels
}
