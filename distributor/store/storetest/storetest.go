// Package storetest is the contract of service.Store as tests that any implementation can be run through.
package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Run puts an implementation through the contract. open returns a new, empty store for each test, and cleans up by itself.
func Run(t *testing.T, open func(t *testing.T) service.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, service.Store)
	}{
		{"a release comes back as it was", releaseRoundTrip},
		{"a release is created once", releaseOnce},
		{"releases are found by the beginning of their hash", releasePrefix},
		{"releases are listed newest first, in pages", releasePages},
		{"a rollout comes back as it was, with its sequence", rolloutRoundTrip},
		{"the name of a rollout is taken once", rolloutOnce},
		{"a rollout is replaced by whoever saw it last", rolloutSwap},
		{"of many that replace a rollout one wins each time", rolloutRace},
		{"a rollout of many nodes fits", rolloutLarge},
		{"rollouts are listed newest first, in pages", rolloutPages},
		{"rows of nodes are written and listed by id", nodeRows},
		{"a batch has its limit", nodeBatch},
		{"rows of nodes are deleted", nodesDeleted},
		{"a release is deleted, and is in no list", releaseDeleted},
		{"a rollout is deleted, is in no list, and leaves its name taken", rolloutDeleted},
		{"collections come back as they were, by layer and name", collectionsRoundTrip},
		{"collections are replaced by whoever saw them last, together", collectionsSwap},
		{"descriptor sets are registered, and kept", typesRoundTrip},
		{"secrets come back as they were, by layer and name", secretsRoundTrip},
		{"a secret is replaced by whoever saw it last, with its values", secretsSwap},
		{"a release names only what is there of secrets", secretsNamed},
		{"the freeze of all rollouts is put, replaced and taken away", freezePut},
		{"audit entries of what is no part of the store", auditAppended},
		{"each change has its audit entries, in one sequence", auditSequence},
		{"a change that was refused leaves no audit entry", auditRefused},
		{"audit entries are listed by object", auditByObject},
		{"writers at once give each entry its own sequence, and the hash of the one before", auditRace},
		{"an empty store lists nothing", empty},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// at is a time as it comes back from a store: UTC, without a monotonic reading.
func at(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 123456789, time.UTC) }

func audit(action, object string) model.AuditEntry {
	return model.AuditEntry{At: at(1), Actor: "alice", Action: action, Object: object, Reason: "because", Detail: "of this"}
}

func release(name string, n int) model.Release {
	priority := int32(n)
	return model.Release{
		ID:    model.ReleaseID{Name: name, Hash: fmt.Sprintf("sha256:%064x", n)},
		Layer: model.LayerGlobal,
		Filters: []model.FilterSpec{{
			Name: "authz", Phase: model.PhaseAuthn, Priority: &priority, FailurePolicy: model.FailClosed,
			Module: &model.Module{Reference: "localhost/authz:1", Artifact: "sha256:aa", Digest: "sha256:bb", Size: 7, Envoys: []string{"envoy-1.40"}},
			Config: []byte(`{"a":[1,"ü"]}`),
		}},
		CreatedAt: at(n % 60), CreatedBy: "alice", Reason: "first",
	}
}

func rollout(name string) model.Rollout {
	return model.Rollout{
		Name: name, Layer: model.LayerGlobal, Phase: model.RolloutPending, Wave: -1, StartedBy: "alice", StartedAt: at(2),
		Spec: model.RolloutSpec{Release: release("edge", 1).ID, Selector: "env=prod", Waves: []model.WaveSpec{
			{Nodes: 1, Soak: 30 * time.Second, Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.01}}}}, {Percent: 100},
		}},
		Nodes:   map[string]model.NodeProgress{"n1": {State: model.NodeMoving, From: release("edge", 0).ID, FromGiven: true}},
		Waves:   []model.WaveState{{Nodes: []string{"n1"}, StartedAt: at(3)}},
		History: []model.Transition{{At: at(2), Phase: model.RolloutPending, Message: "started", Actor: "alice"}},
	}
}

