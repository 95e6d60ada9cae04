package service_test

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func connect(t *testing.T, svc *service.Service, hello service.NodeHello) *service.Session {
	t.Helper()
	session, err := svc.Connect(t.Context(), hello)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}

func status(t *testing.T, svc *service.Service, id string) service.NodeStatus {
	t.Helper()
	n, err := svc.GetNode(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// given is a node that was assigned the release of good:1 and has said nothing of it.
func given(t *testing.T, id string) (*site, *service.Service, *service.Session) {
	t.Helper()
	s := newSite(t)
	svc := s.start()
	session := connect(t, svc, service.NodeHello{ID: id, Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.40.0", Generation: 5})
	r := s.release("one", "good:1")
	session.Fetched([]string{r.Filters[0].Module.Digest}, nil)
	s.begin("first", "one", all)
	s.reach("first", model.RolloutMoving)
	s.eventually("the sink sees it", func() bool {
		c, err := svc.Collections(t.Context(), id)
		return err == nil && moduleIn(c) == "good:1"
	})
	return s, svc, session
}

func TestConnectRefuses(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	for name, hello := range map[string]service.NodeHello{
		"no id":                  {},
		"an id with a line feed": {ID: "a\nb"},
		"a label that is none":   {ID: "a", Labels: map[string]string{"-": "b"}},
		"a generation below 0":   {ID: "a", Generation: -1},
		"a generation of 2^63-1": {ID: "a", Generation: 1<<63 - 1},
		"a version of a novel":   {ID: "a", EnvoyVersion: strings.Repeat("1", 10_000)},
	} {
		if _, err := svc.Connect(t.Context(), hello); err == nil {
			t.Errorf("%s was taken", name)
		} else {
			wantKind(t, err, model.ErrInvalid)
		}
	}
	if list, _, err := svc.ListNodes(t.Context(), "", service.Page{}); err != nil || len(list) != 0 {
		t.Errorf("there are rows: %v, %v", list, err)
	}
}

// What a node says that it cannot fetch is shown with it, and in the rollout that waits for it, until it has it. What is no digest is no digest here either.
func TestWhatANodeCannotFetchIsShown(t *testing.T) {
	s, svc, session := given(t, "a")
	if _, err := svc.Abort(t.Context(), alice, "first"); err != nil {
		t.Fatal(err)
	}
	digest := s.release("two", "good:2").Filters[0].Module.Digest
	s.begin("second", "two", all)
	s.reach("second", model.RolloutFetching)
	for _, why := range []string{"no registry", "no such module", strings.Repeat("x", 2*service.MaxFetchReason)} {
		session.Fetched(nil, map[string]string{digest: why, "sha256:" + strings.Repeat("0", 65): "?", "sha256:" + strings.Repeat("0", 63): "?", "sha256:" + strings.Repeat("x", 64): "?", "": "?"})
		want := why[:min(len(why), service.MaxFetchReason)]
		if got := status(t, svc, "a").Unfetched; len(got) != 1 || got[digest] != want {
			t.Errorf("it shows %q", got)
		}
		s.until("second", "to say why", func(r model.Rollout) bool {
			return len(r.Latest) == 1 && strings.HasSuffix(r.Latest[0].Detail, "so far: a: "+want)
		})
	}
	session.Fetched([]string{digest}, nil)
	s.reach("second", model.RolloutMoving)
	if got := status(t, svc, "a").Unfetched; len(got) != 0 {
		t.Errorf("it shows %q", got)
	}
}

// A node that says of more modules than are kept that it cannot fetch them has the same ones kept each time.
func TestUnfetchedIsBounded(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	session := connect(t, svc, service.NodeHello{ID: "a", Reports: true})
	reasons := map[string]string{}
	for i := range 4 * service.MaxUnfetched {
		reasons[fmt.Sprintf("sha256:%064x", i)] = "gone"
	}
	for range 3 {
		session.Fetched(nil, reasons)
		got := slices.Sorted(maps.Keys(status(t, svc, "a").Unfetched))
		if want := slices.Sorted(maps.Keys(reasons))[:service.MaxUnfetched]; !slices.Equal(got, want) {
			t.Fatalf("%d are kept, from %.100q on; want %d, from %q on", len(got), got, len(want), want[0])
		}
	}
}

func TestPresence(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	delivery := connect(t, svc, service.NodeHello{ID: "a"})
	if n := status(t, svc, "a"); n.Presence != service.PresenceConnected || n.Reports || n.LastSeen.IsZero() {
		t.Errorf("with a stream of collections it is %+v", n)
	}
	first := connect(t, svc, service.NodeHello{ID: "a", Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.40.0", EnvoyBuild: "b", AgentVersion: "v"})
	second := connect(t, svc, service.NodeHello{ID: "a", Labels: map[string]string{"env": "prod"}, Reports: true})
	<-first.Done() // a reconnect closes the stream that it follows
	first.Chain(service.ChainReport{Serving: "stale"})
	first.Close()
	n := status(t, svc, "a")
	if n.Presence != service.PresenceConnected || n.Serving != "" || n.EnvoyVersion != "1.40.0" || n.EnvoyBuild != "b" || n.AgentVersion != "v" {
		t.Errorf("after a reconnect it is %+v", n)
	}
	select {
	case <-delivery.Done():
		t.Error("a report stream closed the stream of collections")
	default:
	}
	second.Close()
	if n := status(t, svc, "a"); n.Presence != service.PresenceUnknown {
		t.Errorf("a node that reports is %s without its report stream", n.Presence)
	}
	connect(t, svc, service.NodeHello{ID: "a"}) // knows no labels
	if n := status(t, svc, "a"); n.Labels["env"] != "prod" {
		t.Errorf("its labels are %v", n.Labels)
	}
	connect(t, svc, service.NodeHello{ID: "a", Reports: true, Labels: map[string]string{"env": "test"}})
	if n := status(t, svc, "a"); n.Labels["env"] != "test" {
		t.Errorf("its labels are %v", n.Labels)
	}
	s.stop()
	<-delivery.Done()
	svc = s.start()
	if n := status(t, svc, "a"); n.Presence != service.PresenceUnknown || n.Labels["env"] != "test" || !n.Reports {
		t.Errorf("after a restart it is %+v", n)
	}
}

func TestLedger(t *testing.T) {
	s, svc, session := given(t, "a")
	n := status(t, svc, "a")
	chain, generation := n.Chain, n.Generation
	if n.Ledger.Chain != chain || n.Ledger.State != "" {
		t.Fatalf("before it says anything the ledger is %+v", n.Ledger)
	}
	report := func(state model.ChainState, change func(*service.ChainReport)) {
		r := service.ChainReport{Chain: chain, State: state, Generation: generation}
		if change != nil {
			change(&r)
		}
		session.Chain(r)
	}
	want := func(state model.ChainState) {
		t.Helper()
		if got := status(t, svc, "a").Ledger.State; got != state {
			t.Fatalf("the ledger says %q, want %q", got, state)
		}
	}
	svc.Offered("a", "another")
	want("")
	svc.Offered("a", chain)
	want(model.ChainOffered)
	report(model.ChainOffered, func(r *service.ChainReport) { r.Reason, r.Step, r.Final = "the registry is slow", "fetch", true })
	if entry := status(t, svc, "a").Ledger; entry.Reason != "the registry is slow" || entry.Final {
		t.Errorf("on the way the ledger is %+v", entry)
	}
	report(model.ChainFetched, nil)
	svc.Offered("a", chain) // an ACK that comes late says nothing new
	want(model.ChainFetched)
	report(model.ChainServing, func(r *service.ChainReport) { r.Generation-- })
	want(model.ChainFetched) // of an earlier assignment
	report(model.ChainServing, func(r *service.ChainReport) { r.Chain = "another" })
	want(model.ChainFetched) // of another chain
	report(model.ChainRejected, func(r *service.ChainReport) { r.Reason, r.Step, r.Final = "out of disk", "fetch", false })
	entry := status(t, svc, "a").Ledger
	if entry.State != model.ChainRejected || entry.Reason != "out of disk" || entry.Step != "fetch" || entry.Final {
		t.Errorf("the ledger is %+v", entry)
	}
	report(model.ChainLoaded, nil)
	report(model.ChainServing, func(r *service.ChainReport) { r.Serving = chain })
	n = status(t, svc, "a")
	if n.Serving != chain || n.Ledger.Reason != "" || len(n.Ledger.Times) != 5 {
		t.Errorf("in the end it is %+v", n)
	}
	s.reach("first", model.RolloutDone)
	s.quiet()
	s.kill()
	svc = s.start()
	after := status(t, svc, "a")
	after.LastSeen, n.LastSeen, after.Presence, n.Presence = time.Time{}, time.Time{}, "", ""
	if after.Ledger.State != model.ChainServing || after.Serving != n.Serving || after.Generation != n.Generation || len(after.Ledger.Times) != 5 {
		t.Errorf("after a restart it is %+v, want %+v", after, n)
	}
}

func TestReasonIsBounded(t *testing.T) {
	_, svc, session := given(t, "a")
	n := status(t, svc, "a")
	session.Chain(service.ChainReport{Chain: n.Chain, State: model.ChainRejected, Reason: strings.Repeat("ü", 10_000) + "\xff"})
	if got := status(t, svc, "a").Ledger.Reason; len(got) > service.MaxReportReason+3 || !strings.HasPrefix(got, "üü") {
		t.Errorf("the reason has %d bytes", len(got))
	}
}

// A node that cannot report never gets past offered; a NACK is its last word.
func TestSinkWithoutReports(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	connect(t, svc, service.NodeHello{ID: "istio", Labels: map[string]string{"env": "prod"}})
	s.release("one", "good:1")

	// It is left out unless a person says otherwise. At first it might be an agent whose reports are on their way.
	s.begin("unsaid", "one", all)
	if r := s.reach("unsaid", model.RolloutAborted); r.Nodes["istio"].State != model.NodeSkipped || !strings.Contains(r.Message, "istio") {
		t.Errorf("left out, it stands as %+v, and the end is %q", r.Nodes["istio"], r.Message)
	}
	_, err := s.try("refused", "one", "", all)
	wantKind(t, err, model.ErrPrecondition, "rollout/refused", "spec.target", "istio", "includeUnreported")
	if n := status(t, svc, "istio"); n.Assigned != nil {
		t.Errorf("it was given %v", n.Assigned)
	}

	if _, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "first", Release: "one", IncludeUnreported: true, Waves: []model.WaveSpec{all}}); err != nil {
		t.Fatal(err)
	}
	s.reach("first", model.RolloutPaused)
	if _, err := svc.Promote(t.Context(), alice, "first"); err != nil {
		t.Fatal(err)
	}
	s.reach("first", model.RolloutDone)
	n := status(t, svc, "istio")
	svc.Offered("istio", n.Chain)
	if got := status(t, svc, "istio").Ledger; got.State != model.ChainOffered {
		t.Errorf("after an ACK the ledger says %+v", got)
	}
	// What comes late is about a chain that the node is not to have any more.
	for _, other := range []string{"", "sha256:before"} {
		svc.Refused("istio", other, model.CollectionChains, "cannot decode")
		if got := status(t, svc, "istio").Ledger; got.State != model.ChainOffered {
			t.Errorf("after a NACK of %q the ledger says %+v of %s", other, got, n.Chain)
		}
	}
	svc.Refused("istio", n.Chain, model.CollectionChains, "cannot decode")
	if got := status(t, svc, "istio").Ledger; got.State != model.ChainRejected || got.Reason != "cannot decode" {
		t.Errorf("after a NACK the ledger says %+v", got)
	}
	svc.Refused("nobody", n.Chain, model.CollectionChains, "cannot decode")
	svc.Offered("nobody", n.Chain)
}

// What a node says must fit its row: one that does not would hold up the rows that are written with it.
func TestReportsThatFitNoRow(t *testing.T) {
	s, nodes := settled(t, 2)
	svc, _ := s.service()
	random := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	huge := hex.EncodeToString(random)
	hostile := connect(t, svc, service.NodeHello{ID: "hostile", Reports: true})
	chain := status(t, svc, "n0").Chain
	hostile.Chain(service.ChainReport{Serving: huge})
	hostile.Chain(service.ChainReport{Chain: huge, State: model.ChainServing})
	hostile.Chain(service.ChainReport{Serving: chain, Step: huge, Reason: huge})
	hostile.Statistics(model.Statistics{Chain: huge})
	hostile.EnvoyRestarted(time.Now(), huge)
	hostile.Fetched([]string{huge}, map[string]string{huge: huge})
	if n := status(t, svc, "hostile"); n.Serving != chain || n.Statistics.Chain != "" {
		t.Errorf("it stands as %.200v", n)
	}
	s.release("two", "good:2")
	if _, err := s.try("second", "two", "env=prod", all); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
}

// A row that the store refuses holds up no other.
func TestRowThatTheStoreRefuses(t *testing.T) {
	s, nodes := settled(t, 3)
	bad := "bad"
	s.tap.refusedRow.Store(&bad)
	s.sim(service.NodeHello{ID: bad, Reports: true, EnvoyVersion: "1.40.0"})
	s.release("two", "good:2")
	if _, err := s.try("second", "two", "env=prod", all); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2")
}

// An agent opens its report stream beside the one of collections. A rollout that starts between the two takes it.
func TestReportsThatComeLater(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	connect(t, svc, service.NodeHello{ID: "a", Labels: map[string]string{"env": "prod"}})
	s.release("one", "good:1")
	s.begin("first", "one", all)
	if r := s.until("first", "a state", func(model.Rollout) bool { return true }); r.Phase != model.RolloutPending {
		t.Fatalf("it is %s before it is known whether the node reports", r.Phase)
	}
	s.known(s.node("a"))
	if r := s.reach("first", model.RolloutDone); r.Nodes["a"].State != model.NodeServing {
		t.Errorf("the node stands as %+v", r.Nodes["a"])
	}
}

// A sink that cannot report and joins is given what rollouts gave that were told to take such sinks.
func TestJoiningWithoutReports(t *testing.T) {
	s, _ := settled(t, 1)
	svc, _ := s.service()
	s.release("two", "good:2")
	if _, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "included", Release: "two", Selector: "env=prod", IncludeUnreported: true}); err != nil {
		t.Fatal(err)
	}
	s.reach("included", model.RolloutDone)
	s.release("three", "good:1")
	s.begin("unsaid", "three", all)
	s.reach("unsaid", model.RolloutDone)
	connect(t, svc, service.NodeHello{ID: "istio", Labels: map[string]string{"env": "prod"}})
	s.eventually("the node is given a release", func() bool { return len(status(t, svc, "istio").Assigned) > 0 })
	if got := status(t, svc, "istio").Assigned[model.LayerGlobal]; got.Name != "two" {
		t.Errorf("it is given %s", got)
	}
}

// A node that has seen a higher generation than the store (which was set back) must not take what comes for old news.
func TestGenerationOfTheNodeWins(t *testing.T) {
	s, svc, session := given(t, "a")
	session.Close()
	connect(t, svc, service.NodeHello{ID: "a", Labels: map[string]string{"env": "prod"}, Reports: true, Generation: 41})
	s.eventually("the sink is given a higher one", func() bool {
		collections, err := svc.Collections(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		return collections[1].Resources[0].Chain.Generation > 41
	})
}

func TestCollectionsOfANodeThatWaits(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	for _, id := range []string{"never-seen", "waits"} {
		if id == "waits" {
			connect(t, svc, service.NodeHello{ID: id})
		}
		collections, err := svc.Collections(t.Context(), id)
		if err != nil || len(collections) != 3 {
			t.Fatalf("%s: %v, %v", id, collections, err)
		}
		for _, c := range collections {
			if len(c.Resources) != 0 {
				t.Errorf("%s: %s holds %v", id, c.Name, c.Resources)
			}
		}
	}
}

func TestWatchTellsOfChanges(t *testing.T) {
	s, svc, _ := given(t, "a")
	called := make(chan struct{}, 100)
	changed, cancel := svc.Watch("a", func() { called <- struct{}{} })
	<-changed // once at the beginning
	other, cancelOther := svc.Watch("another", nil)
	<-other
	s.release("two", "good:2")
	if _, err := svc.Abort(t.Context(), alice, "first"); err != nil {
		t.Fatal(err)
	}
	s.begin("second", "two", all)
	<-changed // prefetch
	<-called
	select {
	case <-other:
		t.Error("a change of one node was told to another")
	default:
	}
	cancel()
	cancel()
	cancelOther()
}

func TestDirectives(t *testing.T) {
	s, svc, session := given(t, "a")
	want := func(what string, match func(service.Directive) bool) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case d := <-session.Directives():
				if match(d) {
					return
				}
			case <-deadline:
				t.Fatalf("no directive: %s", what)
			}
		}
	}
	want("statistics while the rollout runs", func(d service.Directive) bool { return d.StatisticsInterval == 20*time.Millisecond })
	n := status(t, svc, "a")
	session.Chain(service.ChainReport{Chain: n.Chain, State: model.ChainServing, Serving: n.Chain, Generation: n.Generation})
	s.reach("first", model.RolloutDone)
	want("no statistics when the rollout is done", func(d service.Directive) bool { return d.StatisticsInterval == 0 })

	// After the rollout, which a rejection or a filter left out would have taken back meanwhile.
	_, err := svc.RetryNode(t.Context(), alice, "a")
	wantKind(t, err, model.ErrPrecondition, "node/a")
	_, err = svc.RetryNode(t.Context(), alice, "b")
	wantKind(t, err, model.ErrNotFound, "node/b")
	session.Chain(service.ChainReport{Chain: n.Chain, State: model.ChainRejected, Reason: "disk is full", Generation: n.Generation})
	retried, err := svc.RetryNode(t.Context(), alice, "a")
	if err != nil || retried.Retry != 1 {
		t.Fatalf("retry: %+v, %v", retried, err)
	}
	want("retry", func(d service.Directive) bool { return d.Retry == 1 })
	entries, _, err := svc.ListAudit(t.Context(), "node/a", service.Page{})
	if err != nil || len(entries) != 1 || entries[0].Action != "node.retry" || entries[0].Actor != "alice" {
		t.Errorf("the audit is %+v, %v", entries, err)
	}
	// One that waits with it, or serves it in part, tries it again as well; one that is on its way has nothing to try again.
	for i, test := range []struct {
		state  model.ChainState
		reason string
		kind   error
	}{
		{model.ChainFetched, "", model.ErrPrecondition},
		{model.ChainFetched, "its loading or its trial has lapsed 2 times in a row", nil},
		{model.ChainDegraded, "filter two is left out", nil},
		{model.ChainLoaded, "", model.ErrPrecondition},
	} {
		session.Chain(service.ChainReport{Chain: n.Chain, State: test.state, Reason: test.reason, Generation: n.Generation})
		before := status(t, svc, "a").Retry
		retried, err := svc.RetryNode(t.Context(), alice, "a")
		if test.kind != nil {
			wantKind(t, err, test.kind, "node/a")
			continue
		}
		if err != nil || retried.Retry != before+1 {
			t.Errorf("%d: retry: %+v, %v", i, retried, err)
		}
		want("another retry", func(d service.Directive) bool { return d.Retry == before+1 })
	}
	again := connect(t, svc, service.NodeHello{ID: "a", Reports: true})
	if d := <-again.Directives(); d.Retry != 3 {
		t.Errorf("a new stream is told %+v", d)
	}
}

