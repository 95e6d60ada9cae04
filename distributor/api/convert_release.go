package api

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

var phases = map[waftv1.Phase]model.Phase{
	waftv1.Phase_PHASE_UNSPECIFIED: model.PhaseNone,
	waftv1.Phase_AUTHN:             model.PhaseAuthn,
	waftv1.Phase_AUTHZ:             model.PhaseAuthz,
	waftv1.Phase_STATS:             model.PhaseStats,
}

var policies = map[waftv1.FailurePolicy]model.FailurePolicy{
	waftv1.FailurePolicy_FAILURE_POLICY_UNSPECIFIED: "",
	waftv1.FailurePolicy_FAIL_RELOAD:                model.FailReload,
	waftv1.FailurePolicy_FAIL_CLOSED:                model.FailClosed,
	waftv1.FailurePolicy_FAIL_OPEN:                  model.FailOpen,
}

// checkHead checks what each document begins with. A message that was made by a program may leave both out.
func checkHead(version, kind, want string) error {
	if version != "" && version != APIVersion {
		return model.Invalidf("", "apiVersion", "write "+APIVersion, "%s", wrong(version, APIVersion))
	}
	if kind != "" && kind != want {
		return model.Invalidf("", "kind", "write "+want, "%s", wrong(kind, want))
	}
	return nil
}

func releaseDraft(r *waftv1.Release) (service.ReleaseDraft, error) {
	if r == nil {
		return service.ReleaseDraft{}, model.Invalidf("", "release", "give the release to create", "is missing")
	}
	if err := checkHead(r.GetApiVersion(), r.GetKind(), KindRelease); err != nil {
		return service.ReleaseDraft{}, err
	}
	draft := service.ReleaseDraft{Name: r.GetMetadata().GetName(), Layer: model.Layer(r.GetMetadata().GetLayer())}
	object := "release/" + draft.Name
	if r.GetSpec() == nil {
		// A release without filters takes every filter away from the nodes that get it; a document cut short must not.
		return service.ReleaseDraft{}, model.Invalidf(object, "spec", "give its filters and resources; write spec: {filters: []} for a release without any", "is missing")
	}
	var err error
	if draft.Filters, err = filterDrafts(object, "spec.filters", r.GetSpec().GetFilters()); err != nil {
		return service.ReleaseDraft{}, err
	}
	if draft.Overrides, err = filterDrafts(object, "spec.overrides", r.GetSpec().GetOverrides()); err != nil {
		return service.ReleaseDraft{}, err
	}
	if draft.Resources, err = resourceDrafts(object, "spec.resources", r.GetSpec().GetResources()); err != nil {
		return service.ReleaseDraft{}, err
	}
	if draft.ResourceOverrides, err = resourceDrafts(object, "spec.resourceOverrides", r.GetSpec().GetResourceOverrides()); err != nil {
		return service.ReleaseDraft{}, err
	}
	draft.Collections = r.GetSpec().GetCollections()
	if d := r.GetSpec().GetDisable(); d != nil {
		draft.Disable = &model.Disabling{Filter: d.GetFilter(), PassUnauthorized: d.GetPassUnauthorized()}
	}
	return draft, nil
}

func filterDrafts(object, path string, filters []*waftv1.FilterSpec) ([]service.FilterDraft, error) {
	var out []service.FilterDraft
	for i, f := range filters {
		at := index(path, i)
		phase, ok := phases[f.GetPhase()]
		if !ok {
			return nil, model.Invalidf(object, at+".phase", "give AUTHN, AUTHZ, STATS or none", "%d is no phase", f.GetPhase())
		}
		policy, ok := policies[f.GetFailurePolicy()]
		if !ok {
			return nil, model.Invalidf(object, at+".failurePolicy", "give FAIL_RELOAD, FAIL_CLOSED or FAIL_OPEN", "%d is no failure policy", f.GetFailurePolicy())
		}
		d := service.FilterDraft{Name: f.GetName(), Module: f.GetModule(), Phase: phase, Priority: f.Priority, FailurePolicy: policy}
		var err error
		if d.Inline, err = inlineDraft(object, at+".inline", f.GetInline()); err != nil {
			return nil, err
		}
		if f.GetConfig() != nil {
			config, err := protojson.Marshal(f.GetConfig())
			if err != nil {
				return nil, model.Invalidf(object, at+".config", "give a JSON value", "%v", err)
			}
			d.Config = config
		}
		out = append(out, d)
	}
	return out, nil
}

