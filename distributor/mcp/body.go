package mcp

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// Body decodes the body of a resource into a message of the type that the body says it is. The error names the resource.
// Fields that this version does not know are kept, so that a newer source can be read.
func Body(r *mcpv1.Resource, into proto.Message) error {
	name := r.GetMetadata().GetName()
	if r.GetBody() == nil {
		return fmt.Errorf("resource %q has no body; want %s", name, into.ProtoReflect().Descriptor().FullName())
	}
	if err := r.GetBody().UnmarshalTo(into); err != nil {
		return fmt.Errorf("body of resource %q: %w", name, err)
	}
	return nil
}
