package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// declare works out what becomes of a declaration; the typing goes on with it, so that what is applied beside it is read by it.
func (t *typing) declare(ctx context.Context, draft CollectionDraft) (AppliedDeclaration, error) {
	object := "collection/" + clip(draft.Name, model.MaxCollectionName)
	now := model.DeclaredCollection{CollectionSpec: draft.CollectionSpec.Clone()}
	if err := model.ValidateCollectionSpec(object, now.CollectionSpec); err != nil {
		return AppliedDeclaration{}, err
	}
	if now.Type == "" {
		now.Type = model.EnvoyType(now.Name)
	}
	if now.Type != "" {
		set, _, err := t.lookup(ctx, now.Type)
		if err != nil {
			return AppliedDeclaration{}, err
		}
		if set == nil && len(now.Lists) > 0 {
			return AppliedDeclaration{}, model.Invalidf(object, "spec.type", "register it with `waft types register NAME -f set.binpb`", "%s is not known, so that nothing of it can be merged", now.Type)
		}
		if set != nil {
			if err := set.CheckLists(now.Type, now.Lists); err != nil {
				return AppliedDeclaration{}, model.Invalidf(object, "spec.lists", "correct it", "%v", err)
			}
		}
	}
	var err error
	if now.Version, err = now.ContentHash(); err != nil {
		return AppliedDeclaration{}, model.Invalidf(object, "spec", "correct it", "has no canonical form: %v", err)
	}
	before := t.declared[now.Name]
	now.Revision = before.Revision
	out := AppliedDeclaration{Change: ChangeChanged, Now: now, Before: before}
	switch before.Version {
	case now.Version:
		out.Change, out.Now = ChangeNone, before
	case "":
		out.Change = ChangeCreated
	}
	if out.Change != ChangeNone {
		there := model.StoredResource{Version: before.Version, UpdatedBy: before.UpdatedBy, UpdatedAt: before.UpdatedAt}
		if err := basedOn(object, draft.Version, there); err != nil {
			return AppliedDeclaration{}, err
		}
	}
	t.declared[now.Name] = now
	return out, nil
}

// declaredAs is a declaration in words.
func declaredAs(c model.CollectionSpec) string {
	var lists []string
	for _, l := range c.Lists {
		lists = append(lists, fmt.Sprintf("%s by %s", l.Path, l.Key))
	}
	slices.Sort(lists)
	if len(lists) == 0 {
		lists = []string{"none"}
	}
	text := "lists merged by key: " + strings.Join(lists, ", ")
	if c.Type != "" {
		text = c.Type + ", " + text
	}
	return clip(text, maxAuditDetail)
}

// ListDeclarations returns the declarations of collections, by name.
func (s *Service) ListDeclarations(ctx context.Context) ([]model.DeclaredCollection, error) {
	if err := s.Ready(); err != nil {
		return nil, err
	}
	return s.store.ListDeclarations(ctx)
}
