package service

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// ReleaseResourceDraft is a resource of a release as a person writes it.
type ReleaseResourceDraft struct {
	Collection, Name string
	// Body is as in ResourceDraft.
	Body json.RawMessage
}

// resolveResources gives a release the resources of its draft: those that are written in it, and those that its layer has stored of the collections that it names, as they are now. Types and
// declarations become what they are now, too, so that the release means the same for ever.
func (s *Service) resolveResources(ctx context.Context, object string, draft ReleaseDraft, release *model.Release) error {
	if len(draft.Resources)+len(draft.ResourceOverrides)+len(draft.Collections) == 0 {
		return nil
	}
	t, err := s.typing(ctx)
	if err != nil {
		return err
	}
	if release.Resources, err = t.inline(ctx, object, "spec.resources", draft.Resources); err != nil {
		return err
	}
	if release.ResourceOverrides, err = t.inline(ctx, object, "spec.resourceOverrides", draft.ResourceOverrides); err != nil {
		return err
	}
	if err := t.take(ctx, object, draft.Collections, release); err != nil {
		return err
	}
	used := map[string]bool{}
	for _, resources := range [...][]model.ResourceSpec{release.Resources, release.ResourceOverrides} {
		for _, r := range resources {
			if d := t.declared[r.Collection]; len(d.Lists) > 0 && !used[r.Collection] {
				used[r.Collection] = true
				release.Declared = append(release.Declared, model.CollectionSpec{Name: r.Collection, Lists: d.Lists})
			}
		}
	}
	return nil
}

// inline reads the resources that are written in the release itself.
func (t *typing) inline(ctx context.Context, object, field string, drafts []ReleaseResourceDraft) ([]model.ResourceSpec, error) {
	if len(drafts) > model.MaxResources {
		return nil, model.Invalidf(object, field, "split the release by layer", "%d resources are more than %d", len(drafts), model.MaxResources)
	}
	var out []model.ResourceSpec
	for i, d := range drafts {
		at := fmt.Sprintf("%s[%d].", field, i)
		if err := model.ValidateCollection(object, at+"collection", d.Collection); err != nil {
			return nil, err
		}
		body, err := t.body(ctx, object, at, d.Collection, d.Name, d.Body)
		if err != nil {
			return nil, err
		}
		out = append(out, model.ResourceSpec{Collection: d.Collection, Name: d.Name, ResourceBody: body})
	}
	return out, nil
}

// take adds what the layer has stored of collections, as it is now.
func (t *typing) take(ctx context.Context, object string, collections []string, release *model.Release) error {
	if len(collections) > model.MaxReleaseCollections {
		return model.Invalidf(object, "spec.collections", "split the release by layer", "%d collections are more than %d", len(collections), model.MaxReleaseCollections)
	}
	taken := map[string]bool{}
	for i, name := range collections {
		field := fmt.Sprintf("spec.collections[%d]", i)
		if err := model.ValidateCollection(object, field, name); err != nil {
			return err
		}
		if taken[name] {
			return model.Invalidf(object, field, "give each collection once", "%s stands there already", name)
		}
		taken[name] = true
		c, err := t.service.store.GetCollection(ctx, release.Layer, name)
		if err != nil {
			return err
		}
		if len(c.Resources) == 0 {
			return &model.Error{Kind: model.ErrNotFound, Object: object, Field: field, Message: fmt.Sprintf("layer %s has no resource in the collection %s", release.Layer, name),
				Next: "apply some first (waft apply), or leave it out"}
		}
		release.Taken = append(release.Taken, model.TakenCollection{Name: name, Version: model.VersionOf(c.Resources)})
		for _, r := range c.Resources {
			again, err := t.again(ctx, object, field, r)
			if err != nil {
				return err
			}
			release.Resources = append(release.Resources, again)
		}
	}
	return nil
}

// again reads a stored resource once more by what is registered now: a type may have been registered anew since it was applied, and the release is to hold one understanding of it.
func (t *typing) again(ctx context.Context, object, field string, r model.StoredResource) (model.ResourceSpec, error) {
	if r.IsOpaque() {
		return r.ResourceSpec, nil
	}
	text, err := r.JSON()
	if err != nil {
		return model.ResourceSpec{}, err
	}
	spec := model.ResourceSpec{Collection: r.Collection, Name: r.Name}
	if spec.ResourceBody, err = t.body(ctx, object, "", r.Collection, r.Name, text); err != nil {
		return spec, &model.Error{Kind: kindOf(err), Object: object, Field: field, Message: fmt.Sprintf("resource/%s, which is stored, cannot be taken as it is: %v", r.Key(), err),
			Next: "apply it anew (waft apply)", Cause: err}
	}
	return spec, nil
}
