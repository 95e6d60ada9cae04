package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// FilterDraft is a filter as a person writes it.
type FilterDraft struct {
	// Name is required, a DNS label.
	Name string
	// Module is a reference, resolved to digests when the release is created. Empty: another layer gives the module, or Inline does.
	Module string
	// Inline is the module itself; nil: there is none.
	Inline        *InlineDraft
	Phase         model.Phase
	Priority      *int32
	FailurePolicy model.FailurePolicy
	// Config is any JSON value; nil: none given.
	Config json.RawMessage
}

// ReleaseDraft is a release as a person writes it.
type ReleaseDraft struct {
	// Name is required, a DNS label.
	Name string
	// Layer: empty means model.LayerGlobal.
	Layer     model.Layer
	Filters   []FilterDraft
	Overrides []FilterDraft
	// Resources and ResourceOverrides are written in the release itself; of Collections it takes what its layer has stored when it is created.
	Resources, ResourceOverrides []ReleaseResourceDraft
	Collections                  []string
	// Disable is what a release of an emergency layer takes out; nil for every other release.
	Disable *model.Disabling
}

// CreateRelease resolves a draft's references to digests, checks configurations against their modules' schemas, and
// stores the release. The same content under the same name again returns the first. Errors are *model.Error, naming the
// field in the draft: ErrInvalid, ErrNotFound for a reference or a kept secret that does not exist, ErrUnavailable when the registry is
// away; ErrDenied where Roles says so.
func (s *Service) CreateRelease(ctx context.Context, actor Actor, draft ReleaseDraft) (model.Release, error) {
	layer := draft.Layer
	if layer == "" {
		layer = model.LayerGlobal
	}
	if err := model.ValidateName("release", "metadata.name", draft.Name); err != nil && s.roles != nil {
		return model.Release{}, err // before it stands in a refusal, and in the log
	}
	if err := s.may(ctx, Act{Verb: VerbCreateRelease, Object: "release/" + draft.Name, Layer: layer}); err != nil {
		return model.Release{}, err
	}
	if err := s.mayTakeName(ctx, draft.Name, layer); err != nil {
		return model.Release{}, err
	}
	return s.createRelease(ctx, actor, draft)
}

// mayTakeName asks about a name that another layer has: a rollout that means the newest of that name would take this release for it, and
// releases of one name are kept together.
func (s *Service) mayTakeName(ctx context.Context, name string, layer model.Layer) error {
	if s.roles == nil {
		return nil
	}
	newest, _, err := s.store.ListReleases(ctx, name, 0, 1)
	if err != nil || len(newest) == 0 || newest[0].Layer == layer {
		return err
	}
	object := "release/" + name
	err = s.may(ctx, Act{Verb: VerbCreateRelease, Object: object, Layer: newest[0].Layer})
	if told, ok := errors.AsType[*model.Error](err); ok {
		said := *told
		said.Message = fmt.Sprintf("the name is that of a release of the layer %q; %s", newest[0].Layer, told.Message)
		said.Next = "take another name, or " + told.Next
		return &said
	}
	return err
}

