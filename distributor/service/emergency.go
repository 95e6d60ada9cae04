package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// DisableDraft is an emergency: a filter that must not run.
type DisableDraft struct {
	// Filter is its name, in whichever layer.
	Filter string
	// Selector over nodes' labels; empty: everywhere.
	Selector string
	// PassUnauthorized is the word without which no filter of phase AUTHN or AUTHZ is taken out.
	PassUnauthorized bool
}

// EnableDraft puts a filter back.
type EnableDraft struct {
	Filter string
	// Waves as in a rollout, but without cohorts; empty: one node, then all.
	Waves []model.WaveSpec
	// MaxNotServing as in a rollout.
	MaxNotServing int
}

// DisabledFilter is a filter that is taken out of chains, as the newest emergency about it says.
type DisabledFilter struct {
	Filter string
	// Release takes it out; its layer is the filter's emergency layer.
	Release model.ReleaseID
	// Selector of the nodes; empty: everywhere.
	Selector         string
	PassUnauthorized bool
	Actor, Reason    string
	Since            time.Time
	// Rollout is the record of it, Enabling the rollout that is putting it back; empty for none.
	Rollout, Enabling string
	// Nodes it is taken out on, and how many of them do not serve their chain without it yet, as far as they say. In what is shown of one node
	// both are zero.
	Nodes, Pending int
}

// DisableFilter takes a filter out of the chains of all nodes that the selector matches, at once: past waves, soaks, freeze windows and the cap. It is kept
// like a rollout that has ended, with its actor and reason, and nodes that come later are given their chains without the filter, too. The node's
// own last-known-good is not passed: a node that cannot run the chain without the filter keeps the one it has. Rollouts that share nodes pause.
//
// Errors are *model.Error: ErrInvalid for a draft that is not right, and for a filter that guards where the draft does not say that unauthorized
// requests may pass; ErrNotFound where no chain has such a filter; ErrPrecondition where the actor may not, or the trust policy refuses the
// release that says so; ErrConflict while a rollout is putting the filter back. Once more on the same nodes changes nothing.
func (s *Service) DisableFilter(ctx context.Context, actor Actor, draft DisableDraft) (DisabledFilter, error) {
	object := "filter/" + draft.Filter
	if err := s.Ready(); err != nil {
		return DisabledFilter{}, err
	}
	if err := actor.check(object); err != nil {
		return DisabledFilter{}, err
	}
	if err := model.ValidateName("filter", "name", draft.Filter); err != nil {
		return DisabledFilter{}, err
	}
	if actor.Reason == "" {
		return DisabledFilter{}, model.Invalidf(object, "reason", "say why, for those who come after", "is empty")
	}
	if _, err := selectorOf(object, draft.Selector); err != nil {
		return DisabledFilter{}, err
	}
	for _, verb := range []Verb{VerbDisableFilter, VerbExposeFilter} {
		if verb == VerbExposeFilter && !draft.PassUnauthorized {
			continue
		}
		if err := s.may(ctx, Act{Verb: verb, Object: object, Layer: model.EmergencyLayer(draft.Filter)}); err != nil {
			return DisabledFilter{}, err
		}
	}
	// Before a release is made of it: whether there is such a filter, and whether it guards.
	s.mu.Lock()
	_, err := s.disabling(draft)
	s.mu.Unlock()
	if err != nil {
		return DisabledFilter{}, err
	}
	release, err := s.createRelease(ctx, actor, ReleaseDraft{
		Name: prefixed("disable-", draft.Filter, ""), Layer: model.EmergencyLayer(draft.Filter),
		Disable: &model.Disabling{Filter: draft.Filter, PassUnauthorized: draft.PassUnauthorized},
	})
	if err != nil {
		return DisabledFilter{}, err
	}
	if s.trust != nil {
		if err := s.trust.Release(ctx, release); err != nil {
			return DisabledFilter{}, unsigned(object, release.ID, err)
		}
	}
	var out DisabledFilter
	err = s.inDrive(ctx, object, func(run context.Context) error {
		if err := s.needReleases(run, release.ID); err != nil {
			return err
		}
		var err error
		out, err = s.disable(run, actor, draft, release)
		return err
	})
	if err != nil {
		return DisabledFilter{}, err // out may be written to yet (inDrive)
	}
	return out, nil
}

