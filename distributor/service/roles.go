package service

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
)

// Roles is who may change what. The ports ask by themselves whether somebody may make such a call at all; the service asks about what only it knows, the
// layer above all, before anything is changed. Who asks is in ctx, put there by the port. An implementation may be used concurrently.
type Roles interface {
	// May is nil when whoever ctx is of may do that. Errors wrap ErrDenied or ErrUnauthenticated, and name what is missing and who could give it.
	May(ctx context.Context, act Act) error
}

// Act is something that is about to be done.
type Act struct {
	Verb Verb
	// Object is what the audit log calls it: release/NAME, rollout/NAME, node/ID, filter/NAME, resource/COLLECTION:NAME, collection/NAME, types/NAME, secret/LAYER/NAME, secrets, rollouts.
	Object string
	// Layer of the release, of the rollout or of the resource; the emergency layer of a filter. Empty for a node, and for secrets.
	Layer model.Layer
	// StartedBy is who started a rollout that there is already; empty for others.
	StartedBy string
	// Repository is the one that an inline module is written to; empty for others.
	Repository string
}

// Verb is what is done. But for VerbExposeFilter and VerbInlineModule, which are done beside another, it is the Action of the audit entry.
type Verb string

// The verbs.
const (
	VerbCreateRelease  Verb = "release.create"
	VerbStartRollout   Verb = "rollout.start"
	VerbPauseRollout   Verb = "rollout.pause"
	VerbResumeRollout  Verb = "rollout.resume"
	VerbPromoteRollout Verb = "rollout.promote"
	VerbApproveRollout Verb = "rollout.approve"
	VerbAbortRollout   Verb = "rollout.abort"
	VerbUndoRollout    Verb = "rollout.undo"
	VerbDisableFilter  Verb = "filter.disable"
	// VerbExposeFilter is to disable a filter although unauthorized requests will pass then.
	VerbExposeFilter Verb = "filter.expose"
	VerbEnableFilter Verb = "rollout.enable"
	// VerbStartFreeze and VerbEndFreeze are about the global layer, since they keep rollouts of all layers from moving on.
	VerbStartFreeze Verb = "rollouts.freeze"
	VerbEndFreeze   Verb = "rollouts.unfreeze"
	VerbRetryNode   Verb = "node.retry"
	VerbReleaseNode Verb = "node.release"
	// VerbApplyResource and VerbDeleteResource are about the layer of a stored resource; the next two about the global one, since what they change is for all layers.
	VerbApplyResource     Verb = "resource.apply"
	VerbDeleteResource    Verb = "resource.delete"
	VerbDeclareCollection Verb = "collection.declare"
	VerbRegisterTypes     Verb = "types.register"
	// VerbSetSecret and VerbDeleteSecret are about the layer of a kept secret; VerbRekeySecrets is about those of all layers, and changes no value.
	VerbSetSecret    Verb = "secret.set"
	VerbDeleteSecret Verb = "secret.delete"
	VerbRekeySecrets Verb = "secret.rekey"
	// VerbInlineModule is done beside VerbCreateRelease, and has no entry of its own: a module that is given as bytes is written to a repository as by a push.
	VerbInlineModule Verb = "module.inline"
)

// Verbs are all of them.
func Verbs() []Verb {
	return []Verb{
		VerbCreateRelease, VerbStartRollout, VerbPauseRollout, VerbResumeRollout, VerbPromoteRollout, VerbApproveRollout, VerbAbortRollout, VerbUndoRollout,
		VerbDisableFilter, VerbExposeFilter, VerbEnableFilter, VerbStartFreeze, VerbEndFreeze, VerbRetryNode, VerbReleaseNode,
		VerbApplyResource, VerbDeleteResource, VerbDeclareCollection, VerbRegisterTypes,
		VerbSetSecret, VerbDeleteSecret, VerbRekeySecrets,
		VerbInlineModule,
	}
}

// may asks Roles; nil where there are none.
func (s *Service) may(ctx context.Context, act Act) error {
	if s.roles == nil {
		return nil
	}
	return s.roles.May(ctx, act)
}

// maySteer asks about a rollout that there is; one that there is not is for the caller to say. What it asks about never changes in a rollout.
func (s *Service) maySteer(ctx context.Context, verb Verb, name string) error {
	if s.roles == nil {
		return nil
	}
	s.mu.Lock()
	e := s.find(name)
	act := Act{Verb: verb, Object: "rollout/" + name}
	if e != nil {
		act.Layer, act.StartedBy = e.state.Layer, e.state.StartedBy
	}
	s.mu.Unlock()
	if e == nil {
		if err := s.Ready(); err != nil {
			return err
		}
		return errNoRollout(name)
	}
	return s.roles.May(ctx, act)
}
