package distributor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// guard is the trust policy of this distributor: it decides what goes into releases, and which releases are rolled out. It is service.Trust,
// and may be used concurrently.
type guard struct {
	// file of the policy. Nil: nothing is refused here.
	file     *trust.File
	evidence *evidence
}

// admit decides about an artifact that was resolved or pulled, by what stands beside it now. Nil where the module of a packed one must be known first.
func (g *guard) admit(a registry.Artifact, found trust.Dossier) error {
	policy, _ := g.file.Policy()
	proofs := policy.Verify(signing.Collection{Evidence: found.Evidence}, a.Digest)
	_, err := policy.Decide(trust.Artifact{Reference: a.Reference, Digest: a.Digest, Module: a.Module.Digest}, proofs, time.Now())
	if refusal, ok := errors.AsType[*trust.Refusal](err); ok && refusal.Code == trust.CodeModuleUnknown && a.Module.Digest == "" {
		return nil
	}
	return err
}

// refreshTimeout bounds the gathering for a rollout that nobody here decides about.
const refreshTimeout = 5 * time.Second

// Release is service.Trust's. Where there is no policy, the evidence is gathered all the same: the nodes are about to ask for it, and what was
// signed a moment ago counts.
func (g *guard) Release(ctx context.Context, release model.Release) error {
	if g.file == nil {
		ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
		defer cancel()
		_, _ = g.evidence.ofRelease(ctx, release, true) // what cannot be gathered now is, when a node asks
		for _, filters := range [][]model.FilterSpec{release.Filters, release.Overrides} {
			for _, f := range filters {
				if f.Module != nil {
					_, _ = g.evidence.artifact(ctx, registry.Digest(f.Module.Artifact), true)
				}
			}
		}
		return nil
	}
	policy, _ := g.file.Policy()
	for _, filters := range [][]model.FilterSpec{release.Filters, release.Overrides} {
		for _, f := range filters {
			if f.Module == nil {
				continue
			}
			if err := g.module(ctx, policy, *f.Module); err != nil {
				return filterError(f.Name, err)
			}
		}
	}
	object := "release/" + release.ID.String()
	if !policy.GovernsReleases() {
		_, err := policy.DecideRelease(trust.Release{Name: release.ID.Name, Layer: string(release.Layer), Canonical: mustCanonical(release)}, nil, time.Now())
		return trustError(object, err)
	}
	dossier, err := g.evidence.ofRelease(ctx, release, true)
	if err != nil {
		return trustError(object, err)
	}
	_, err = policy.JudgeRelease(release.ID.Name, string(release.Layer), registry.Digest(release.ID.Hash), dossier, time.Now())
	return trustError(object, err)
}

// mustCanonical is the canonical form of a release that is stored, so that it has one.
func mustCanonical(release model.Release) []byte {
	text, err := release.CanonicalForm()
	if err != nil {
		return nil // a hash that nothing has is refused or not revoked, and the release was never stored
	}
	return text
}

// module decides about a module of a release that was created before.
func (g *guard) module(ctx context.Context, policy *trust.Policy, m model.Module) error {
	ref, err := registry.ParseReference(m.Reference)
	if err != nil {
		return moduleError(m.Reference, err)
	}
	digest, err := registry.ParseDigest(m.Artifact)
	if err != nil {
		return moduleError(m.Reference, err)
	}
	dossier, err := g.evidence.artifact(ctx, digest, true)
	if err != nil {
		return trustError(m.Reference, err)
	}
	proofs := policy.Verify(signing.Collection{Evidence: dossier.Evidence}, digest)
	_, err = policy.Decide(trust.Artifact{Reference: ref, Digest: digest, Module: registry.Digest(m.Digest)}, proofs, time.Now())
	return trustError(m.Reference, err)
}

// trustError says a refusal of the policy in the service's terms. What is no refusal could not be decided, which is no yes.
func trustError(object string, err error) error {
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*trust.Refusal](err); ok {
		by := "policy " + refusal.Policy
		if refusal.Rule != "" {
			by += ", rule " + refusal.Rule
		}
		return &model.Error{Kind: model.ErrPrecondition, Object: object, Message: refusal.Subject + " is not trusted by " + by + ": " + refusal.Reason, Next: refusal.Next, Cause: err}
	}
	if _, ok := errors.AsType[*model.Error](err); ok {
		return err
	}
	return &model.Error{Kind: model.ErrUnavailable, Object: object, Message: "whether it is trusted cannot be decided: " + err.Error(),
		Next: "check that its registry answers, then try again", Cause: err}
}

// filterError says which filter an error is about.
func filterError(filter string, err error) error {
	told, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err
	}
	about := *told
	about.Object, about.Message = "filter/"+filter, told.Object+": "+told.Message
	return &about
}

// watch says in the log when the policy's file has changed, or cannot be used, until ctx ends.
func (g *guard) watch(ctx context.Context, log *slog.Logger) {
	g.file.Watch(ctx, func(p *trust.Policy, err error) {
		if err != nil {
			log.Error("the trust policy's file cannot be used; the policy stays what it was", "error", err)
			return
		}
		log.Info("the trust policy has changed", "policy", p.Name())
	})
}
