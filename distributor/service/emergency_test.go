package service_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// pair creates a release of two filters: first, of that module, and then tag, of module good:2. What a simulated node logs is the module of the
// first filter of its chain, so that a chain without first shows as good:2.
func (s *site) pair(name, module string, phase model.Phase) model.Release {
	s.t.Helper()
	svc, _ := s.service()
	r, err := svc.CreateRelease(s.t.Context(), alice, service.ReleaseDraft{Name: name, Filters: []service.FilterDraft{
		{Name: "first", Module: module, Phase: phase}, {Name: "tag", Module: "good:2"},
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// paired brings a site to where its nodes serve first and tag.
func paired(t *testing.T, count int) (*site, []*sim) {
	t.Helper()
	s := newSite(t)
	s.start()
	nodes := s.nodes(count)
	s.pair("one", "good:1", model.PhaseNone)
	if _, err := s.try("base", "one", "env=prod", all); err != nil {
		t.Fatal(err)
	}
	s.reach("base", model.RolloutDone)
	return s, nodes
}

var emergency = service.Actor{Name: "ann", Reason: "it answers 500"}

func (s *site) disable(draft service.DisableDraft) service.DisabledFilter {
	s.t.Helper()
	svc, _ := s.service()
	d, err := svc.DisableFilter(s.t.Context(), emergency, draft)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *site) serve(module string, nodes ...*sim) {
	s.t.Helper()
	s.eventually("they serve "+module, func() bool {
		for _, n := range nodes {
			if log := n.log(); len(log) == 0 || log[len(log)-1] != module {
				return false
			}
		}
		return true
	})
}

func (s *site) disabled() []service.DisabledFilter {
	s.t.Helper()
	svc, _ := s.service()
	list, err := svc.ListDisabled(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

func TestAFilterIsTakenOutEverywhereAtOnce(t *testing.T) {
	s, nodes := paired(t, 5)
	waiting := s.sim(service.NodeHello{ID: "waiting", Labels: map[string]string{"env": "test"}, Reports: true, EnvoyVersion: "1.40.0"})
	s.known(waiting)
	got := s.disable(service.DisableDraft{Filter: "first"})
	if got.Filter != "first" || got.Actor != "ann" || got.Reason != emergency.Reason || got.Rollout != "disable-first" || got.Nodes != 5 {
		t.Errorf("got %+v", got)
	}
	s.serve("good:2", nodes...)
	wantServed(t, nodes, "good:1", "good:2")
	if again := s.disable(service.DisableDraft{Filter: "first"}); again.Rollout != got.Rollout {
		t.Errorf("once more made %s", again.Rollout)
	}
	svc, _ := s.service()
	for _, object := range []string{"filter/first", "rollout/disable-first"} {
		entries, _, err := svc.ListAudit(t.Context(), object, service.Page{})
		if err != nil || len(entries) != 1 || entries[0].Actor != "ann" || entries[0].Action != "filter.disable" || entries[0].Reason != emergency.Reason {
			t.Errorf("the audit of %s is %+v, %v", object, entries, err)
		}
	}

	// It holds after a restart, for who joins, and for who is given a first release by a wave.
	s.kill()
	s.start()
	late := s.node("late")
	s.serve("good:2", late)
	svc, _ = s.service()
	if _, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "more", Release: "one", Selector: "env=test", Waves: waves(all)}); err != nil {
		t.Fatal(err)
	}
	s.reach("more", model.RolloutDone)
	wantServed(t, []*sim{late, waiting}, "good:2")
	wantServed(t, nodes, "good:1", "good:2")
	status, err := svc.GetNode(t.Context(), "waiting")
	if err != nil || len(status.Disabled) != 1 || status.Disabled[0].Filter != "first" || status.Disabled[0].Actor != "ann" {
		t.Errorf("the node shows %+v, %v", status.Disabled, err)
	}
	if list := s.disabled(); len(list) != 1 || list[0].Nodes != 7 {
		t.Errorf("the list is %+v", list)
	}
}

func TestAFilterComesBackByARollout(t *testing.T) {
	s, nodes := paired(t, 4)
	s.disable(service.DisableDraft{Filter: "first"})
	s.serve("good:2", nodes...)
	svc, _ := s.service()
	r, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(long(one), all)})
	if err != nil || r.Name != "enable-first" {
		t.Fatalf("%s, %v", r.Name, err)
	}
	s.reach("enable-first", model.RolloutSoaking)
	if got := s.disabled(); len(got) != 1 || got[0].Enabling != "enable-first" || got[0].Nodes != 3 {
		t.Errorf("in its first wave the list is %+v", got)
	}
	_, err = svc.DisableFilter(t.Context(), emergency, service.DisableDraft{Filter: "first"})
	wantKind(t, err, model.ErrConflict, "rollout/enable-first", "waft rollout undo enable-first")
	_, err = svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first"})
	wantKind(t, err, model.ErrConflict, "rollout/enable-first")
	joined := s.node("joined")
	s.serve("good:2", joined) // what is being put back is not proved yet
	if _, err := svc.Promote(t.Context(), alice, "enable-first"); err != nil {
		t.Fatal(err)
	}
	s.reach("enable-first", model.RolloutDone)
	s.serve("good:1", append(nodes, joined)...)
	if got := s.disabled(); len(got) != 0 {
		t.Errorf("the list is %+v", got)
	}
	_, err = svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first"})
	wantKind(t, err, model.ErrNotFound, "not disabled")
	_, err = svc.Undo(t.Context(), alice, "enable-first")
	wantKind(t, err, model.ErrPrecondition, "waft filter disable first")

	// Again, under another name; and back by undoing it.
	if again := s.disable(service.DisableDraft{Filter: "first", Selector: "env=prod"}); again.Rollout != "disable-first-2" {
		t.Errorf("the second one is %s", again.Rollout)
	}
	s.serve("good:2", nodes...)
	r, err = svc.Undo(t.Context(), alice, "disable-first-2")
	if err != nil || r.Name != "enable-first-2" {
		t.Fatalf("%s, %v", r.Name, err)
	}
	s.reach("enable-first-2", model.RolloutDone)
	s.serve("good:1", nodes...)
}

// What fails when it is put back is taken out again, from the first wave.
func TestAFilterThatIsStillBadIsTakenOutAgain(t *testing.T) {
	s, nodes := paired(t, 4)
	s.disable(service.DisableDraft{Filter: "first"})
	s.serve("good:2", nodes...)
	for _, n := range nodes {
		n.mu.Lock()
		n.behaves["good:1"] = behaviour{errors: 5}
		n.mu.Unlock()
	}
	svc, _ := s.service()
	if _, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(guarded(one), all)}); err != nil {
		t.Fatal(err)
	}
	s.reach("enable-first", model.RolloutRolledBack)
	s.serve("good:2", nodes...)
	back := 0
	for _, n := range nodes {
		back += len(n.log()) - 2
	}
	if back != 2 { // one node: there and back
		t.Errorf("the filter was put back and taken out %d times, want 2", back)
	}
	if got := s.disabled(); len(got) != 1 || got[0].Nodes != 4 || got[0].Enabling != "" {
		t.Errorf("the list is %+v", got)
	}
}