// Whoever reads slowly gets the newest state, and nobody waits for him.
func TestWatchRolloutSlowReader(t *testing.T) {
	s, _ := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	states, err := svc.WatchRollout(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutSoaking)
	if _, err := svc.Abort(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	var got []model.RolloutPhase
	for r := range states {
		got = append(got, r.Phase)
	}
	if len(got) != 1 || got[0] != model.RolloutAborted {
		t.Errorf("a slow reader got %v, want the newest state alone", got)
	}
	_, err = svc.WatchRollout(t.Context(), "none")
	wantKind(t, err, model.ErrNotFound)
	ended, err := svc.WatchRollout(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.Phase != model.RolloutDone {
		t.Errorf("the watch of an ended rollout gave %s", r.Phase)
	}
	if _, open := <-ended; open {
		t.Error("it did not end")
	}
}

// A node whose Envoy cannot load what its like run is given what they ran before, or waits, and says why.
func TestJoinOfAnOldEnvoy(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	s.nodes(2)
	s.modules.add("new:1", "", "envoy-1.40")
	s.release("one", "new:1")
	s.begin("first", "one", all)
	s.reach("first", model.RolloutDone)
	hello := service.NodeHello{ID: "old", Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.36.4"}
	connect(t, svc, hello)
	s.eventually("it waits and says why", func() bool {
		n := status(t, svc, "old")
		return n.Generation == 0 && containsAll(n.Ledger.Reason, "1.36.4", "envoy-1.40")
	})
	s.release("two", "good:2")
	s.release("three", "new:1")
	if _, err := s.try("second", "two", "env=prod", all); err != nil {
		t.Fatal(err)
	}
	_, err := s.try("third", "three", "env=prod", all)
	wantKind(t, err, model.ErrInvalid, "node/old")
}

func TestListNodesInPages(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	for _, id := range []string{"c", "a", "b:1", "d"} {
		connect(t, svc, service.NodeHello{ID: id, Labels: map[string]string{"env": "prod"}})
	}
	connect(t, svc, service.NodeHello{ID: "x"})
	var ids []string
	for page := (service.Page{Size: 3}); ; {
		list, next, err := svc.ListNodes(t.Context(), "env=prod", page)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			ids = append(ids, n.ID)
		}
		if page.Token = next; next == "" {
			break
		}
	}
	if got := strings.Join(ids, " "); got != "a b:1 c d" {
		t.Errorf("the list is %q", got)
	}
	for _, page := range []service.Page{{Token: "!"}, {Size: -1}} {
		_, _, err := svc.ListNodes(t.Context(), "", page)
		wantKind(t, err, model.ErrInvalid, "page_")
	}
	_, _, err := svc.ListNodes(t.Context(), "env=(", service.Page{})
	wantKind(t, err, model.ErrInvalid)
}
