package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// RolloutDraft is a rollout as a person writes it.
type RolloutDraft struct {
	// Name is required, a DNS label, unique for ever.
	Name string
	// Release is a reference as GetRelease takes it; the hash is fixed when the rollout starts.
	Release string
	// Selector over nodes' labels; empty selects every node.
	Selector string
	// IncludeUnreported takes nodes whose sinks cannot report too; else they are left out, and the rollout says which.
	IncludeUnreported bool
	// MaxNotServing bounds how many nodes of the fleet are on their way or not serving at any moment; zero: the waves alone do.
	MaxNotServing int
	// Freeze is when nothing moves on, beside the distributor's own windows.
	Freeze []model.FreezeWindow
	// Waves in order; empty: one wave of everything.
	Waves []model.WaveSpec
	// NoWait refuses the rollout when a running one shares nodes; else it waits, pending.
	NoWait bool
}

// StartRollout begins a rollout: it renders and checks every chain that it would produce, then stores it and takes its
// first step. Errors are *model.Error: ErrInvalid for a draft, a chain or an Envoy that does not fit, naming it;
// ErrNotFound for an unknown release; ErrPrecondition for a target without nodes that can be taken; ErrExists for a name that is taken;
// ErrConflict, with NoWait, naming the running rollout that shares nodes. The rollout is shared and must not be changed.
func (s *Service) StartRollout(ctx context.Context, actor Actor, draft RolloutDraft) (model.Rollout, error) {
	make, err := s.fromDraft(ctx, actor, draft, true)
	if err != nil {
		return model.Rollout{}, err
	}
	return s.start(ctx, actor, "start", draft.NoWait, make)
}

// fromDraft checks a draft, and gives what makes the rollout of it. starts says that it is to start, which not everybody may who may plan it.
func (s *Service) fromDraft(ctx context.Context, actor Actor, draft RolloutDraft, starts bool) (func(ctx context.Context, now time.Time) (model.Rollout, error), error) {
	object := "rollout/" + draft.Name
	if err := s.Ready(); err != nil {
		return nil, err
	}
	if err := actor.check(object); err != nil {
		return nil, err
	}
	if err := model.ValidateName("rollout", "metadata.name", draft.Name); err != nil {
		return nil, err
	}
	if draft.Release == "" {
		return nil, model.Invalidf(object, "spec.release", "name one, see waft release list", "is empty")
	}
	release, err := s.GetRelease(ctx, draft.Release)
	if err != nil {
		var told *model.Error
		if errors.As(err, &told) {
			about := *told
			if told.Object != "" {
				about.Message = told.Object + ": " + told.Message
			}
			about.Object, about.Field = object, "spec.release"
			return nil, &about
		}
		return nil, err
	}
	if starts {
		if err := s.may(ctx, Act{Verb: VerbStartRollout, Object: object, Layer: release.Layer}); err != nil {
			return nil, err
		}
	}
	spec := model.RolloutSpec{
		Release: release.ID, Selector: draft.Selector, IncludeUnreported: draft.IncludeUnreported,
		MaxNotServing: draft.MaxNotServing, Freeze: slices.Clone(draft.Freeze), Waves: slices.Clone(draft.Waves),
	}
	if err := model.ValidateRolloutSpec(object, spec); err != nil {
		return nil, err
	}
	if err := s.checkGates(object, spec.Waves); err != nil {
		return nil, err
	}
	if filter := release.Layer.Disables(); filter != "" {
		return nil, model.Invalidf(object, "spec.release", fmt.Sprintf("use waft filter disable %s", filter), "release/%s takes the filter %s out, which is no rollout's to do in waves", release.ID, filter)
	}
	if err := s.checkStatistics(object, spec.Waves); err != nil {
		return nil, err
	}
	// An undo is not asked for: what nodes had before must stay within reach. Their own policies hold there as well.
	if s.trust != nil {
		if err := s.trust.Release(ctx, release); err != nil {
			return nil, distrusted(object, release.ID, err)
		}
	}
	return func(_ context.Context, now time.Time) (model.Rollout, error) {
		return rollout.New(draft.Name, release.Layer, spec, actor.by(), now), nil
	}, nil
}