func node(id string) model.Node {
	return model.Node{
		ID: id, Labels: map[string]string{"env": "prod"}, EnvoyVersion: "1.40.0", Reports: true, Generation: 3, FirstSeen: at(4),
		Assigned: map[model.Layer]model.ReleaseID{model.LayerGlobal: release("edge", 1).ID},
		Ledger:   model.LedgerEntry{Chain: "sha256:cc", State: model.ChainServing, Times: map[model.ChainState]time.Time{model.ChainServing: at(5)}},
		Serving:  "sha256:cc",
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want one of kind %q", err, kind)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s differs (-want +got):\n%s", what, diff)
	}
}

func releaseRoundTrip(t *testing.T, s service.Store) {
	want := release("edge", 1)
	must(t, s.CreateRelease(t.Context(), want, audit("release.create", "release/edge")))
	got, err := s.GetRelease(t.Context(), want.ID)
	must(t, err)
	same(t, "release", got, want)
	_, err = s.GetRelease(t.Context(), model.ReleaseID{Name: "edge", Hash: "sha256:no"})
	wantKind(t, err, model.ErrNotFound)
	_, err = s.GetRelease(t.Context(), model.ReleaseID{Name: "ed", Hash: want.ID.Hash})
	wantKind(t, err, model.ErrNotFound)
}

func releaseOnce(t *testing.T, s service.Store) {
	first := release("edge", 1)
	must(t, s.CreateRelease(t.Context(), first, audit("release.create", "release/edge")))
	second := release("edge", 1)
	second.CreatedBy = "bob"
	wantKind(t, s.CreateRelease(t.Context(), second, audit("release.create", "release/edge")), model.ErrExists)
	got, err := s.GetRelease(t.Context(), first.ID)
	must(t, err)
	same(t, "release", got, first)
	list, _, err := s.ListReleases(t.Context(), "", 0, 10)
	must(t, err)
	same(t, "count", len(list), 1)
}

func releasePrefix(t *testing.T, s service.Store) {
	for _, r := range []model.Release{release("edge", 0x10), release("edge", 0x11), release("edge-2", 0x12)} {
		must(t, s.CreateRelease(t.Context(), r, audit("release.create", "release/"+r.ID.Name)))
	}
	for prefix, want := range map[string]int{
		"sha256:": 2,
		"sha256:" + strings.Repeat("0", 62) + "1":  2,
		"sha256:" + strings.Repeat("0", 62) + "11": 1,
		"sha256:f": 0,
	} {
		found, err := s.FindReleases(t.Context(), "edge", prefix, 10)
		must(t, err)
		same(t, "count for "+prefix, len(found), want)
	}
	found, err := s.FindReleases(t.Context(), "edge", "sha256:", 1)
	must(t, err)
	same(t, "count under a limit", len(found), 1)
}

