package filtertest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// MaxDelay is the longest time that a scenario may let pass at once. Envoy's clock cannot be turned.
const MaxDelay = 3 * time.Second

// Cluster is a scripted server that callouts reach by its name. Every request to it gets the same answer.
type Cluster struct {
	Name  string
	Reply Reply
	// GRPC answers in the place of Reply, if it is not nil: the server speaks gRPC. Delay and Fault are Reply's for it too.
	GRPC *GRPCReply
}

// Fault is what becomes of a request instead of an answer.
type Fault string

// The faults.
const (
	// FaultNone: the request is answered.
	FaultNone Fault = ""
	// FaultNever: the request arrives, and nothing comes back.
	FaultNever Fault = "never"
	// FaultReset: the request arrives, and the connection breaks before anything came back.
	FaultReset Fault = "reset"
	// FaultCut: the answer breaks off in the middle of its body.
	FaultCut Fault = "cut"
	// FaultUnreachable: nobody listens at the cluster's address.
	FaultUnreachable Fault = "unreachable"
	// FaultUnhealthy: the cluster has no host.
	FaultUnhealthy Fault = "unhealthy"
)

// standing says whether the fault is one of the cluster's configuration, which stays while Envoy runs.
func (f Fault) standing() bool { return f == FaultUnreachable || f == FaultUnhealthy }

// GRPCReply is the answer of a server that speaks gRPC.
type GRPCReply struct {
	// Messages are sent, then the status. A unary call has one.
	Messages [][]byte
	// Echo sends each message back that comes, before Messages, and the status when the client has ended its side.
	Echo     bool
	Status   uint32
	Message  string           // the text of the status
	Headers  wasmhost.Headers // the initial metadata. Without these and without messages the status comes alone ("trailers only")
	Trailers wasmhost.Headers // beside the status
}

// clusterKeys are the keys of a cluster in a file.
var clusterKeys = []string{"status", "headers", "body", "trailers", "delay", "fault", "grpc"}

// clusterYAML is the form of a cluster in a file.
type clusterYAML struct {
	Status   int          `yaml:"status"`
	Headers  headersYAML  `yaml:"headers"`
	Body     *string      `yaml:"body"`
	Trailers headersYAML  `yaml:"trailers"`
	Delay    durationYAML `yaml:"delay"`
	Fault    Fault        `yaml:"fault"`
	GRPC     *grpcYAML    `yaml:"grpc"`
}

// grpcYAML is the form of a GRPCReply in a file.
type grpcYAML struct {
	Messages []string    `yaml:"messages"`
	Echo     bool        `yaml:"echo"`
	Status   uint32      `yaml:"status"`
	Message  string      `yaml:"message"`
	Headers  headersYAML `yaml:"headers"`
	Trailers headersYAML `yaml:"trailers"`
}

// clustersYAML is a mapping from names to answers, in the file's order.
type clustersYAML []Cluster

// UnmarshalYAML reads the mapping.
func (c *clustersYAML) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: clusters: want a mapping from names to answers", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		if name == upstreamCluster || slices.ContainsFunc(*c, func(o Cluster) bool { return o.Name == name }) {
			return fmt.Errorf("line %d: clusters: %s is there twice (%s is the upstream itself)", n.Content[i].Line, name, upstreamCluster)
		}
		cluster, err := readCluster(name, n.Content[i+1])
		if err != nil {
			return err
		}
		*c = append(*c, cluster)
	}
	return nil
}

func readCluster(name string, n *yaml.Node) (Cluster, error) {
	var y clusterYAML
	if err := strictDecode(n, &y, clusterKeys...); err != nil {
		return Cluster{}, err
	}
	http := replyYAML{Status: y.Status, Headers: y.Headers, Body: y.Body, Trailers: y.Trailers, Delay: y.Delay, Fault: y.Fault}
	c := Cluster{Name: name, Reply: http.reply(Reply{})}
	if g := y.GRPC; g != nil {
		if y.Status != 0 || y.Headers != nil || y.Body != nil || y.Trailers != nil {
			return Cluster{}, fmt.Errorf("line %d: cluster %s: status, headers, body and trailers of a gRPC server stand under grpc", n.Line, name)
		}
		c.GRPC = &GRPCReply{
			Echo: g.Echo, Status: g.Status, Message: g.Message, Headers: wasmhost.Headers(g.Headers), Trailers: wasmhost.Headers(g.Trailers),
		}
		for _, m := range g.Messages {
			c.GRPC.Messages = append(c.GRPC.Messages, []byte(m))
		}
	}
	if err := c.check(); err != nil {
		return Cluster{}, fmt.Errorf("line %d: clusters.%s.%w", n.Line, name, err)
	}
	return c, nil
}

func (c Cluster) check() error {
	if c.GRPC == nil {
		return c.Reply.check()
	}
	if c.Reply.Fault == FaultCut {
		return fmt.Errorf("fault: %s is not for a gRPC server", FaultCut)
	}
	if err := checkHeaders(c.GRPC.Headers); err != nil {
		return fmt.Errorf("grpc.%w", err)
	}
	return c.Reply.check()
}

// durationYAML is a time such as 50ms.
type durationYAML time.Duration

// UnmarshalYAML reads what time.ParseDuration reads, up to MaxDelay.
func (d *durationYAML) UnmarshalYAML(n *yaml.Node) error {
	t, err := parseDuration(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*d = durationYAML(t)
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	t, err := time.ParseDuration(text)
	if err != nil || t < 0 || t > MaxDelay {
		return 0, fmt.Errorf("%q is not a time from 0s to %s, such as 50ms", text, MaxDelay)
	}
	return t, nil
}

// override gives the clusters as a scenario wants them: what it says of one replaces what the file says.
func override(clusters, by []Cluster) ([]Cluster, error) {
	out := slices.Clone(clusters)
	for _, c := range by {
		i := slices.IndexFunc(out, func(o Cluster) bool { return o.Name == c.Name })
		if i < 0 {
			return nil, fmt.Errorf("clusters: %s is not among the file's, which are %s", c.Name, clusterNames(clusters))
		}
		if was := out[i]; (was.GRPC == nil) != (c.GRPC == nil) || was.Reply.Fault.standing() || c.Reply.Fault.standing() {
			return nil, fmt.Errorf("clusters.%s: Envoy's configuration cannot change between scenarios: HTTP or gRPC, %s and %s are the file's to say",
				c.Name, FaultUnreachable, FaultUnhealthy)
		}
		out[i] = c
	}
	return out, nil
}

func clusterNames(clusters []Cluster) string {
	var names []string
	for _, c := range clusters {
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
