package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of an application.
const (
	// MaxApply is how many resources one application, or removal, may be about.
	MaxApply = model.MaxResources
	// maxApplyCollections is how many collections of layers, and declarations, it may be about: each has an audit entry, and all are one transaction.
	maxApplyCollections = MaxBatch / 3
	// maxApplyTries is how often a change is tried again that somebody else's change of the same collection came before.
	maxApplyTries = 5
	// maxAuditDetail bounds what an audit entry says of the resources that were changed, in bytes.
	maxAuditDetail = 2048
)

// ResourceDraft is a resource as a person writes it.
type ResourceDraft struct {
	Collection, Name string
	// Layer: empty means model.LayerGlobal.
	Layer model.Layer
	// Version is that of the stored resource which the draft is based on; empty: whatever there is.
	Version string
	// Body is an object with @type, and the fields of the message or its bytes as value.
	Body json.RawMessage
}

// ApplyDraft is what one application is about: all of it is done, or nothing.
type ApplyDraft struct {
	Resources    []ResourceDraft
	Declarations []CollectionDraft
}

// CollectionDraft is the declaration of a collection as a person writes it.
type CollectionDraft struct {
	model.CollectionSpec
	// Version is as in ResourceDraft.
	Version string
}

// Change says what an application does to one thing.
type Change string

// The changes.
const (
	ChangeNone    Change = "unchanged"
	ChangeCreated Change = "created"
	ChangeChanged Change = "changed"
	ChangeDeleted Change = "deleted"
)

// Applied is what an application did, or would do, in the order of the draft.
type Applied struct {
	Resources    []AppliedResource
	Declarations []AppliedDeclaration
}

// AppliedResource is one resource of an application.
type AppliedResource struct {
	Change Change
	// Now is the resource after it; Before is what was there, zero where there was nothing.
	Now, Before model.StoredResource
}

// AppliedDeclaration is one declaration of an application.
type AppliedDeclaration struct {
	Change      Change
	Now, Before model.DeclaredCollection
}

// ResourceRef names a stored resource.
type ResourceRef struct {
	// Layer: empty means model.LayerGlobal.
	Layer            model.Layer
	Collection, Name string
	// Version is as in ResourceDraft.
	Version string
}

func (r ResourceRef) layer() model.Layer {
	if r.Layer == "" {
		return model.LayerGlobal
	}
	return r.Layer
}

// object names a stored resource in errors.
func (r ResourceRef) object() string {
	return "resource/" + clip(r.Collection, model.MaxCollectionName) + ":" + clip(r.Name, model.MaxResourceName)
}

// ApplyResources stores resources and declarations, all of them or none. No node runs anything else by that: a release takes what is stored, and a rollout brings it.
//
// Errors are *model.Error that name the resource and the field: ErrInvalid; ErrConflict for a draft that is based on a version which is there no longer, saying who changed it;
// ErrDenied where Roles says so.
func (s *Service) ApplyResources(ctx context.Context, actor Actor, draft ApplyDraft) (Applied, error) {
	if err := s.mayApply(ctx, draft); err != nil {
		return Applied{}, err
	}
	if err := actor.check("resources"); err != nil {
		return Applied{}, err
	}
	return s.retried(func() (Applied, error) { return s.apply(ctx, actor, draft, true) })
}

// DiffResources says what ApplyResources would do with the same draft, and changes nothing. It gives the errors of ApplyResources, but for those about who may.
func (s *Service) DiffResources(ctx context.Context, actor Actor, draft ApplyDraft) (Applied, error) {
	return s.apply(ctx, actor, draft, false)
}

// retried tries again what somebody else's change of another resource in the same collection came before.
func (s *Service) retried(do func() (Applied, error)) (Applied, error) {
	for try := 1; ; try++ {
		applied, err := do()
		if o, ok := errors.AsType[outrun](err); ok {
			if try < maxApplyTries {
				continue
			}
			err = o.error
		}
		if err != nil {
			return Applied{}, err
		}
		return applied, nil
	}
}

// outrun marks a conflict that is about the collection as it is stored, and not about a version that the draft names.
type outrun struct{ error }

func (o outrun) Unwrap() error { return o.error }

// mayApply asks about each layer once, and about declarations, which are of no layer and so for who may write the first one.
func (s *Service) mayApply(ctx context.Context, draft ApplyDraft) error {
	if len(draft.Resources) > MaxApply {
		return model.Invalidf("resources", "", "apply fewer at once", "%d resources are more than %d", len(draft.Resources), MaxApply)
	}
	asked := map[model.Layer]bool{}
	for _, r := range draft.Resources {
		ref := ResourceRef{Layer: r.Layer, Collection: r.Collection, Name: r.Name}
		if asked[ref.layer()] {
			continue
		}
		asked[ref.layer()] = true
		if err := validateRef(ref, true); err != nil {
			return err
		}
		if err := s.may(ctx, Act{Verb: VerbApplyResource, Object: ref.object(), Layer: ref.layer()}); err != nil {
			return err
		}
	}
	for _, d := range draft.Declarations {
		if err := model.ValidateCollection("collection", "metadata.name", d.Name); err != nil {
			return err
		}
		if err := s.may(ctx, Act{Verb: VerbDeclareCollection, Object: "collection/" + d.Name, Layer: model.LayerGlobal}); err != nil {
			return err
		}
	}
	return nil
}

