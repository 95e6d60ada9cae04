package mcp

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/encoded"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

var phases = map[model.Phase]waftv1.Phase{
	model.PhaseNone:  waftv1.Phase_PHASE_UNSPECIFIED,
	model.PhaseAuthn: waftv1.Phase_AUTHN,
	model.PhaseAuthz: waftv1.Phase_AUTHZ,
	model.PhaseStats: waftv1.Phase_STATS,
}

var policies = map[model.FailurePolicy]waftv1.FailurePolicy{
	"":               waftv1.FailurePolicy_FAIL_RELOAD,
	model.FailReload: waftv1.FailurePolicy_FAIL_RELOAD,
	model.FailClosed: waftv1.FailurePolicy_FAIL_CLOSED,
	model.FailOpen:   waftv1.FailurePolicy_FAIL_OPEN,
}

// encode is a resource of the model as a resource of MCP. module are the bytes of a filter's module that the sink is to have inline; nil: it fetches them.
func encode(collection string, r model.Resource, module []byte) (*mcpv1.Resource, error) {
	var body proto.Message
	switch {
	case r.Filter != nil:
		filter := encodeFilter(r.Filter)
		filter.Inline = module
		body = filter
	case r.Chain != nil:
		body = encodeChain(r.Chain)
	case r.Prefetch != nil:
		body = &waftv1.Prefetch{Module: encodeModule(r.Prefetch)}
	case r.Any != nil:
		return &mcpv1.Resource{
			Metadata: &mcpv1.Metadata{Name: r.Name, Version: r.Version, Labels: r.Labels},
			Body:     &anypb.Any{TypeUrl: r.Any.Type, Value: r.Any.Bytes},
		}, nil
	default:
		return nil, fmt.Errorf("resource %q of %s has no body", r.Name, collection)
	}
	return packed(collection, r, body)
}

// packed is a resource with a message for its body.
func packed(collection string, r model.Resource, body proto.Message) (*mcpv1.Resource, error) {
	packed := &anypb.Any{}
	if err := anypb.MarshalFrom(packed, body, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("resource %q of %s: %w", r.Name, collection, err)
	}
	return &mcpv1.Resource{
		Metadata: &mcpv1.Metadata{Name: r.Name, Version: r.Version, Labels: r.Labels},
		Body:     packed,
	}, nil
}

func encodeFilter(f *model.RenderedFilter) *waftv1.Filter {
	out := &waftv1.Filter{
		Name: f.Name, Module: encodeModule(f.Module), Config: f.Config,
		Phase: phases[f.Phase], FailurePolicy: policies[f.FailurePolicy],
	}
	if f.Priority != nil {
		out.Priority = *f.Priority
	}
	return out
}

func encodeModule(m *model.Module) *waftv1.ModuleRef {
	if m == nil {
		return nil
	}
	return &waftv1.ModuleRef{Reference: m.Reference, Artifact: m.Artifact, Digest: m.Digest, Size: m.Size}
}

func encodeChain(c *model.NodeChain) *waftv1.Chain {
	out := &waftv1.Chain{Hash: c.Hash, Generation: c.Generation}
	for _, f := range c.Filters {
		out.Filters = append(out.Filters, &waftv1.FilterVersion{Name: f.Name, Version: f.Version})
	}
	for _, layer := range slices.Sorted(maps.Keys(c.Releases)) {
		out.Releases = append(out.Releases, &waftv1.ReleaseRef{Layer: string(layer), Release: c.Releases[layer].String()})
	}
	for _, r := range c.Resources {
		out.Resources = append(out.Resources, &waftv1.ResourceVersion{Collection: r.Collection, Name: r.Name, Version: r.Version, Descriptors: r.Descriptors})
	}
	if c.Split != nil {
		encodeSplit(out, c)
	}
	return out
}

var splitSides = map[model.Side]waftv1.SplitSide{
	model.SideBoth:   waftv1.SplitSide_SPLIT_SIDE_UNSPECIFIED,
	model.SideRest:   waftv1.SplitSide_REST,
	model.SideCohort: waftv1.SplitSide_COHORT,
}

// encodeSplit makes the message one of the rest's chain, which a sink that does not know of splits may run for every request, with both beside it.
func encodeSplit(out *waftv1.Chain, c *model.NodeChain) {
	s := c.Split
	out.Split = &waftv1.ChainSplit{
		Hash: c.Hash, TestHash: s.Test, Release: &waftv1.ReleaseRef{Layer: string(s.Layer), Release: s.Release.String()},
		Cohort: &waftv1.Cohort{Percent: int32(s.Cohort.Percent)},
	}
	if h := s.Cohort.Header; h != (model.CohortHeader{}) {
		out.Split.Cohort.Header = &waftv1.CohortHeader{Name: h.Name, Value: h.Value}
	}
	out.Hash, out.Filters = s.Rest, nil
	for _, f := range c.Filters {
		out.Split.Filters = append(out.Split.Filters, &waftv1.SplitFilter{Name: f.Name, Version: f.Version, Side: splitSides[f.Side]})
		if f.Side != model.SideCohort {
			out.Filters = append(out.Filters, &waftv1.FilterVersion{Name: f.Name, Version: f.Version})
		}
	}
}

// encoder turns resources into the bytes of the field Resources.resources and keeps those that nodes share, so that a
// filter that goes to a thousand nodes is encoded once and copied after that. The zero value is ready. It may be used concurrently.
type encoder struct {
	kept encoded.Cache
	// inlined are filters with the bytes of their modules.
	inlined inlined
}

// appendShared appends what names a resource by what it says when nodes can share it; nil: they cannot. Version covers all that is in a filter or a
// module but the reference, which is for people, and all of a resource that is a user's own; a chain belongs to one node.
func appendShared(b []byte, collection string, r model.Resource) []byte {
	var m *model.Module
	switch {
	case len(r.Labels) > 0 || r.Version == "":
		return nil
	case r.Filter != nil:
		m = r.Filter.Module
	case r.Prefetch != nil:
		m = r.Prefetch
	}
	b = append(append(append(append(append(b, collection...), 0), r.Name...), 0), r.Version...)
	switch {
	case m != nil:
		for _, part := range [...]string{m.Reference, m.Artifact, m.Digest} {
			b = append(append(b, 0), part...)
		}
		return b
	case r.Any != nil:
		return b
	}
	return nil
}

// field is the resource as it stands in a message Resources: tag, length and bytes.
func (e *encoder) field(collection string, r model.Resource) ([]byte, error) {
	var some [512]byte // mostly enough
	if key := appendShared(some[:0], collection, r); key != nil {
		return e.kept.Get(key, func() ([]byte, error) { return encodeField(collection, r, nil) })
	}
	return encodeField(collection, r, nil)
}

func encodeField(collection string, r model.Resource, module []byte) ([]byte, error) {
	msg, err := encode(collection, r, module)
	if err != nil {
		return nil, err
	}
	return fieldOf(collection, msg)
}

// encodeBody is encodeField for a resource whose body somebody else has made.
func encodeBody(collection string, r model.Resource, body proto.Message) ([]byte, error) {
	msg, err := packed(collection, r, body)
	if err != nil {
		return nil, err
	}
	return fieldOf(collection, msg)
}

func fieldOf(collection string, msg *mcpv1.Resource) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("resource %q of %s: %w", msg.GetMetadata().GetName(), collection, err)
	}
	b := protowire.AppendTag(make([]byte, 0, len(raw)+8), fieldResources, protowire.BytesType)
	return protowire.AppendBytes(b, raw), nil
}

// fieldResources is the number of Resources.resources.
const fieldResources = 3