func TestAGuardIsNotTakenOutByAccident(t *testing.T) {
	s := newSite(t)
	s.start()
	nodes := s.nodes(2)
	s.pair("one", "good:1", model.PhaseAuthz)
	s.begin("base", "one", all)
	s.reach("base", model.RolloutDone)
	svc, _ := s.service()
	_, err := svc.DisableFilter(t.Context(), emergency, service.DisableDraft{Filter: "first"})
	wantKind(t, err, model.ErrInvalid, "AUTHZ", "every request passes that it would have refused", "--let-unauthorized-requests-pass")
	wantServed(t, nodes, "good:1")
	if got := s.disable(service.DisableDraft{Filter: "first", PassUnauthorized: true}); !got.PassUnauthorized {
		t.Errorf("got %+v", got)
	}
	s.serve("good:2", nodes...)
}

// The word for opening one filter is asked for of what a rollout is about to bring, too.
func TestAGuardThatARolloutBringsIsNotTakenOut(t *testing.T) {
	s, _ := paired(t, 2)
	s.pair("two", "good:1", model.PhaseAuthn)
	s.begin("second", "two", long(one), all)
	s.reach("second", model.RolloutSoaking)
	svc, _ := s.service()
	_, err := svc.DisableFilter(t.Context(), emergency, service.DisableDraft{Filter: "first"})
	wantKind(t, err, model.ErrInvalid, "AUTHN")
	if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutRolledBack)
	s.disable(service.DisableDraft{Filter: "first"})
	// And while it is disabled as one that guards nothing, it cannot become one.
	_, err = s.try("third", "two", "", all)
	wantKind(t, err, model.ErrInvalid, "AUTHN", "disable-first")
}