// validateRef checks the names of a resource. Emergency layers have no resources.
func validateRef(ref ResourceRef, named bool) error {
	object := ref.object()
	problems := []error{
		model.ValidateLayer(object, "metadata.layer", ref.layer()),
		model.ValidateCollection(object, "metadata.collection", ref.Collection),
	}
	if ref.layer().Disables() != "" {
		problems = append(problems, model.Invalidf(object, "metadata.layer", "use global, team/NAME or service/NAME", "a layer that takes a filter out has no resources"))
	}
	if named {
		problems = append(problems, model.ValidateResourceName(object, "metadata.name", ref.Name))
	}
	return errors.Join(problems...)
}

// shelf is the collections that a request is about, as they were read, and as they are to be written.
type shelf struct {
	service *Service
	held    map[shelfKey]*model.LayerCollection
	// notes are what was done to each, for the audit log.
	notes map[shelfKey][]string
}

type shelfKey struct {
	layer model.Layer
	name  string
}

func (s *Service) shelf() *shelf {
	return &shelf{service: s, held: map[shelfKey]*model.LayerCollection{}, notes: map[shelfKey][]string{}}
}

func (h *shelf) collection(ctx context.Context, layer model.Layer, name string) (*model.LayerCollection, error) {
	key := shelfKey{layer, name}
	if c := h.held[key]; c != nil {
		return c, nil
	}
	c, err := h.service.store.GetCollection(ctx, layer, name)
	if err != nil {
		return nil, err
	}
	h.held[key] = &c
	return &c, nil
}

func find(c *model.LayerCollection, name string) (int, bool) {
	return slices.BinarySearchFunc(c.Resources, name, func(r model.StoredResource, name string) int { return strings.Compare(r.Name, name) })
}

func (h *shelf) note(layer model.Layer, collection, text string) {
	key := shelfKey{layer, collection}
	h.notes[key] = append(h.notes[key], text)
}

// changes are what is to be written, and the audit entries.
func (h *shelf) changes(actor Actor, verb Verb, now model.AuditEntry) (model.CollectionChanges, []model.AuditEntry, error) {
	var changes model.CollectionChanges
	var entries []model.AuditEntry
	for key, c := range h.held {
		if len(h.notes[key]) == 0 {
			continue
		}
		object := "collection/" + c.Name
		size := 0
		for _, r := range c.Resources {
			size += len(r.Fields) + len(r.Opaque)
		}
		if n := len(c.Resources); n > model.MaxResources {
			return changes, nil, model.Invalidf(object, "", "use another collection", "layer %s would have %d resources in it, more than %d", c.Layer, n, model.MaxResources)
		}
		if size > model.MaxReleaseResources {
			return changes, nil, model.Invalidf(object, "", "use another collection", "the resources of layer %s in it would have %d bytes together, more than %d", c.Layer, size, model.MaxReleaseResources)
		}
		changes.Collections = append(changes.Collections, *c)
		entry := now
		entry.Actor, entry.Reason, entry.Action, entry.Object = actor.Name, actor.Reason, string(verb), object
		entry.Detail = clip(fmt.Sprintf("layer %s: %s", c.Layer, strings.Join(h.notes[key], ", ")), maxAuditDetail)
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b model.AuditEntry) int { return strings.Compare(a.Object+a.Detail, b.Object+b.Detail) })
	return changes, entries, nil
}