// createRelease is CreateRelease for who may.
func (s *Service) createRelease(ctx context.Context, actor Actor, draft ReleaseDraft) (model.Release, error) {
	object := "release/" + draft.Name
	if err := s.Ready(); err != nil {
		return model.Release{}, err
	}
	if err := actor.check(object); err != nil {
		return model.Release{}, err
	}
	release := model.Release{
		ID: model.ReleaseID{Name: draft.Name}, Layer: draft.Layer, CreatedBy: actor.Name, Reason: actor.Reason,
		Filters: unresolved(draft.Filters), Overrides: unresolved(draft.Overrides), Disable: draft.Disable,
	}
	if release.Layer == "" {
		release.Layer = model.LayerGlobal
	}
	if err := model.ValidateLayer(object, "metadata.layer", release.Layer); err != nil {
		return model.Release{}, err // before it is looked for in the store
	}
	if err := s.resolveResources(ctx, object, draft, &release); err != nil {
		return model.Release{}, err
	}
	// What is wrong without looking at any module is said before one is pulled.
	if err := model.ValidateRelease(release); err != nil {
		return model.Release{}, err
	}
	if err := checkInline(object, draft); err != nil {
		return model.Release{}, err
	}
	if err := s.mayInline(ctx, object, release.Layer, draft); err != nil {
		return model.Release{}, err
	}
	known := map[string]model.KeptSecret{}
	for field, specs := range map[string][]model.FilterSpec{"spec.filters": release.Filters, "spec.overrides": release.Overrides} {
		if err := s.pinSecrets(ctx, object, field, release.Layer, specs, known); err != nil {
			return model.Release{}, err
		}
	}
	resolver := &resolver{service: s, object: object, layer: release.Layer, known: map[string]model.Module{}}
	if err := resolver.resolve(ctx, "spec.filters", draft.Filters, release.Filters); err != nil {
		return model.Release{}, err
	}
	if err := resolver.resolve(ctx, "spec.overrides", draft.Overrides, release.Overrides); err != nil {
		return model.Release{}, err
	}
	if err := model.ValidateRelease(release); err != nil {
		return model.Release{}, err
	}
	var err error
	if release.ID.Hash, err = release.ContentHash(); err != nil {
		return model.Release{}, model.Invalidf(object, "spec", "correct it", "has no canonical form: %v", err)
	}
	release.CreatedAt = s.stamp()

	entry := model.AuditEntry{At: release.CreatedAt, Actor: actor.Name, Action: "release.create", Object: "release/" + release.ID.String(), Reason: actor.Reason}
	switch err := s.store.CreateRelease(ctx, release, entry); {
	case errors.Is(err, model.ErrExists):
		return s.store.GetRelease(ctx, release.ID)
	case err != nil:
		return model.Release{}, err
	}
	s.log.Info("release created", "release", release.ID.String(), "layer", release.Layer, "actor", actor.Name)
	return release, nil
}

// unresolved are the specs of drafts, without their modules.
func unresolved(drafts []FilterDraft) []model.FilterSpec {
	var specs []model.FilterSpec
	for _, d := range drafts {
		specs = append(specs, model.FilterSpec{Name: d.Name, Phase: d.Phase, Priority: d.Priority, FailurePolicy: d.FailurePolicy, Config: d.Config})
	}
	return specs
}

// resolver resolves the references of one draft. A reference that stands twice is resolved once, so that a name that moves
// meanwhile does not put two versions into one release.
type resolver struct {
	service *Service
	object  string
	layer   model.Layer
	known   map[string]model.Module
}