// unsigned says how a disabling comes to be trusted: its release is there now, so that it can be signed.
func unsigned(object string, id model.ReleaseID, err error) error {
	told, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err
	}
	about := *told
	about.Object = object
	about.Message = "release/" + id.String() + ", which takes it out, is not trusted: " + told.Message
	if told.Kind == model.ErrPrecondition {
		about.Next = "sign it with `waft release sign " + id.String() + "`, then disable the filter again"
	}
	return &about
}

// prefixed is a filter's name with something before and behind it, cut to what a name may be.
func prefixed(prefix, filter, suffix string) string {
	return prefix + strings.TrimRight(filter[:min(len(filter), maxName-len(prefix)-len(suffix))], "-") + suffix
}

// disable stores the emergency and carries it out. The drive loop alone calls it.
func (s *Service) disable(ctx context.Context, actor Actor, draft DisableDraft, release model.Release) (DisabledFilter, error) {
	object := "filter/" + draft.Filter
	layer := release.Layer
	s.mu.Lock()
	nodes, err := s.disabling(draft)
	if err == nil {
		if e := s.enabling(layer); e != nil {
			err = &model.Error{Kind: model.ErrConflict, Object: object, Message: fmt.Sprintf("rollout/%s, started by %s, is putting it back", e.state.Name, e.state.StartedBy),
				Next: "take it out again with waft rollout undo " + e.state.Name}
		}
	}
	if err != nil {
		s.mu.Unlock()
		return DisabledFilter{}, err
	}
	progress := map[string]model.NodeProgress{}
	ids := []string{}
	now := s.stamp()
	for _, n := range nodes {
		if n.row.Assigned[layer] == release.ID {
			continue
		}
		ids = append(ids, n.row.ID)
		progress[n.row.ID] = model.NodeProgress{
			State: model.NodeMoving, Since: now, MovedAt: now, Uncounted: true, Reason: "was told at once, past all waves",
			From: n.row.Assigned[layer], FromGiven: true, FromChain: n.chain.Hash,
		}
	}
	for _, standing := range s.inForce() {
		if len(ids) == 0 && standing.Layer == layer && standing.Spec.Release == release.ID && (standing.Spec.Selector == "" || standing.Spec.Selector == draft.Selector) {
			defer s.mu.Unlock()
			return s.disabledFilter(layer), nil
		}
	}
	name := s.free(func(number string) string { return prefixed("disable-", draft.Filter, number) })
	s.mu.Unlock()

	state := rollout.New(name, layer, model.RolloutSpec{Release: release.ID, Selector: draft.Selector, IncludeUnreported: true}, actor.by(), now)
	state.Disables, state.Phase, state.Wave, state.EndedAt, state.Nodes = draft.Filter, model.RolloutDone, 0, now, progress
	state.Waves = []model.WaveState{{Nodes: ids, StartedAt: now, MovedAt: now, EndedAt: now}}
	state.Message = fmt.Sprintf("the filter %s is taken out at once on %d nodes: %s", draft.Filter, len(ids), actor.Reason)
	if draft.PassUnauthorized {
		state.Message += "; unauthorized requests may pass"
	}
	state.History = append(state.History, model.Transition{At: now, Phase: state.Phase, Message: state.Message, Actor: actor.Name})
	audit := make([]model.AuditEntry, 0, 2)
	for _, about := range []string{object, "rollout/" + name} {
		audit = append(audit, model.AuditEntry{At: now, Actor: actor.Name, Action: "filter.disable", Object: about, Reason: actor.Reason,
			Detail: fmt.Sprintf("%s to nodes %q, %d of them now; unauthorized requests may pass: %v", release.ID, draft.Selector, len(ids), draft.PassUnauthorized)})
	}
	stored, _, err := s.create(ctx, state, audit)
	if err != nil {
		return DisabledFilter{}, err
	}
	s.log.Warn("filter disabled", "filter", draft.Filter, "selector", draft.Selector, "nodes", len(ids), "actor", actor.Name, "reason", actor.Reason)
	s.takeOut(ctx, stored)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disabledFilter(layer), nil
}