// apply works an application out, and writes it where it is to.
func (s *Service) apply(ctx context.Context, actor Actor, draft ApplyDraft, write bool) (Applied, error) {
	if err := s.Ready(); err != nil {
		return Applied{}, err
	}
	t, err := s.typing(ctx)
	if err != nil {
		return Applied{}, err
	}
	stamp := s.stamp()
	var applied Applied
	var declarations []model.DeclaredCollection
	var entries []model.AuditEntry
	declared := map[string]bool{}
	for _, d := range draft.Declarations {
		if declared[d.Name] {
			return Applied{}, model.Invalidf("collection/"+d.Name, "metadata.name", "declare each collection once", "stands there twice")
		}
		declared[d.Name] = true
		one, err := t.declare(ctx, d)
		if err != nil {
			return Applied{}, err
		}
		if one.Change != ChangeNone {
			one.Now.UpdatedAt, one.Now.UpdatedBy, one.Now.Reason = stamp, actor.Name, actor.Reason
			declarations = append(declarations, one.Now)
			entries = append(entries, model.AuditEntry{At: stamp, Actor: actor.Name, Action: string(VerbDeclareCollection), Object: "collection/" + d.Name, Reason: actor.Reason, Detail: declaredAs(one.Now.CollectionSpec)})
		}
		applied.Declarations = append(applied.Declarations, one)
	}
	h := s.shelf()
	seen := map[string]bool{}
	for i, r := range draft.Resources {
		ref := ResourceRef{Layer: r.Layer, Collection: r.Collection, Name: r.Name}
		if err := validateRef(ref, true); err != nil {
			return Applied{}, err
		}
		key := string(ref.layer()) + "\n" + ref.object()
		if seen[key] {
			return Applied{}, model.Invalidf(ref.object(), "metadata", "give each resource once", "stands there twice for layer %s, the second time as resource %d", ref.layer(), i+1)
		}
		seen[key] = true
		one, err := t.applyOne(ctx, h, ref, r)
		if err != nil {
			return Applied{}, err
		}
		if one.Change != ChangeNone {
			one.Now.UpdatedAt, one.Now.UpdatedBy, one.Now.Reason = stamp, actor.Name, actor.Reason
			c, err := h.collection(ctx, ref.layer(), ref.Collection)
			if err != nil {
				return Applied{}, err
			}
			at, there := find(c, ref.Name)
			if there {
				c.Resources[at] = one.Now
			} else {
				c.Resources = slices.Insert(c.Resources, at, one.Now)
			}
			h.note(ref.layer(), ref.Collection, fmt.Sprintf("%s %s to %s", ref.Name, one.Change, one.Now.Version))
		}
		applied.Resources = append(applied.Resources, one)
	}
	changes, more, err := h.changes(actor, VerbApplyResource, model.AuditEntry{At: stamp})
	if err != nil {
		return Applied{}, err
	}
	changes.Declarations = declarations
	if n := len(changes.Collections) + len(changes.Declarations); n > maxApplyCollections {
		return Applied{}, model.Invalidf("resources", "", "apply fewer at once", "they are of %d collections and layers, more than %d", n, maxApplyCollections)
	}
	if !write {
		return applied, nil
	}
	return applied, s.write(ctx, changes, append(entries, more...))
}

// write writes changes, and marks the conflict that trying again resolves.
func (s *Service) write(ctx context.Context, changes model.CollectionChanges, entries []model.AuditEntry) error {
	err := s.store.WriteCollections(ctx, changes, entries)
	if errors.Is(err, model.ErrConflict) {
		return outrun{err}
	}
	if err == nil {
		for _, e := range entries {
			s.log.Info("resources changed", "action", e.Action, "object", e.Object, "actor", e.Actor, "detail", e.Detail)
		}
	}
	return err
}

// applyOne works out what becomes of one resource.
func (t *typing) applyOne(ctx context.Context, h *shelf, ref ResourceRef, draft ResourceDraft) (AppliedResource, error) {
	object := ref.object()
	body, err := t.body(ctx, object, "", ref.Collection, ref.Name, draft.Body)
	if err != nil {
		return AppliedResource{}, err
	}
	now := model.StoredResource{Layer: ref.layer(), ResourceSpec: model.ResourceSpec{Collection: ref.Collection, Name: ref.Name, ResourceBody: body}}
	if err := model.ValidateResource(object, "", now.ResourceSpec); err != nil {
		return AppliedResource{}, err
	}
	if now.Version, err = now.ContentHash(); err != nil {
		return AppliedResource{}, model.Invalidf(object, "spec", "correct it", "has no canonical form: %v", err)
	}
	c, err := h.collection(ctx, ref.layer(), ref.Collection)
	if err != nil {
		return AppliedResource{}, err
	}
	one := AppliedResource{Change: ChangeCreated, Now: now}
	if at, there := find(c, ref.Name); there {
		one.Change, one.Before = ChangeChanged, c.Resources[at]
	}
	if one.Before.Version == now.Version {
		return AppliedResource{Change: ChangeNone, Now: one.Before, Before: one.Before}, nil
	}
	return one, basedOn(object, draft.Version, one.Before)
}

// basedOn refuses a change that is based on something else than what is there.
func basedOn(object, version string, there model.StoredResource) error {
	const next = "look at it (waft get), make the change to what is there now, and leave metadata.version as that has it"
	switch {
	case version == "" || version == there.Version:
		return nil
	case there.Version == "":
		return &model.Error{Kind: model.ErrConflict, Object: object, Field: "metadata.version", Message: "the change is based on " + clip(version, MaxReportHash) + ", and the resource is there no longer",
			Next: "leave metadata.version out to create it again; waft audit says who deleted it"}
	}
	return &model.Error{Kind: model.ErrConflict, Object: object, Field: "metadata.version",
		Message: fmt.Sprintf("the change is based on %s, and %s has changed it to %s since, at %s", clip(version, MaxReportHash), there.UpdatedBy, there.Version, there.UpdatedAt.Format("2006-01-02T15:04:05Z07:00")), Next: next}
}

