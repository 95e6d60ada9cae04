package distributor_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// A team writes the resources of its own layer, and no other's; what is for all layers, types and declarations, takes a right for the global one. A file of which a part is denied
// stores nothing.
func TestAccessOfTeamsToResources(t *testing.T) { atEach(t, accessOfTeamsToResources) }

func accessOfTeamsToResources(t *testing.T, g *guarded) {
	paul, publisher, viewer := g.visitor(t, "paul"), g.visitor(t, "publisher"), g.visitor(t, "viewer")
	ctx := t.Context()
	resource := func(layer string) *waftv1.Resource {
		spec, err := structpb.NewValue(map[string]any{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "x"})
		if err != nil {
			t.Fatal(err)
		}
		return &waftv1.Resource{Metadata: &waftv1.ResourceMetadata{Collection: "flags", Name: "a", Layer: layer}, Spec: spec}
	}
	apply := func(v *visitor, layers ...string) error {
		req := &waftv1.ApplyResourcesRequest{}
		for _, layer := range layers {
			req.Resources = append(req.Resources, resource(layer))
		}
		_, err := waftv1.NewResourceServiceClient(v.conn).ApplyResources(ctx, req)
		return err
	}
	remove := func(v *visitor, layer string) error {
		_, err := waftv1.NewResourceServiceClient(v.conn).DeleteResources(ctx, &waftv1.DeleteResourcesRequest{Resources: []*waftv1.Resource{resource(layer)}})
		return err
	}
	stored := func() (layers []string) {
		t.Helper()
		list, err := waftv1.NewResourceServiceClient(viewer.conn).ListResources(context.WithoutCancel(ctx), &waftv1.ListResourcesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list.GetCollections() {
			layers = append(layers, c.GetLayer())
		}
		return layers
	}
	declare := func(v *visitor) error {
		_, err := waftv1.NewResourceServiceClient(v.conn).ApplyResources(ctx, &waftv1.ApplyResourcesRequest{
			Collections: []*waftv1.Collection{{Metadata: &waftv1.CollectionMetadata{Name: "flags"}, Spec: &waftv1.CollectionSpec{}}}})
		return err
	}
	register := func(v *visitor) error {
		_, err := waftv1.NewTypeServiceClient(v.conn).RegisterTypes(ctx, &waftv1.RegisterTypesRequest{Name: "acme", Descriptors: []byte("none")})
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
		code codes.Code
		has  string
	}{
		{"another team's layer", func() error { return apply(paul, "team/other") }, codes.PermissionDenied, ""},
		{"the default layer", func() error { return apply(paul, "") }, codes.PermissionDenied, ""},
		{"its own layer and another", func() error { return apply(paul, "team/payments", "global") }, codes.PermissionDenied, ""},
		{"its own layer", func() error { return apply(paul, "team/payments") }, codes.OK, "team/payments"},
		{"a viewer", func() error { return apply(viewer, "team/payments") }, codes.PermissionDenied, "team/payments"},
		{"a publisher of all layers", func() error { return apply(publisher, "global") }, codes.OK, "global team/payments"},
		{"deletion of another's", func() error { return remove(paul, "global") }, codes.PermissionDenied, "global team/payments"},
		{"deletion of its own", func() error { return remove(paul, "team/payments") }, codes.OK, "global"},
		{"a declaration by a team", func() error { return declare(paul) }, codes.PermissionDenied, "global"},
		{"a declaration", func() error { return declare(publisher) }, codes.OK, "global"},
		{"types by a team", func() error { return register(paul) }, codes.PermissionDenied, "global"},
		{"types, which are none", func() error { return register(publisher) }, codes.InvalidArgument, "global"},
	} {
		if err := step.do(); status.Code(err) != step.code {
			t.Errorf("%s: %v, want %v", step.what, err, step.code)
		}
		if has := strings.Join(stored(), " "); has != step.has {
			t.Errorf("%s: afterwards there is %q, want %q", step.what, has, step.has)
		}
	}
}