// takeOut carries out a disabling that the store has: nodes get their chains without the filter, and the rollouts that run see it. The drive loop alone
// calls it.
func (s *Service) takeOut(ctx context.Context, state model.Rollout) {
	e, err := newEntry(state, 0)
	if err != nil {
		s.log.Error("a disabling cannot be read", "rollout", state.Name, "error", err)
		return
	}
	s.mu.Lock()
	s.insert(e)
	s.disableAgain(state, map[nodeLayer]bool{})
	active := slices.Clone(s.active)
	s.mu.Unlock()
	s.hub.rolloutChanged(state)
	for _, other := range active {
		if err := s.follow(ctx, other); err != nil {
			// The next look at it does the same.
			s.log.Error("a rollout was not told that a filter was disabled; it is told later", "rollout", other.state.Name, "error", err)
			s.drive.wake(failedDelay)
		}
	}
	s.drive.wake(reportDelay)
}

// follow steps a rollout that may have to pause because its nodes' chains were changed, one that is paused already, too.
func (s *Service) follow(ctx context.Context, e *entry) error {
	s.mu.Lock()
	waits := e.state.Wave < 0 || !s.settled(e, s.now())
	s.mu.Unlock()
	if waits {
		return nil // it has moved nobody, or sees it with its next look
	}
	event, err := s.observation(ctx, e)
	if err != nil {
		return err
	}
	_, err = s.step(ctx, e, event, nil)
	return err
}

// nodeLayer is a layer of a node.
type nodeLayer struct {
	node  string
	layer model.Layer
}

// disableAgain gives the nodes of a disabling its release, those that do not have it; after a crash these are the ones whose rows were not written. One
// that a later rollout puts back, or has put back, is left alone. Disablings come newest first, and newer holds the nodes of those before. mu is held.
func (s *Service) disableAgain(state model.Rollout, newer map[nodeLayer]bool) {
	for _, e := range s.rollouts {
		if e.state.Layer == state.Layer && e.state.Undoes != "" && e.state.Sequence > state.Sequence {
			return
		}
	}
	for _, id := range slices.Sorted(maps.Keys(state.Nodes)) {
		n := s.nodes[id]
		if n == nil || !model.Given(n.row.Assigned) || newer[nodeLayer{id, state.Layer}] {
			continue
		}
		newer[nodeLayer{id, state.Layer}] = true
		if _, err := s.assign(n, state.Layer, state.Spec.Release, true, model.Cohort{}, model.Move{Rollout: state.Name, Wave: -1}); err != nil {
			s.log.Error("a filter cannot be taken out of a node's chain; the node keeps what it has", "filter", state.Disables, "node", id, "error", err)
		}
	}
}

// disabling are the nodes whose chains a filter is to be taken out of, by id, or why it must not be; mu is held.
func (s *Service) disabling(draft DisableDraft) ([]*node, error) {
	object := "filter/" + draft.Filter
	selector, err := model.ParseSelector(draft.Selector)
	if err != nil {
		return nil, err
	}
	layer := model.EmergencyLayer(draft.Filter)
	var nodes []*node
	found, names := false, map[string]bool{}
	for _, n := range s.matching(selector) {
		if !model.Given(n.row.Assigned) {
			continue
		}
		nodes = append(nodes, n)
		for _, assigned := range s.prospects(n) {
			chain, err := s.render(with(assigned, layer, model.ReleaseID{}))
			if err != nil {
				continue // nothing of it runs
			}
			for _, f := range chain.Filters {
				names[f.Name] = true
				if f.Name != draft.Filter {
					continue
				}
				found = true
				if f.Guards() && !draft.PassUnauthorized {
					return nil, model.Invalidf(object, "", "disable another filter, roll back its release, or say --let-unauthorized-requests-pass if that is the lesser evil",
						"it is of phase %s on node/%s: without it every request passes that it would have refused", f.Phase, n.row.ID)
				}
			}
		}
	}
	if !found {
		for _, d := range s.inForce() {
			found = found || d.Layer == layer
		}
	}
	if !found {
		return nil, &model.Error{Kind: model.ErrNotFound, Object: object,
			Message: fmt.Sprintf("no chain of the %d nodes that %q selects and that have one has such a filter; theirs are: %s", len(nodes), draft.Selector, firstFew(slices.Sorted(maps.Keys(names)))),
			Next:    "see waft nodes show NODE for its releases, and waft release show for their filters"}
	}
	return nodes, nil
}