// DeleteResources removes stored resources, all of them or none. Releases that took them keep them. Errors are as those of ApplyResources, and ErrNotFound.
func (s *Service) DeleteResources(ctx context.Context, actor Actor, refs []ResourceRef) (Applied, error) {
	if len(refs) > MaxApply {
		return Applied{}, model.Invalidf("resources", "", "delete fewer at once", "%d resources are more than %d", len(refs), MaxApply)
	}
	for _, ref := range refs {
		if err := validateRef(ref, true); err != nil {
			return Applied{}, err
		}
		if err := s.may(ctx, Act{Verb: VerbDeleteResource, Object: ref.object(), Layer: ref.layer()}); err != nil {
			return Applied{}, err
		}
	}
	if err := actor.check("resources"); err != nil {
		return Applied{}, err
	}
	return s.retried(func() (Applied, error) { return s.remove(ctx, actor, refs) })
}

func (s *Service) remove(ctx context.Context, actor Actor, refs []ResourceRef) (Applied, error) {
	if err := s.Ready(); err != nil {
		return Applied{}, err
	}
	h := s.shelf()
	var applied Applied
	for _, ref := range refs {
		c, err := h.collection(ctx, ref.layer(), ref.Collection)
		if err != nil {
			return Applied{}, err
		}
		at, there := find(c, ref.Name)
		if !there {
			return Applied{}, errNoResource(ref)
		}
		before := c.Resources[at]
		if err := basedOn(ref.object(), ref.Version, before); err != nil {
			return Applied{}, err
		}
		c.Resources = slices.Delete(c.Resources, at, at+1)
		h.note(ref.layer(), ref.Collection, ref.Name+" "+string(ChangeDeleted))
		applied.Resources = append(applied.Resources, AppliedResource{Change: ChangeDeleted, Before: before})
	}
	changes, entries, err := h.changes(actor, VerbDeleteResource, model.AuditEntry{At: s.stamp()})
	if err != nil {
		return Applied{}, err
	}
	if n := len(changes.Collections); n > maxApplyCollections {
		return Applied{}, model.Invalidf("resources", "", "delete fewer at once", "they are of %d collections and layers, more than %d", n, maxApplyCollections)
	}
	return applied, s.write(ctx, changes, entries)
}

func errNoResource(ref ResourceRef) error {
	return &model.Error{Kind: model.ErrNotFound, Object: ref.object(), Message: "layer " + string(ref.layer()) + " has no such resource", Next: "see waft get " + ref.Collection + "; --layer names another layer"}
}

// GetResource returns a stored resource, or model.ErrNotFound.
func (s *Service) GetResource(ctx context.Context, ref ResourceRef) (model.StoredResource, error) {
	if err := validateRef(ref, true); err != nil {
		return model.StoredResource{}, err
	}
	if err := s.Ready(); err != nil {
		return model.StoredResource{}, err
	}
	c, err := s.store.GetCollection(ctx, ref.layer(), ref.Collection)
	if err != nil {
		return model.StoredResource{}, err
	}
	at, there := find(&c, ref.Name)
	if !there {
		return model.StoredResource{}, errNoResource(ref)
	}
	return c.Resources[at], nil
}

// ListCollections returns what layers have stored, whole collections at a time, by layer and name: of one layer or all (empty), of one collection or all (empty), and the token of the next page.
func (s *Service) ListCollections(ctx context.Context, layer model.Layer, collection string, page Page) ([]model.LayerCollection, string, error) {
	limit, after, err := page.span()
	if err != nil {
		return nil, "", err
	}
	if layer != "" {
		if err := model.ValidateLayer("resources", "layer", layer); err != nil {
			return nil, "", err
		}
	}
	if collection != "" {
		if err := model.ValidateCollection("resources", "collection", collection); err != nil {
			return nil, "", err
		}
	}
	if err := s.Ready(); err != nil {
		return nil, "", err
	}
	if layer != "" && collection != "" {
		c, err := s.store.GetCollection(ctx, layer, collection)
		if err != nil || len(c.Resources) == 0 {
			return nil, "", err
		}
		return []model.LayerCollection{c}, "", nil
	}
	p := collectionPage{limit: limit, collection: collection, read: func(after string, n int) ([]model.LayerCollection, error) {
		return s.store.ListCollections(ctx, layer, after, n)
	}}
	return p.from(after)
}