// distrusted says that a rollout's release is not trusted.
func distrusted(object string, id model.ReleaseID, err error) error {
	told, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err
	}
	about := *told
	about.Message = told.Message
	if told.Object != "" && told.Object != "release/"+id.String() {
		about.Message = told.Object + ": " + told.Message
	}
	about.Object, about.Field = object, "spec.release"
	return &about
}

// start admits and stores the rollout that make makes. make is called in the drive loop, maybe more than once.
func (s *Service) start(ctx context.Context, actor Actor, verb string, noWait bool, make func(run context.Context, now time.Time) (model.Rollout, error)) (model.Rollout, error) {
	var out model.Rollout
	err := s.admitted(ctx, noWait, make, func(run context.Context, e *entry) error {
		var err error
		out, err = s.begin(run, actor, verb, e)
		return err
	})
	if err != nil {
		return model.Rollout{}, err // out may be written to yet (inDrive)
	}
	return out, nil
}

// admitted calls then, in the drive loop, with the rollout that make makes, once it is known that it may start.
func (s *Service) admitted(ctx context.Context, noWait bool, make func(run context.Context, now time.Time) (model.Rollout, error), then func(context.Context, *entry) error) error {
	checked := secretsCheck{}
	for range maxChecks + 1 { // once for the secrets
		var unchecked map[string]model.Chain
		var next secretsCheck
		var refs []model.SecretRef
		err := s.inDrive(ctx, "rollout", func(run context.Context) error {
			state, err := make(run, s.stamp())
			if err != nil {
				return err
			}
			e, err := newEntry(state, 0)
			if err != nil {
				return err
			}
			if err := s.needReleases(run, e.releases()...); err != nil {
				return err
			}
			if e.state.Undoes == "" { // the way back asks for nothing
				if next, refs = s.secretsToCheck(e); len(refs) > 0 && next != checked {
					return nil
				}
			}
			if unchecked, err = s.admit(e, noWait); err != nil || len(unchecked) > 0 {
				return err
			}
			return then(run, e)
		})
		if err == nil && len(refs) > 0 && next != checked {
			// Values are read outside it, too.
			if err := s.checkSecrets(ctx, next, refs); err != nil {
				return err
			}
			checked = next
			continue
		}
		if err != nil || len(unchecked) == 0 {
			return err
		}
		// Schemas are read outside the drive loop, so that a slow disk or registry holds up nobody else.
		if err := s.checkAll(ctx, unchecked); err != nil {
			return err
		}
	}
	return &model.Error{Kind: model.ErrUnavailable, Object: "rollout", Message: "the fleet changes faster than its chains are checked",
		Next: "try again in a moment"}
}

// admit says why a rollout must not start, or which chains have to be checked before that can be said.
func (s *Service) admit(e *entry, noWait bool) (map[string]model.Chain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := "rollout/" + e.state.Name
	if s.find(e.state.Name) != nil {
		return nil, s.nameTaken(e.state.Name)
	}
	members := s.membersOf(e)
	if len(members) == 0 {
		return nil, &model.Error{Kind: model.ErrPrecondition, Object: object, Field: "spec.target.selector",
			Message: fmt.Sprintf("%q selects none of the %d nodes that have ever connected", e.state.Spec.Selector, len(s.nodes)),
			Next:    "see waft nodes list for their labels"}
	}
	unchecked := map[string]model.Chain{}
	var leftOut []string
	for _, n := range members {
		if !rollout.TakesSink(e.state, n.row.Reports) && mayReportYet(n) <= 0 {
			leftOut = append(leftOut, n.row.ID)
			continue
		}
		if err := s.admitNode(e, n, unchecked); err != nil {
			return nil, err
		}
	}
	if len(leftOut) == len(members) {
		return nil, &model.Error{Kind: model.ErrPrecondition, Object: object, Field: "spec.target",
			Message: fmt.Sprintf("%q selects only nodes whose sinks cannot report (%s), and such nodes are left out", e.state.Spec.Selector, firstFew(leftOut)),
			Next:    "run waft agent beside them, or write includeUnreported: true into the target"}
	}
	if len(unchecked) > 0 {
		return unchecked, nil
	}
	if err := s.admitCohorts(e, members); err != nil {
		return nil, err
	}
	if noWait {
		if other := s.blockerOf(e.state, members); other != nil {
			shared := rollout.Conflicts(e.state, other.state, rowsOf(members))
			return nil, &model.Error{Kind: model.ErrConflict, Object: object,
				Message: fmt.Sprintf("rollout/%s, started by %s, has not ended and shares %d nodes (%s)",
					other.state.Name, other.state.StartedBy, len(shared), firstFew(shared)),
				Next: "wait for it, abort it, or start without --no-wait to have this one wait"}
		}
	}
	return nil, nil
}