func TestWhoMayNotDisable(t *testing.T) {
	s, nodes := paired(t, 1)
	svc, _ := s.service()
	_, err := svc.DisableFilter(t.Context(), service.Actor{Name: "ann"}, service.DisableDraft{Filter: "first"})
	wantKind(t, err, model.ErrInvalid, "reason")
	_, err = svc.DisableFilter(t.Context(), emergency, service.DisableDraft{Filter: "fisrt"})
	wantKind(t, err, model.ErrNotFound, "first, tag")
	_, err = svc.DisableFilter(t.Context(), emergency, service.DisableDraft{Filter: "first", Selector: "env=test"})
	wantKind(t, err, model.ErrNotFound, "0 nodes")
	release, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "mine", Layer: "emergency/first", Disable: &model.Disabling{Filter: "first"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.try("sneaky", release.ID.String(), "", all)
	wantKind(t, err, model.ErrInvalid, "waft filter disable first")
	s.stop()
	s.config = func(c *service.Config) { c.Roles, c.Trust = approver{}, distrust{} }
	svc = s.start()
	s.known(nodes...)
	_, err = svc.DisableFilter(t.Context(), emergency, service.DisableDraft{Filter: "first"})
	wantKind(t, err, model.ErrDenied, "filter.disable is not for you")
	boss := context.WithValue(t.Context(), mayDo{}, service.VerbDisableFilter)
	_, err = svc.DisableFilter(boss, emergency, service.DisableDraft{Filter: "first", PassUnauthorized: true})
	wantKind(t, err, model.ErrDenied, "filter.expose is not for you")
	// Whoever may disable need not be somebody who may create releases.
	_, err = svc.DisableFilter(boss, emergency, service.DisableDraft{Filter: "first"})
	wantKind(t, err, model.ErrPrecondition, "not trusted", "waft release sign disable-first@sha256:")
	wantServed(t, nodes, "good:1")
}

// approver lets those do something whose context says so.
type approver struct{}

type mayDo struct{}

func (approver) May(ctx context.Context, act service.Act) error {
	if ctx.Value(mayDo{}) == act.Verb && act.Layer == model.EmergencyLayer("first") {
		return nil
	}
	return &model.Error{Kind: model.ErrDenied, Object: act.Object, Message: string(act.Verb) + " is not for you", Next: "ask one who may"}
}

type distrust struct{}

func (distrust) Release(_ context.Context, r model.Release) error {
	return &model.Error{Kind: model.ErrPrecondition, Object: "release/" + r.ID.String(), Message: "nobody has signed it"}
}

// A rollout that runs takes the change for what it is: it pauses, fails nobody, and goes on when a person says so.
func TestARolloutPausesWhileAFilterIsDisabled(t *testing.T) {
	s, nodes := paired(t, 4)
	s.pair("two", "good:3", model.PhaseNone)
	s.begin("second", "two", long(half), all)
	s.reach("second", model.RolloutSoaking)
	s.disable(service.DisableDraft{Filter: "first"})
	paused := s.reach("second", model.RolloutPaused)
	if !strings.Contains(paused.Message, "ann disabled the filter first: it answers 500; look at them, then resume") {
		t.Error(history(paused))
	}
	s.serve("good:2", nodes...)
	svc, _ := s.service()
	enable, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first"})
	if err != nil || enable.Phase != model.RolloutPending {
		t.Fatalf("putting it back is %s, %v; want it to wait for the rollout", enable.Phase, err)
	}
	if _, err := svc.Resume(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.until("second", "serve again", func(r model.Rollout) bool {
		return r.Phase == model.RolloutSoaking && r.Nodes[r.Waves[0].Nodes[0]].State == model.NodeServing && r.Nodes[r.Waves[0].Nodes[1]].State == model.NodeServing
	})
	if _, err := svc.Promote(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
	s.reach(enable.Name, model.RolloutDone)
	s.serve("good:3", nodes...)
	for _, n := range nodes {
		if log := n.log(); !slices.Equal(log, []string{"good:1", "good:3", "good:2", "good:3"}) && !slices.Equal(log, []string{"good:1", "good:2", "good:3"}) {
			t.Errorf("%s served %v", n.hello.ID, log)
		}
	}
}

// A crash after the emergency was stored, and before a node was told, loses nothing of it.
func TestADisablingOutlivesACrash(t *testing.T) {
	s, nodes := paired(t, 3)
	s.tap.cutRows.Store(true)
	s.disable(service.DisableDraft{Filter: "first"})
	s.kill()
	wantServed(t, nodes, "good:1")
	s.start()
	s.serve("good:2", nodes...)
}

// An answer that was lost on its way is no emergency that was lost.
func TestADisablingIsCarriedOutThoughTheStoreDidNotAnswer(t *testing.T) {
	s, nodes := paired(t, 2)
	s.tap.mute.Store(true)
	svc, _ := s.service()
	_, err := svc.DisableFilter(t.Context(), emergency, service.DisableDraft{Filter: "first"})
	wantKind(t, err, model.ErrUnavailable)
	s.serve("good:2", nodes...)
}

// Away, a node is told when it is back; and what is put back it gets like others that are away.
func TestANodeThatWasAwayInAnEmergency(t *testing.T) {
	s, nodes := paired(t, 3)
	nodes[0].disconnect()
	s.disable(service.DisableDraft{Filter: "first"})
	s.serve("good:2", nodes[1:]...)
	if got := s.disabled(); got[0].Nodes != 3 || got[0].Pending != 1 {
		t.Errorf("the list is %+v", got)
	}
	nodes[0].connect()
	s.serve("good:2", nodes[0])
	s.eventually("nobody is awaited", func() bool { return s.disabled()[0].Pending == 0 })
}

// Windows in which nothing moves do not hold up an emergency, but they do hold up putting the filter back.
func TestAnEmergencyIsPastFreezes(t *testing.T) {
	s, nodes := paired(t, 2)
	s.stop()
	s.config = func(c *service.Config) {
		c.Freeze = func() []model.FreezeWindow {
			return []model.FreezeWindow{{From: "2000-01-01T00:00:00Z", Until: "2999-01-01T00:00:00Z", Reason: "holidays"}}
		}
	}
	s.start()
	s.known(nodes...)
	s.disable(service.DisableDraft{Filter: "first"})
	s.serve("good:2", nodes...)
	svc, _ := s.service()
	if _, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(model.WaveSpec{Percent: 100, Soak: time.Millisecond})}); err != nil {
		t.Fatal(err)
	}
	s.until("enable-first", "wait", func(r model.Rollout) bool {
		return r.Phase == model.RolloutPending && r.Message != "waits for its turn"
	})
	wantServed(t, nodes, "good:1", "good:2")
}

// A disabling that no node has any more is ended all the same, also where the store has kept that without saying so.
func TestPuttingBackForNobodyThoughTheStoreDidNotAnswer(t *testing.T) {
	s, nodes := paired(t, 1)
	s.disable(service.DisableDraft{Filter: "first"})
	s.serve("good:2", nodes...)
	s.stop()
	s.config = func(c *service.Config) {
		c.CollectEvery, c.ForgetNodesAfter = 10*time.Millisecond, 100*time.Millisecond
	}
	s.start()
	s.known(nodes...)
	nodes[0].disconnect()
	svc, _ := s.service()
	s.eventually("the node is forgotten", func() bool {
		_, err := svc.GetNode(t.Context(), "n0")
		return errors.Is(err, model.ErrNotFound)
	})
	s.tap.mute.Store(true)
	_, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first"})
	wantKind(t, err, model.ErrUnavailable)
	s.eventually("it is not disabled any more", func() bool { return len(s.disabled()) == 0 })
	if r := s.reach("enable-first", model.RolloutDone); r.Disables != "" {
		t.Errorf("the record of it is %+v", r)
	}
	_, err = svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first"})
	wantKind(t, err, model.ErrNotFound)
}

// To take back that a guard is put back lets unauthorized requests pass again, which is more than to undo.
func TestWhoMayNotUndoPuttingBackAGuard(t *testing.T) {
	for exposes, refused := range map[bool]bool{true: true, false: false} {
		s, nodes := paired(t, 2)
		s.disable(service.DisableDraft{Filter: "first", PassUnauthorized: exposes})
		svc, _ := s.service()
		if _, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(long(one), all)}); err != nil {
			t.Fatal(err)
		}
		s.reach("enable-first", model.RolloutSoaking)
		s.stop()
		s.config = func(c *service.Config) { c.Roles = approver{} }
		svc = s.start()
		s.known(nodes...)
		_, err := svc.Undo(context.WithValue(t.Context(), mayDo{}, service.VerbUndoRollout), alice, "enable-first")
		if refused {
			wantKind(t, err, model.ErrDenied, "filter.expose is not for you")
		} else if err != nil {
			t.Error(err)
		}
		s.stop()
	}
}