// prospects is what a node is assigned, and what rollouts that run would assign it; mu is held.
func (s *Service) prospects(n *node) []map[model.Layer]model.ReleaseID {
	out := []map[model.Layer]model.ReleaseID{n.row.Assigned}
	if split := n.row.Split; split != (model.NodeSplit{}) {
		out = append(out, with(n.row.Assigned, split.Layer, split.Release))
	}
	for _, e := range s.active {
		if !rollout.Holds(e.state, n.row.ID) && !s.member(e, n) {
			continue
		}
		if release, gives := rollout.ReleaseFor(e.state, n.row.ID); gives {
			out = append(out, with(n.row.Assigned, e.state.Layer, release))
		}
		if p, held := e.state.Nodes[n.row.ID]; held && p.FromGiven {
			out = append(out, with(n.row.Assigned, e.state.Layer, p.From))
		}
	}
	return out
}

// inForce are the disablings that hold for nodes that come; mu is held.
func (s *Service) inForce() []model.Rollout { return inForce(s.rollouts) }

// inForce are the disablings among rollouts, which come newest first, that no later one has undone to its end. Newest first.
func inForce(rollouts []*entry) []model.Rollout {
	var out []model.Rollout
	enabled := map[model.Layer]bool{}
	for _, e := range rollouts {
		switch {
		case e.state.Layer.Disables() == "":
		case e.state.Undoes != "" && e.state.Phase == model.RolloutDone:
			enabled[e.state.Layer] = true
		case e.state.Disables != "" && !enabled[e.state.Layer]:
			out = append(out, e.state)
		}
	}
	return out
}

// enabling is the rollout that is putting a filter back, or nil; mu is held.
func (s *Service) enabling(layer model.Layer) *entry {
	for _, e := range s.active {
		if e.state.Layer == layer {
			return e
		}
	}
	return nil
}

// base is what a node's next release is laid over: what it is assigned, and for a node that was never given anything what is disabled for its like.
// mu is held; the map must not be changed.
func (s *Service) base(n *node) map[model.Layer]model.ReleaseID {
	if model.Given(n.row.Assigned) {
		return n.row.Assigned
	}
	var out map[model.Layer]model.ReleaseID
	for _, d := range slices.Backward(s.inForce()) { // the newest has the last word
		selector, err := model.ParseSelector(d.Spec.Selector)
		if err != nil || !selector.Matches(n.row.Labels) {
			continue
		}
		if out == nil {
			out = map[model.Layer]model.ReleaseID{}
		}
		out[d.Layer] = d.Spec.Release
	}
	return out
}

// laid is a copy of base, to lay releases over; never nil. mu is held.
func (s *Service) laid(n *node) map[model.Layer]model.ReleaseID {
	out := map[model.Layer]model.ReleaseID{}
	maps.Copy(out, s.base(n))
	return out
}

// lastEmergency is who disabled what last, for a rollout whose nodes see it; mu is held.
func (s *Service) lastEmergency() string {
	if in := s.inForce(); len(in) > 0 {
		return fmt.Sprintf("%s disabled the filter %s: %s", in[0].StartedBy, in[0].Disables, in[0].Reason)
	}
	return ""
}