// resolve gives the specs the modules that their drafts name, and checks their configurations.
func (r *resolver) resolve(ctx context.Context, field string, drafts []FilterDraft, specs []model.FilterSpec) error {
	for i, draft := range drafts {
		if err := r.filter(ctx, fmt.Sprintf("%s[%d]", field, i), draft, &specs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) filter(ctx context.Context, at string, draft FilterDraft, spec *model.FilterSpec) error {
	if spec.Config != nil {
		config, err := model.Canonical(spec.Config)
		if err != nil {
			return model.Invalidf(r.object, at+".config", "give JSON", "%v", err)
		}
		spec.Config = config
	}
	module, err := r.given(ctx, at, draft)
	if err != nil || module == nil {
		return err
	}
	spec.Module = module
	if spec.Config == nil {
		// Another layer may give the configuration; the rendered chain is checked before a rollout starts.
		return nil
	}
	schema, err := r.service.schemas.of(ctx, *module)
	if err != nil {
		return r.failed(at+".module", draft.Name, module.Reference, err)
	}
	bad, err := fit(schema, spec.Config)
	if err != nil {
		return model.Invalidf(r.object, at+".config", "give JSON", "%v", err)
	}
	if bad != nil {
		return misfitError(r.object, at+".config"+bad.path, *module, bad.why)
	}
	return nil
}

// given is the module that a draft gives, by a reference or as it is; nil where it gives none.
func (r *resolver) given(ctx context.Context, at string, draft FilterDraft) (*model.Module, error) {
	if draft.Inline != nil {
		return r.inline(ctx, at+".inline", draft)
	}
	if draft.Module == "" {
		return nil, nil
	}
	module, err := r.module(ctx, at+".module", draft.Name, draft.Module)
	return &module, err
}

func (r *resolver) module(ctx context.Context, field, filter, reference string) (model.Module, error) {
	if module, known := r.known[reference]; known {
		return module, nil
	}
	module, schema, err := r.service.modules.Resolve(ctx, reference)
	if err != nil {
		return module, r.failed(field, filter, reference, err)
	}
	module.Reference = reference
	if _, err := r.service.schemas.put(module, schema); err != nil {
		return module, model.Invalidf(r.object, field, "build and push the module again", "%v", err)
	}
	r.known[reference] = module
	return module, nil
}

// failed says that a module could not be had, keeping the kind of the error.
func (r *resolver) failed(field, filter, reference string, err error) error {
	out := &model.Error{Kind: kindOf(err), Object: r.object, Field: field, Cause: err}
	out.Message = fmt.Sprintf("%s: %v", reference, err)
	var told *model.Error
	if errors.As(err, &told) {
		out.Message, out.Next = told.Message, told.Next
		if told.Object != "" {
			out.Message = told.Object + ": " + told.Message
		}
	}
	out.Message = "filter " + filter + ": " + out.Message
	if out.Next == "" {
		switch out.Kind {
		case model.ErrNotFound:
			out.Next = "push it first (waft push), or correct the reference"
		case model.ErrUnavailable:
			out.Next = "check that the registry answers, then try again"
		default:
			out.Next = "see `waft inspect " + reference + "`"
		}
	}
	return out
}

// kindOf is the kind that err wraps; an error of no kind is somebody else's trouble, and trying again may help.
func kindOf(err error) error {
	for _, kind := range []error{model.ErrInvalid, model.ErrNotFound, model.ErrExists, model.ErrConflict, model.ErrPrecondition} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return model.ErrUnavailable
}

// GetRelease finds a release by NAME (the newest of that name), NAME@sha256:HEX, or a unique prefix of the hash.
func (s *Service) GetRelease(ctx context.Context, ref string) (model.Release, error) {
	if err := s.Ready(); err != nil {
		return model.Release{}, err
	}
	parsed, err := model.ParseReleaseRef(ref)
	if err != nil {
		return model.Release{}, err
	}
	var found []model.Release
	switch {
	case parsed.Exact():
		release, err := s.store.GetRelease(ctx, model.ReleaseID(parsed))
		if err != nil && !errors.Is(err, model.ErrNotFound) {
			return model.Release{}, err
		}
		if err == nil {
			found = append(found, release)
		}
	case parsed.Hash != "":
		if found, err = s.store.FindReleases(ctx, parsed.Name, parsed.Hash, 2); err != nil {
			return model.Release{}, err
		}
	default:
		if found, _, err = s.store.ListReleases(ctx, parsed.Name, 0, 1); err != nil {
			return model.Release{}, err
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return model.Release{}, &model.Error{Kind: model.ErrNotFound, Object: "release/" + ref, Message: "no such release",
			Next: "see waft release list, or create it with waft release create"}
	default:
		return model.Release{}, model.Invalidf("release/"+ref, "", "give more of the hash",
			"more than one release is meant: %s and %s", found[0].ID, found[1].ID)
	}
}

// ListReleases returns releases, newest first, of one name or all (empty), and the token of the next page.
func (s *Service) ListReleases(ctx context.Context, name string, page Page) ([]model.Release, string, error) {
	return list(s, page, func(cursor int64, limit int) ([]model.Release, int64, error) {
		return s.store.ListReleases(ctx, name, cursor, limit)
	})
}