// admitNode says why a node cannot be given what the rollout gives it; mu is held.
func (s *Service) admitNode(e *entry, n *node, unchecked map[string]model.Chain) error {
	object := "rollout/" + e.state.Name
	release, gives := rollout.ReleaseFor(e.state, n.row.ID)
	if !gives {
		return nil
	}
	about := func(err error, next string) error {
		told := &model.Error{Kind: model.ErrInvalid, Object: object, Field: "spec.release", Cause: err, Next: next,
			Message: fmt.Sprintf("%s on node/%s (%s): %v", release, n.row.ID, describe(with(s.base(n), e.state.Layer, release)), err)}
		return told
	}
	chain, err := s.renderNode(with(s.base(n), e.state.Layer, release), beside(splitFor(n.row, n.row.Split), e.state.Layer))
	if err != nil {
		return about(err, "correct the release of the layer at fault, and create it again")
	}
	verdict, checked := s.verdicts[chain.Hash]
	if !checked {
		unchecked[chain.Hash] = chain
		return nil
	}
	if verdict != nil {
		return about(verdict, "correct the release of the layer at fault, and create it again")
	}
	if why, next := s.cannotRun(n.row, chain); why != "" {
		return &model.Error{Kind: model.ErrInvalid, Object: object, Field: "spec.target.selector",
			Message: fmt.Sprintf("node/%s cannot load %s: %s", n.row.ID, release, why), Next: next}
	}
	return nil
}

// describe names the layers that a chain is rendered from, where there is more than one.
func describe(assigned map[model.Layer]model.ReleaseID) string {
	layers := make([]string, 0, len(assigned))
	for layer, id := range assigned {
		layers = append(layers, string(layer)+" "+id.String())
	}
	slices.Sort(layers)
	return strings.Join(layers, ", ")
}

// firstFew names some of many.
func firstFew(ids []string) string {
	const few = 3
	if len(ids) <= few {
		return strings.Join(ids, ", ")
	}
	return strings.Join(ids[:few], ", ") + ", …"
}

// nameTaken names who has it; mu is held.
func (s *Service) nameTaken(name string) error {
	err := &model.Error{Kind: model.ErrExists, Object: "rollout/" + name, Field: "metadata.name", Message: "the name is taken, by one that was removed since",
		Next: "choose another: names of rollouts are unique for ever, so that history stays readable"}
	if e := s.find(name); e != nil {
		err.Message = fmt.Sprintf("the name is taken by the rollout of %s that %s started at %s (%s)",
			e.state.Spec.Release, e.state.StartedBy, e.state.StartedAt.Format(time.RFC3339), e.state.Phase)
	}
	return err
}