func releaseProto(r model.Release) (*waftv1.Release, error) {
	out := &waftv1.Release{
		ApiVersion: APIVersion,
		Kind:       KindRelease,
		Metadata:   &waftv1.ReleaseMetadata{Name: r.ID.Name, Layer: string(r.Layer)},
		Spec:       &waftv1.ReleaseSpec{},
		Status:     &waftv1.ReleaseStatus{Hash: r.ID.Hash, CreatedAt: timeProto(r.CreatedAt), CreatedBy: r.CreatedBy},
	}
	var err error
	if out.Spec.Filters, err = filterProtos(r.Filters, out.Status); err != nil {
		return nil, err
	}
	if out.Spec.Overrides, err = filterProtos(r.Overrides, out.Status); err != nil {
		return nil, err
	}
	if err := resourcesProto(r, out); err != nil {
		return nil, err
	}
	if d := r.Disable; d != nil {
		out.Spec.Disable = &waftv1.Disable{Filter: d.Filter, PassUnauthorized: d.PassUnauthorized}
	}
	return out, nil
}

// ReleaseOf is a release that a distributor has stored, read back from what the API shows of it; its content is checked against its hash, so
// that whoever is about to sign it signs what was shown. Errors are of kind model.ErrInvalid.
func ReleaseOf(r *waftv1.Release) (model.Release, error) {
	draft, err := releaseDraft(r)
	if err != nil {
		return model.Release{}, err
	}
	object := "release/" + draft.Name
	release := model.Release{
		ID: model.ReleaseID{Name: draft.Name, Hash: r.GetStatus().GetHash()}, Layer: draft.Layer, Disable: draft.Disable,
		CreatedAt: timeModel(r.GetStatus().GetCreatedAt()), CreatedBy: r.GetStatus().GetCreatedBy(),
	}
	// Modules stand in the order of the filters that name them, the overrides last.
	resolved := r.GetStatus().GetModules()
	specs := func(drafts []service.FilterDraft) (specs []model.FilterSpec) {
		for _, d := range drafts {
			f := model.FilterSpec{Name: d.Name, Phase: d.Phase, Priority: d.Priority, FailurePolicy: d.FailurePolicy, Config: d.Config}
			if d.Module != "" && len(resolved) > 0 && resolved[0].GetFilter() == d.Name {
				m := resolved[0].GetModule()
				f.Module = &model.Module{
					Reference: d.Module, Artifact: m.GetArtifact(), Digest: m.GetDigest(), Size: m.GetSize(), Envoys: resolved[0].GetEnvoys(), Lists: listKeys(resolved[0].GetLists()),
					Inline: resolved[0].GetInline(),
				}
				resolved = resolved[1:]
			}
			specs = append(specs, f)
		}
		return specs
	}
	release.Filters, release.Overrides = specs(draft.Filters), specs(draft.Overrides)
	if err := resourcesOf(object, r, draft, &release); err != nil {
		return model.Release{}, err
	}
	sealed, err := model.Seal(release)
	if err != nil {
		return model.Release{}, err
	}
	if len(resolved) > 0 || sealed.ID.Hash != release.ID.Hash {
		return model.Release{}, model.Invalidf(object, "", "do not sign it; use the waft of the distributor's version, and find out who stands between you and it",
			"its content has the hash %s, and the distributor calls it %s", sealed.ID.Hash, release.ID.Hash)
	}
	return sealed, nil
}

func filterProtos(filters []model.FilterSpec, status *waftv1.ReleaseStatus) ([]*waftv1.FilterSpec, error) {
	var out []*waftv1.FilterSpec
	for _, f := range filters {
		p := &waftv1.FilterSpec{
			Name: f.Name, Priority: f.Priority, Phase: phaseProto(f.Phase), FailurePolicy: policyProto(f.FailurePolicy),
		}
		if f.Module != nil {
			p.Module = f.Module.Reference
			status.Modules = append(status.Modules, &waftv1.ResolvedModule{
				Filter: f.Name, Module: moduleProto(*f.Module), Envoys: f.Module.Envoys, Lists: listKeyProtos(f.Module.Lists), Inline: f.Module.Inline,
			})
		}
		if f.Config != nil {
			var err error
			if p.Config, err = valueProto(f.Config); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	return out, nil
}

func valueProto(config json.RawMessage) (*structpb.Value, error) {
	v := &structpb.Value{}
	return v, protojson.Unmarshal(config, v)
}

func moduleProto(m model.Module) *waftv1.ModuleRef {
	return &waftv1.ModuleRef{Reference: m.Reference, Artifact: m.Artifact, Digest: m.Digest, Size: m.Size}
}

func phaseProto(p model.Phase) waftv1.Phase {
	for to, from := range phases {
		if from == p {
			return to
		}
	}
	return waftv1.Phase_PHASE_UNSPECIFIED
}

func policyProto(p model.FailurePolicy) waftv1.FailurePolicy {
	for to, from := range policies {
		if from == p {
			return to
		}
	}
	return waftv1.FailurePolicy_FAILURE_POLICY_UNSPECIFIED
}

// timeProto is nil for the zero time: it has not happened.
func timeProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// timeModel is the zero time for nil.
func timeModel(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
