package api

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func resourceObject(m *waftv1.ResourceMetadata) string {
	return "resource/" + m.GetCollection() + ":" + m.GetName()
}

// bodyJSON is a body as it was written.
func bodyJSON(object, field string, spec *structpb.Value) (json.RawMessage, error) {
	if spec == nil {
		return nil, model.Invalidf(object, field, `write {"@type": type.googleapis.com/NAME} with the message's fields`, "is missing")
	}
	text, err := protojson.Marshal(spec)
	if err != nil {
		return nil, model.Invalidf(object, field, "give a JSON value", "%v", err)
	}
	return text, nil
}

func applyDraft(resources []*waftv1.Resource, collections []*waftv1.Collection) (service.ApplyDraft, error) {
	var draft service.ApplyDraft
	for _, r := range resources {
		object := resourceObject(r.GetMetadata())
		if err := checkHead(r.GetApiVersion(), r.GetKind(), KindResource); err != nil {
			return draft, err
		}
		body, err := bodyJSON(object, "spec", r.GetSpec())
		if err != nil {
			return draft, err
		}
		ref := resourceRef(r)
		draft.Resources = append(draft.Resources, service.ResourceDraft{Collection: ref.Collection, Name: ref.Name, Layer: ref.Layer, Version: ref.Version, Body: body})
	}
	for _, c := range collections {
		if err := checkHead(c.GetApiVersion(), c.GetKind(), KindCollection); err != nil {
			return draft, err
		}
		one := service.CollectionDraft{Version: c.GetMetadata().GetVersion()}
		one.Name, one.Type, one.Lists = c.GetMetadata().GetName(), c.GetSpec().GetType(), listKeys(c.GetSpec().GetLists())
		draft.Declarations = append(draft.Declarations, one)
	}
	return draft, nil
}

func resourceRef(r *waftv1.Resource) service.ResourceRef {
	m := r.GetMetadata()
	return service.ResourceRef{Collection: m.GetCollection(), Name: m.GetName(), Layer: model.Layer(m.GetLayer()), Version: m.GetVersion()}
}

func listKeys(lists []*waftv1.ListKey) []model.ListKey {
	var out []model.ListKey
	for _, l := range lists {
		out = append(out, model.ListKey{Path: l.GetPath(), Key: l.GetKey()})
	}
	return out
}

func listKeyProtos(lists []model.ListKey) []*waftv1.ListKey {
	var out []*waftv1.ListKey
	for _, l := range lists {
		out = append(out, &waftv1.ListKey{Path: l.Path, Key: l.Key})
	}
	return out
}

// bodyProto is a body as people read it.
func bodyProto(b model.ResourceBody) (*structpb.Value, error) {
	text, err := b.JSON()
	if err != nil {
		return nil, err
	}
	return valueProto(text)
}

func storedProto(r model.StoredResource) (*waftv1.Resource, error) {
	spec, err := bodyProto(r.ResourceBody)
	if err != nil {
		return nil, err
	}
	return &waftv1.Resource{
		ApiVersion: APIVersion, Kind: KindResource, Spec: spec,
		Metadata: &waftv1.ResourceMetadata{Collection: r.Collection, Name: r.Name, Layer: string(r.Layer), Version: r.Version},
		Status:   &waftv1.ResourceStatus{UpdatedAt: timeProto(r.UpdatedAt), UpdatedBy: r.UpdatedBy, Descriptors: r.Descriptors, Opaque: r.IsOpaque()},
	}, nil
}

// storedOrNone is nil for a resource that is not there.
func storedOrNone(r model.StoredResource) (*waftv1.Resource, error) {
	if r.Version == "" {
		return nil, nil
	}
	return storedProto(r)
}

func collectionProto(c model.DeclaredCollection) *waftv1.Collection {
	if c.Version == "" {
		return nil
	}
	return &waftv1.Collection{
		ApiVersion: APIVersion, Kind: KindCollection,
		Metadata: &waftv1.CollectionMetadata{Name: c.Name, Version: c.Version},
		Spec:     &waftv1.CollectionSpec{Type: c.Type, Lists: listKeyProtos(c.Lists)},
		Status:   &waftv1.CollectionStatus{UpdatedAt: timeProto(c.UpdatedAt), UpdatedBy: c.UpdatedBy},
	}
}

func storedCollectionProto(c model.LayerCollection) (*waftv1.StoredCollection, error) {
	out := &waftv1.StoredCollection{Layer: string(c.Layer), Name: c.Name, Version: model.VersionOf(c.Resources)}
	for _, r := range c.Resources {
		p, err := storedProto(r)
		if err != nil {
			return nil, err
		}
		out.Resources = append(out.Resources, p)
	}
	return out, nil
}

func appliedProto(a service.Applied, err error) (*waftv1.ApplyResourcesResponse, error) {
	if err != nil {
		return nil, err
	}
	out := &waftv1.ApplyResourcesResponse{}
	for _, r := range a.Resources {
		p := &waftv1.ResourceChange{Change: string(r.Change)}
		if p.Now, err = storedOrNone(r.Now); err != nil {
			return nil, err
		}
		if p.Before, err = storedOrNone(r.Before); err != nil {
			return nil, err
		}
		out.Resources = append(out.Resources, p)
	}
	for _, c := range a.Declarations {
		out.Collections = append(out.Collections, &waftv1.CollectionChange{Change: string(c.Change), Now: collectionProto(c.Now), Before: collectionProto(c.Before)})
	}
	return out, nil
}

func typeSetProto(t model.TypeSet) *waftv1.TypeSet {
	return &waftv1.TypeSet{Name: t.Name, Digest: t.Digest, Size: int64(t.Size), Messages: t.Messages, UpdatedAt: timeProto(t.UpdatedAt), UpdatedBy: t.UpdatedBy}
}
