package api

import (
	"encoding/base64"
	"encoding/json"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func resourceDrafts(object, path string, resources []*waftv1.ReleaseResource) ([]service.ReleaseResourceDraft, error) {
	var out []service.ReleaseResourceDraft
	for i, r := range resources {
		body, err := bodyJSON(object, index(path, i)+".spec", r.GetSpec())
		if err != nil {
			return nil, err
		}
		out = append(out, service.ReleaseResourceDraft{Collection: r.GetCollection(), Name: r.GetName(), Body: body})
	}
	return out, nil
}

// resourcesProto puts what a release has of resources into what is shown of it.
func resourcesProto(r model.Release, out *waftv1.Release) error {
	protos := func(resources []model.ResourceSpec) ([]*waftv1.ReleaseResource, error) {
		var list []*waftv1.ReleaseResource
		for _, one := range resources {
			spec, err := bodyProto(one.ResourceBody)
			if err != nil {
				return nil, err
			}
			version, err := one.ContentHash()
			if err != nil {
				return nil, err
			}
			list = append(list, &waftv1.ReleaseResource{Collection: one.Collection, Name: one.Name, Spec: spec})
			out.Status.Resources = append(out.Status.Resources, &waftv1.ResolvedResource{Descriptors: one.Descriptors, Opaque: one.IsOpaque(), Version: version})
		}
		return list, nil
	}
	var err error
	if out.Spec.Resources, err = protos(r.Resources); err != nil {
		return err
	}
	if out.Spec.ResourceOverrides, err = protos(r.ResourceOverrides); err != nil {
		return err
	}
	for _, c := range r.Declared {
		out.Status.Declared = append(out.Status.Declared, &waftv1.DeclaredLists{Collection: c.Name, Lists: listKeyProtos(c.Lists)})
	}
	for _, t := range r.Taken {
		out.Status.Taken = append(out.Status.Taken, &waftv1.TakenCollection{Name: t.Name, Version: t.Version})
	}
	return nil
}

// resourcesOf reads them back, as resourcesProto wrote them.
func resourcesOf(object string, r *waftv1.Release, draft service.ReleaseDraft, release *model.Release) error {
	resolved := r.GetStatus().GetResources()
	if len(resolved) != len(draft.Resources)+len(draft.ResourceOverrides) || len(draft.Collections) > 0 {
		return model.Invalidf(object, "status.resources", "use the waft of the distributor's version", "it does not say of each resource how it is read")
	}
	specs := func(path string, drafts []service.ReleaseResourceDraft) ([]model.ResourceSpec, error) {
		var out []model.ResourceSpec
		for i, d := range drafts {
			field := index(path, i) + ".spec"
			url, members, err := model.SplitBody(object, field, d.Body)
			if err != nil {
				return nil, err
			}
			spec := model.ResourceSpec{Collection: d.Collection, Name: d.Name, ResourceBody: model.ResourceBody{Type: url, Descriptors: resolved[0].GetDescriptors(), Fields: members}}
			if resolved[0].GetOpaque() {
				var given struct {
					Value string `json:"value"`
				}
				if err = json.Unmarshal(members, &given); err == nil {
					spec.Fields = nil
					spec.Opaque, err = base64.StdEncoding.DecodeString(given.Value)
				}
				if err != nil {
					return nil, model.Invalidf(object, field, "use the waft of the distributor's version", "it is opaque, and has no value in base64")
				}
			}
			resolved = resolved[1:]
			out = append(out, spec)
		}
		return out, nil
	}
	var err error
	if release.Resources, err = specs("spec.resources", draft.Resources); err != nil {
		return err
	}
	if release.ResourceOverrides, err = specs("spec.resourceOverrides", draft.ResourceOverrides); err != nil {
		return err
	}
	for _, d := range r.GetStatus().GetDeclared() {
		release.Declared = append(release.Declared, model.CollectionSpec{Name: d.GetCollection(), Lists: listKeys(d.GetLists())})
	}
	for _, t := range r.GetStatus().GetTaken() {
		release.Taken = append(release.Taken, model.TakenCollection{Name: t.GetName(), Version: t.GetVersion()})
	}
	return nil
}