// EnableFilter puts a filter back that was disabled, by a rollout like any other: in waves, with gates, waiting for others that share nodes, and taken
// back, that is, with the filter taken out again, where it fails. Errors are those of StartRollout; model.ErrNotFound where it is not disabled.
func (s *Service) EnableFilter(ctx context.Context, actor Actor, draft EnableDraft) (model.Rollout, error) {
	object := "filter/" + draft.Filter
	if err := s.Ready(); err != nil {
		return model.Rollout{}, err
	}
	if err := actor.check(object); err != nil {
		return model.Rollout{}, err
	}
	if err := model.ValidateName("filter", "name", draft.Filter); err != nil {
		return model.Rollout{}, err
	}
	if len(draft.Waves) == 0 {
		draft.Waves = undoWaves()
	}
	layer := model.EmergencyLayer(draft.Filter)
	if err := s.may(ctx, Act{Verb: VerbEnableFilter, Object: object, Layer: layer}); err != nil {
		return model.Rollout{}, err
	}
	s.mu.Lock()
	last, restore := s.disabled(layer)
	s.mu.Unlock()
	if last == nil {
		return model.Rollout{}, &model.Error{Kind: model.ErrNotFound, Object: object, Message: "it is not disabled", Next: "see waft filter list"}
	}
	spec := model.RolloutSpec{Release: last.state.Spec.Release, Waves: draft.Waves, MaxNotServing: draft.MaxNotServing}
	if err := model.ValidateRolloutSpec(object, spec); err != nil {
		return model.Rollout{}, err
	}
	if i := firstCohort(spec); i >= 0 {
		return model.Rollout{}, model.Invalidf(object, fmt.Sprintf("spec.waves[%d].cohort", i), "leave the cohort out of the wave", "a filter is put back for all requests of a node")
	}
	if err := s.checkGates(object, spec.Waves); err != nil {
		return model.Rollout{}, err
	}
	if err := s.checkStatistics(object, spec.Waves); err != nil {
		return model.Rollout{}, err
	}
	if len(restore) == 0 {
		return s.enableNobody(ctx, actor, last, spec)
	}
	return s.start(ctx, actor, "enable", false, s.putsBack(actor, last, spec))
}

// putsBack gives what makes the rollout that puts the filter back which last took out, and earlier ones.
func (s *Service) putsBack(actor Actor, last *entry, spec model.RolloutSpec) func(context.Context, time.Time) (model.Rollout, error) {
	layer := last.state.Layer
	filter := layer.Disables()
	return func(_ context.Context, now time.Time) (model.Rollout, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e := s.enabling(layer); e != nil {
			return model.Rollout{}, &model.Error{Kind: model.ErrConflict, Object: "filter/" + filter, Message: fmt.Sprintf("rollout/%s, started by %s, is putting it back already", e.state.Name, e.state.StartedBy),
				Next: "watch it with waft rollout status " + e.state.Name}
		}
		_, restore := s.disabled(layer)
		return rollout.NewUndo(s.enablingName(filter), last.state, restore, spec, actor.by(), now), nil
	}
}

// enableNobody ends a disabling that no node has, so that none that comes gets it.
func (s *Service) enableNobody(ctx context.Context, actor Actor, last *entry, spec model.RolloutSpec) (model.Rollout, error) {
	filter := last.state.Layer.Disables()
	var out model.Rollout
	err := s.inDrive(ctx, "filter/"+filter, func(run context.Context) error {
		now := s.stamp()
		s.mu.Lock()
		r := rollout.NewUndo(s.enablingName(filter), last.state, nil, spec, actor.by(), now)
		s.mu.Unlock()
		r.Phase, r.EndedAt, r.Message = model.RolloutDone, now, "no node had the filter taken out of its chain"
		r.History = append(r.History, model.Transition{At: now, Phase: r.Phase, Wave: r.Wave, Message: r.Message, Actor: actor.Name})
		stored, revision, err := s.create(run, r, []model.AuditEntry{{At: now, Actor: actor.Name, Action: "rollout.enable", Object: "rollout/" + r.Name,
			Reason: actor.Reason, Detail: r.Message}})
		if err != nil {
			return err
		}
		e, err := newEntry(stored, revision)
		if err != nil {
			return err
		}
		s.adopt(e, stored, revision)
		out = stored
		return nil
	})
	if err != nil {
		return model.Rollout{}, err // out may be written to yet (inDrive)
	}
	return out, nil
}