func releasePages(t *testing.T, s service.Store) {
	var want []string
	for i := range 7 {
		name := []string{"edge", "edge-2"}[i%2]
		r := release(name, 100-i) // hashes fall while time rises
		must(t, s.CreateRelease(t.Context(), r, audit("release.create", "release/"+name)))
		want = append([]string{r.ID.String()}, want...)
	}
	var got []string
	pages := 0
	for cursor := int64(0); ; pages++ {
		list, next, err := s.ListReleases(t.Context(), "", cursor, 3)
		must(t, err)
		for _, r := range list {
			got = append(got, r.ID.String())
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	same(t, "releases", got, want)
	same(t, "pages after the first", pages, 2)
	list, next, err := s.ListReleases(t.Context(), "edge", 0, 4)
	must(t, err)
	same(t, "releases of one name", len(list), 4)
	same(t, "cursor after the last", next, int64(0))
	same(t, "newest of one name", list[0].ID, release("edge", 94).ID)
}

func rolloutRoundTrip(t *testing.T, s service.Store) {
	want := rollout("one")
	stored, revision, err := s.CreateRollout(t.Context(), want, []model.AuditEntry{audit("rollout.start", "rollout/one")})
	must(t, err)
	if stored.Sequence <= 0 || revision <= 0 {
		t.Fatalf("sequence %d and revision %d must be above 0", stored.Sequence, revision)
	}
	want.Sequence = stored.Sequence
	same(t, "stored", stored, want)
	got, gotRevision, err := s.GetRollout(t.Context(), "one")
	must(t, err)
	same(t, "rollout", got, want)
	same(t, "revision", gotRevision, revision)
	_, _, err = s.GetRollout(t.Context(), "on")
	wantKind(t, err, model.ErrNotFound)
}

func rolloutOnce(t *testing.T, s service.Store) {
	_, _, err := s.CreateRollout(t.Context(), rollout("one"), []model.AuditEntry{audit("rollout.start", "rollout/one")})
	must(t, err)
	_, _, err = s.CreateRollout(t.Context(), rollout("one"), []model.AuditEntry{audit("rollout.start", "rollout/one")})
	wantKind(t, err, model.ErrExists)
}

func rolloutSwap(t *testing.T, s service.Store) {
	r, first, err := s.CreateRollout(t.Context(), rollout("one"), []model.AuditEntry{audit("rollout.start", "rollout/one")})
	must(t, err)
	r.Phase = model.RolloutFetching
	second, err := s.UpdateRollout(t.Context(), r, first, []model.AuditEntry{audit("rollout.fetching", "rollout/one")})
	must(t, err)
	if second <= first {
		t.Fatalf("revision %d is not above %d", second, first)
	}
	r.Phase = model.RolloutAborted
	for _, entries := range [][]model.AuditEntry{nil, {audit("rollout.abort", "rollout/one")}} {
		_, err = s.UpdateRollout(t.Context(), r, first, entries)
		wantKind(t, err, model.ErrConflict)
	}
	got, revision, err := s.GetRollout(t.Context(), "one")
	must(t, err)
	same(t, "phase", got.Phase, model.RolloutFetching)
	same(t, "revision", revision, second)
	r.Phase = model.RolloutMoving
	third, err := s.UpdateRollout(t.Context(), r, second, nil)
	must(t, err)
	if third <= second {
		t.Fatalf("revision %d is not above %d", third, second)
	}
	_, err = s.UpdateRollout(t.Context(), rollout("none"), second, nil)
	wantKind(t, err, model.ErrNotFound)
}

func rolloutRace(t *testing.T, s service.Store) {
	_, _, err := s.CreateRollout(t.Context(), rollout("one"), []model.AuditEntry{audit("rollout.start", "rollout/one")})
	must(t, err)
	const writers, rounds = 4, 10
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for won := 0; won < rounds; {
				r, revision, err := s.GetRollout(t.Context(), "one")
				if err != nil {
					errs[w] = err
					return
				}
				r.Wave++
				switch _, err = s.UpdateRollout(t.Context(), r, revision, []model.AuditEntry{audit("rollout.wave", "rollout/one")}); {
				case err == nil:
					won++
				case !errors.Is(err, model.ErrConflict):
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	got, _, err := s.GetRollout(t.Context(), "one")
	must(t, err)
	same(t, "wave after every winner added one", got.Wave, writers*rounds-1)
	entries, _, err := s.ListAudit(t.Context(), "rollout/one", 0, 1000)
	must(t, err)
	same(t, "audit entries", len(entries), writers*rounds+1)
}

func rolloutLarge(t *testing.T, s service.Store) {
	want := rollout("large")
	for i := range 10_000 {
		p := want.Nodes["n1"]
		p.Chain, p.FromChain = release("edge", 1).ID.Hash, release("edge", 2).ID.Hash
		want.Nodes[fmt.Sprintf("node-%05d.cluster.example", i)] = p
	}
	want, revision, err := s.CreateRollout(t.Context(), want, []model.AuditEntry{audit("rollout.start", "rollout/large")})
	must(t, err)
	want.Message = "changed"
	_, err = s.UpdateRollout(t.Context(), want, revision, nil)
	must(t, err)
	got, _, err := s.GetRollout(t.Context(), "large")
	must(t, err)
	same(t, "rollout", got, want)
}

func rolloutPages(t *testing.T, s service.Store) {
	var want []string
	last := int64(0)
	for i := range 5 {
		name := fmt.Sprintf("r%d", (i*3)%5)
		r, _, err := s.CreateRollout(t.Context(), rollout(name), []model.AuditEntry{audit("rollout.start", "rollout/"+name)})
		must(t, err)
		if r.Sequence <= last {
			t.Fatalf("sequence %d is not above %d", r.Sequence, last)
		}
		last = r.Sequence
		want = append([]string{name}, want...)
	}
	var got []string
	for cursor := int64(0); ; {
		list, next, err := s.ListRollouts(t.Context(), cursor, 2)
		must(t, err)
		for _, r := range list {
			got = append(got, r.Name)
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	same(t, "rollouts", got, want)
}

func nodeRows(t *testing.T, s service.Store) {
	ids := []string{"a", "a.b", "a/b", "b", "c"}
	var rows []model.Node
	for _, id := range ids {
		rows = append(rows, node(id))
	}
	slices.Reverse(rows)
	must(t, s.PutNodes(t.Context(), rows, nil))
	changed := node("b")
	changed.Generation, changed.Labels = 4, nil
	must(t, s.PutNodes(t.Context(), []model.Node{changed}, []model.AuditEntry{audit("node.join", "node/b")}))

	var got []model.Node
	for after := ""; ; {
		page, err := s.ListNodes(t.Context(), after, 2)
		must(t, err)
		got = append(got, page...)
		if len(page) < 2 {
			break
		}
		after = page[1].ID
	}
	var gotIDs []string
	for _, n := range got {
		gotIDs = append(gotIDs, n.ID)
	}
	same(t, "ids", gotIDs, ids)
	same(t, "row that changed", got[3], changed)
	same(t, "row that did not", got[0], node("a"))
	must(t, s.PutNodes(t.Context(), nil, nil))
}

func nodeBatch(t *testing.T, s service.Store) {
	var rows []model.Node
	var entries []model.AuditEntry
	for i := range service.MaxBatch {
		rows = append(rows, node(fmt.Sprintf("n%03d", i)))
	}
	must(t, s.PutNodes(t.Context(), rows, nil))
	wantKind(t, s.PutNodes(t.Context(), append(slices.Clone(rows), node("more")), nil), model.ErrInvalid)

	const audited = service.MaxBatch / 3
	for i := range audited {
		entries = append(entries, audit("node.join", "node/"+rows[i].ID))
	}
	must(t, s.PutNodes(t.Context(), rows[:audited], entries))
	wantKind(t, s.PutNodes(t.Context(), rows[:audited+2], entries), model.ErrInvalid)
	list, _, err := s.ListAudit(t.Context(), "", 0, 1000)
	must(t, err)
	same(t, "audit entries", len(list), audited)
}

func auditSequence(t *testing.T, s service.Store) {
	must(t, s.CreateRelease(t.Context(), release("edge", 1), audit("release.create", "release/edge@sha256:1")))
	_, revision, err := s.CreateRollout(t.Context(), rollout("one"), []model.AuditEntry{audit("rollout.start", "rollout/one")})
	must(t, err)
	_, err = s.UpdateRollout(t.Context(), rollout("one"), revision, []model.AuditEntry{audit("rollout.fetching", "rollout/one"), audit("rollout.moving", "rollout/one")})
	must(t, err)
	must(t, s.PutNodes(t.Context(), []model.Node{node("n")}, []model.AuditEntry{audit("node.retry", "node/n")}))

	var want []model.AuditEntry
	for i, e := range []model.AuditEntry{
		audit("release.create", "release/edge@sha256:1"), audit("rollout.start", "rollout/one"),
		audit("rollout.fetching", "rollout/one"), audit("rollout.moving", "rollout/one"), audit("node.retry", "node/n"),
	} {
		var head model.AuditHead
		if i > 0 {
			head = want[0].Head()
		}
		e, err := e.Seal(head)
		must(t, err)
		want = append([]model.AuditEntry{e}, want...)
	}
	var got []model.AuditEntry
	for cursor := int64(0); ; {
		page, next, err := s.ListAudit(t.Context(), "", cursor, 2)
		must(t, err)
		got = append(got, page...)
		if cursor = next; cursor == 0 {
			break
		}
	}
	same(t, "audit", got, want)
}

func auditRefused(t *testing.T, s service.Store) {
	must(t, s.CreateRelease(t.Context(), release("edge", 1), audit("release.create", "release/edge")))
	wantKind(t, s.CreateRelease(t.Context(), release("edge", 1), audit("release.create", "release/edge")), model.ErrExists)
	_, revision, err := s.CreateRollout(t.Context(), rollout("one"), []model.AuditEntry{audit("rollout.start", "rollout/one")})
	must(t, err)
	_, err = s.UpdateRollout(t.Context(), rollout("one"), revision+1000, []model.AuditEntry{audit("rollout.abort", "rollout/one")})
	wantKind(t, err, model.ErrConflict)
	entries, _, err := s.ListAudit(t.Context(), "", 0, 100)
	must(t, err)
	same(t, "audit entries", len(entries), 2)
	same(t, "newest sequence", entries[0].Sequence, int64(2))
}

func auditByObject(t *testing.T, s service.Store) {
	objects := []string{"node/a", "node/a/b", "rollout/a", "node/a"}
	for i, object := range objects {
		must(t, s.PutNodes(t.Context(), []model.Node{node("n")}, []model.AuditEntry{audit(fmt.Sprintf("test.%d", i), object)}))
	}
	var got []string
	for cursor := int64(0); ; {
		page, next, err := s.ListAudit(t.Context(), "node/a", cursor, 1)
		must(t, err)
		for _, e := range page {
			got = append(got, e.Action)
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	same(t, "actions on node/a", got, []string{"test.3", "test.0"})
	none, _, err := s.ListAudit(t.Context(), "node/", 0, 10)
	must(t, err)
	same(t, "entries of an object that has none", len(none), 0)
}

func auditRace(t *testing.T, s service.Store) {
	const writers, rounds = 4, 15
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				id := fmt.Sprintf("n-%d-%d", w, i)
				if err := s.PutNodes(t.Context(), []model.Node{node(id)}, []model.AuditEntry{audit("node.join", "node/"+id)}); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	entries, _, err := s.ListAudit(t.Context(), "", 0, 1000)
	must(t, err)
	var walk model.AuditWalk
	for _, e := range entries {
		must(t, walk.Take(e))
	}
	must(t, walk.End())
	same(t, "audit entries", len(entries), writers*rounds)
}

func empty(t *testing.T, s service.Store) {
	releases, next, err := s.ListReleases(t.Context(), "", 0, 10)
	must(t, err)
	same(t, "releases", len(releases)+int(next), 0)
	rollouts, next, err := s.ListRollouts(t.Context(), 0, 10)
	must(t, err)
	same(t, "rollouts", len(rollouts)+int(next), 0)
	nodes, err := s.ListNodes(t.Context(), "", 10)
	must(t, err)
	same(t, "nodes", len(nodes), 0)
	entries, next, err := s.ListAudit(t.Context(), "", 0, 10)
	must(t, err)
	same(t, "audit entries", len(entries)+int(next), 0)
}