// begin stores a rollout that was admitted, and takes its first step.
func (s *Service) begin(ctx context.Context, actor Actor, verb string, e *entry) (model.Rollout, error) {
	entry := model.AuditEntry{At: e.state.StartedAt, Actor: actor.Name, Action: "rollout." + verb, Object: "rollout/" + e.state.Name,
		Reason: actor.Reason, Detail: fmt.Sprintf("%s to nodes %q", e.state.Spec.Release, e.state.Spec.Selector)}
	if e.state.Undoes != "" {
		entry.Detail = fmt.Sprintf("takes back rollout/%s on %d nodes", e.state.Undoes, len(e.state.Restore))
	}
	state, revision, err := s.create(ctx, e.state, []model.AuditEntry{entry})
	if errors.Is(err, model.ErrExists) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return model.Rollout{}, s.nameTaken(e.state.Name)
	}
	if err != nil {
		return model.Rollout{}, err
	}
	s.adopt(e, state, revision)
	s.log.Info("rollout started", "rollout", state.Name, "release", state.Spec.Release.String(), "selector", state.Spec.Selector, "actor", actor.Name)
	s.observe(ctx, e)
	s.drive.wake(reportDelay)
	return e.state, nil
}

// create stores a rollout. One of which the store gives no answer may be there all the same, and must not lie there with nobody knowing of it: it is
// looked for. The drive loop alone calls it.
func (s *Service) create(ctx context.Context, r model.Rollout, audit []model.AuditEntry) (model.Rollout, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	stored, revision, err := s.store.CreateRollout(ctx, r, audit)
	if errors.Is(err, model.ErrUnavailable) {
		s.unsure[r.Name] = struct{}{}
		s.drive.wake(failedDelay)
	}
	if errors.Is(err, model.ErrExists) {
		s.mu.Lock()
		s.namesGone[r.Name] = struct{}{}
		s.mu.Unlock()
	}
	return stored, revision, err
}

// adopt takes a rollout that the store has into memory, as the newest. The drive loop alone calls it.
func (s *Service) adopt(e *entry, state model.Rollout, revision int64) {
	s.mu.Lock()
	e.state, e.written, e.revision = state, state, revision
	s.insert(e)
	s.mu.Unlock()
	s.hub.rolloutChanged(state)
}

// insert puts a rollout before the others; mu is held.
func (s *Service) insert(e *entry) {
	s.rollouts = slices.Insert(s.rollouts, 0, e)
	if e.running() {
		s.active = append(s.active, e)
	}
}

// makeSure looks for rollouts of which it is not known whether the store has them. The drive loop alone calls it.
func (s *Service) makeSure(ctx context.Context) {
	for name := range s.unsure {
		readCtx, cancel := context.WithTimeout(ctx, writeTimeout)
		state, revision, err := s.store.GetRollout(readCtx, name)
		cancel()
		var e *entry
		if err == nil {
			e, err = newEntry(state, revision)
		}
		if err == nil {
			err = s.needReleases(ctx, e.releases()...)
		}
		switch {
		case errors.Is(err, model.ErrNotFound):
			delete(s.unsure, name)
		case err != nil:
			s.drive.wake(failedDelay)
		default:
			delete(s.unsure, name)
			s.log.Warn("rollout was stored although the store had not answered; it is driven", "rollout", name)
			if state.Disables != "" {
				s.takeOut(ctx, state)
				continue
			}
			s.adopt(e, state, revision)
		}
	}
}

func errNoRollout(name string) error {
	return &model.Error{Kind: model.ErrNotFound, Object: "rollout/" + name, Message: "no such rollout", Next: "see waft rollout list; of one that was removed, waft audit rollout/" + name + " says what it did"}
}

// GetRollout returns a rollout, or model.ErrNotFound. It is shared and must not be changed.
func (s *Service) GetRollout(ctx context.Context, name string) (model.Rollout, error) {
	s.mu.Lock()
	if err := s.ready(); err != nil {
		s.mu.Unlock()
		return model.Rollout{}, err
	}
	e := s.find(name)
	if e != nil && e.running() {
		defer s.mu.Unlock()
		return e.state, nil
	}
	s.mu.Unlock()
	if e == nil {
		return model.Rollout{}, errNoRollout(name)
	}
	state, _, err := s.store.GetRollout(ctx, name)
	return state, err
}