// enablingName is enable-FILTER, with a number where that is taken; mu is held.
func (s *Service) enablingName(filter string) string {
	return s.free(func(number string) string { return prefixed("enable-", filter, number) })
}

// disabled is the newest disabling of a layer, and the nodes that have it, with nothing in its place; nil where there is none: none is in force, and no node
// has it. mu is held.
func (s *Service) disabled(layer model.Layer) (*entry, map[string]model.ReleaseID) {
	restore := map[string]model.ReleaseID{}
	for id, n := range s.nodes {
		if _, has := n.row.Assigned[layer]; has {
			restore[id] = model.ReleaseID{}
		}
	}
	inForce := slices.ContainsFunc(s.inForce(), func(r model.Rollout) bool { return r.Layer == layer })
	if !inForce && len(restore) == 0 {
		return nil, nil
	}
	for _, e := range s.rollouts {
		if e.state.Layer == layer && e.state.Disables != "" {
			return e, restore
		}
	}
	return nil, nil
}

// enableNewcomers puts a filter back on the nodes that came while a rollout was putting it back, and has now done so on the others; mu is held.
func (s *Service) enableNewcomers(e *entry) {
	layer := e.state.Layer
	if layer.Disables() == "" || e.state.Undoes == "" || e.state.Phase != model.RolloutDone {
		return
	}
	for id, n := range s.nodes {
		if _, has := n.row.Assigned[layer]; !has {
			continue
		}
		if _, known := e.state.Restore[id]; known {
			continue // its rollout says why it still has it
		}
		if _, err := s.assign(n, layer, model.ReleaseID{}, false, model.Cohort{}, model.Move{Rollout: e.state.Name, Wave: -1, Joined: true}); err != nil {
			s.log.Error("a filter cannot be put back on a node that joined", "filter", layer.Disables(), "node", id, "error", err)
		}
	}
}

// ListDisabled are the filters that are disabled, by name.
func (s *Service) ListDisabled(context.Context) ([]DisabledFilter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	layers := map[model.Layer]bool{}
	for _, d := range s.inForce() {
		layers[d.Layer] = true
	}
	for _, n := range s.nodes {
		for layer := range n.row.Assigned {
			if layer.Disables() != "" {
				layers[layer] = true
			}
		}
	}
	out := make([]DisabledFilter, 0, len(layers))
	for _, layer := range slices.SortedFunc(maps.Keys(layers), model.CompareLayers) {
		out = append(out, s.disabledFilter(layer))
	}
	return out, nil
}

// disabledFilter is what is known of a filter that is disabled; mu is held.
func (s *Service) disabledFilter(layer model.Layer) DisabledFilter {
	out := s.recorded(layer)
	for _, n := range s.nodes {
		if _, has := n.row.Assigned[layer]; has {
			out.Nodes++
			if n.row.Serving != n.chain.Hash {
				out.Pending++
			}
		}
	}
	return out
}

// recorded is what the newest disabling of a layer says; mu is held.
func (s *Service) recorded(layer model.Layer) DisabledFilter {
	out := DisabledFilter{Filter: layer.Disables()}
	for _, e := range s.rollouts {
		if e.state.Layer != layer || e.state.Disables == "" {
			continue
		}
		r := e.state
		out.Release, out.Selector, out.Actor, out.Reason, out.Since, out.Rollout = r.Spec.Release, r.Spec.Selector, r.StartedBy, r.Reason, r.StartedAt, r.Name
		if d := s.releases[r.Spec.Release].Disable; d != nil {
			out.PassUnauthorized = d.PassUnauthorized
		}
		break
	}
	if e := s.enabling(layer); e != nil {
		out.Enabling = e.state.Name
	}
	return out
}

// disabledOn are the filters that are taken out of a node's chain, by name; mu is held.
func (s *Service) disabledOn(n *node) []DisabledFilter {
	var out []DisabledFilter
	for _, layer := range slices.SortedFunc(maps.Keys(n.row.Assigned), model.CompareLayers) {
		if layer.Disables() != "" {
			out = append(out, s.recorded(layer))
		}
	}
	return out
}