// ListRollouts returns rollouts, newest first, and the token of the next page.
func (s *Service) ListRollouts(ctx context.Context, page Page) ([]model.Rollout, string, error) {
	return list(s, page, func(cursor int64, limit int) ([]model.Rollout, int64, error) {
		return s.store.ListRollouts(ctx, cursor, limit)
	})
}

// Pause stops a rollout before its next decision; nodes stay where they are, unless one or a gate fails, which takes them back. Like the other commands it gives
// model.ErrPrecondition when the rollout is in no phase for it, model.ErrConflict when somebody else has just changed that,
// and changes nothing when what it asks for is so already.
func (s *Service) Pause(ctx context.Context, actor Actor, name string) (model.Rollout, error) {
	return s.command(ctx, actor, "pause", name, rollout.Pause{By: actor.by()})
}

// Resume goes on with a paused rollout.
func (s *Service) Resume(ctx context.Context, actor Actor, name string) (model.Rollout, error) {
	return s.command(ctx, actor, "resume", name, rollout.Resume{By: actor.by()})
}

// Promote ends the running soak now, or overrules an inconclusive gate.
func (s *Service) Promote(ctx context.Context, actor Actor, name string) (model.Rollout, error) {
	return s.command(ctx, actor, "promote", name, rollout.Promote{By: actor.by()})
}

// Approve lets a rollout go on after the wave that soaks, where that asks for an approval.
func (s *Service) Approve(ctx context.Context, actor Actor, name string) (model.Rollout, error) {
	return s.command(ctx, actor, "approve", name, rollout.Approve{By: actor.by()})
}

// Abort stops a rollout for ever and keeps: moved nodes stay on the new release, the others on theirs.
func (s *Service) Abort(ctx context.Context, actor Actor, name string) (model.Rollout, error) {
	return s.command(ctx, actor, "abort", name, rollout.Abort{By: actor.by()})
}

// command steps a rollout with what a person asked for.
func (s *Service) command(ctx context.Context, actor Actor, verb, name string, event rollout.Event) (model.Rollout, error) {
	object := "rollout/" + name
	if err := actor.check(object); err != nil {
		return model.Rollout{}, err
	}
	if err := s.maySteer(ctx, Verb("rollout."+verb), name); err != nil {
		return model.Rollout{}, err
	}
	asked := s.now()
	var out model.Rollout
	err := s.inDrive(ctx, object, func(run context.Context) error {
		s.mu.Lock()
		e := s.find(name)
		s.mu.Unlock()
		if e == nil {
			return errNoRollout(name)
		}
		var err error
		if e.running() {
			if out, err = s.step(run, e, event, &command{actor: actor, verb: verb}); errors.Is(err, model.ErrConflict) {
				// The row was not what the memory held; it is now.
				out, err = s.step(run, e, event, &command{actor: actor, verb: verb})
			}
		} else if out, _, err = s.store.GetRollout(run, name); err == nil {
			// Nothing can follow; the state machine says whether that is an error.
			_, _, err = rollout.Step(out, event, s.stamp())
		}
		if errors.Is(err, model.ErrPrecondition) {
			return overtaken(err, e, actor, asked)
		}
		return err
	})
	if err != nil {
		return model.Rollout{}, err // out may be written to yet (inDrive)
	}
	return out, nil
}

// overtaken turns "not possible now" into a conflict that names who was first, where somebody else changed the rollout
// after this command was asked for.
func overtaken(err error, e *entry, actor Actor, asked time.Time) error {
	if e.told.at.Before(asked) || e.told.by.Name == actor.Name {
		return err
	}
	return &model.Error{Kind: model.ErrConflict, Object: "rollout/" + e.state.Name, Cause: err,
		Message: fmt.Sprintf("%s was first: %s (%s)", e.told.by.Name, e.told.message, e.state.Phase),
		Next:    "look at its status, then ask again if it is still wanted"}
}
