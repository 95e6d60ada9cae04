package service

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// BenchmarkDecision takes one decision about a fleet in wave 5 of 10, all but the store: the picture, the step, the duties. Soaking changes nothing
// of the state; in Moving a tenth of the wave's nodes have another state than the decision before saw.
func BenchmarkDecision(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		for _, news := range []bool{false, true} {
			name := "Soaking"
			if news {
				name = "Moving"
			}
			b.Run(fmt.Sprintf("%s/nodes=%d", name, n), func(b *testing.B) { benchmarkDecision(b, n, news) })
		}
	}
}

// nowhere stores nothing, in no time.
type nowhere struct{ Store }

func (nowhere) UpdateRollout(_ context.Context, _ model.Rollout, revision int64, _ []model.AuditEntry) (int64, error) {
	return revision + 1, nil
}

func (nowhere) PutNodes(context.Context, []model.Node, []model.AuditEntry) error { return nil }

// noModules have no schemas.
type noModules struct{ Modules }

func (noModules) Schema(context.Context, model.Module) ([]byte, error) { return nil, nil }

// midway is a distributor whose nodes soak in wave 5 of 10 of a rollout. Nothing runs but what is called.
func midway(b testing.TB, count int) (*Service, *entry) {
	b.Helper()
	r := newRun(b, count, 4)
	for r.e.state.Phase != model.RolloutSoaking || r.e.state.Wave != 4 {
		r.turn()
	}
	return r.s, r.e
}

// run is a rollout to a fleet, in ten waves, in a distributor of which nothing runs but what is called.
type run struct {
	b   testing.TB
	s   *Service
	e   *entry
	now time.Time
	// took is by the phase in which a decision was taken, and cpu is what its thread has computed.
	took, cpu map[model.RolloutPhase][]time.Duration
}

// newRun is one that has not begun. One wave soaks for an hour.
func newRun(b testing.TB, count, soaks int) *run {
	b.Helper()
	x := &run{b: b, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), took: map[model.RolloutPhase][]time.Duration{}, cpu: map[model.RolloutPhase][]time.Duration{}}
	phase := model.RolloutPhase("")
	s, err := New(Config{Store: nowhere{}, Modules: noModules{}, Now: func() time.Time { return x.now }, Decided: func(d Decision) {
		x.took[phase] = append(x.took[phase], d.Took)
		phase = x.e.state.Phase
	}})
	if err != nil {
		b.Fatal(err)
	}
	x.s = s
	s.phase, s.startedAt = phaseReady, x.now.Add(-time.Hour)
	ids := map[string]model.ReleaseID{}
	for _, name := range []string{"before", "after"} {
		digest := model.Digest([]byte(name))
		r, err := model.Seal(model.Release{ID: model.ReleaseID{Name: name}, Filters: []model.FilterSpec{{Name: "authz",
			Module: &model.Module{Artifact: digest, Digest: digest, Size: 1000, Envoys: []string{"envoy-1.36", "envoy-1.40"}}}}})
		if err != nil {
			b.Fatal(err)
		}
		s.releases[r.ID], ids[name] = r, r.ID
	}
	for i := range count {
		n := newNode(model.Node{ID: fmt.Sprintf("node-%05d.cluster.example", i), Labels: map[string]string{"env": "prod", "zone": "a"}, EnvoyVersion: "1.40.0",
			AgentVersion: "1.0.0", Reports: true, Splits: true, Assigned: map[model.Layer]model.ReleaseID{model.LayerGlobal: ids["before"]}, Generation: 1})
		if err := s.publish(n); err != nil {
			b.Fatal(err)
		}
		n.row.Ledger, n.row.Serving = model.LedgerEntry{Chain: n.chain.Hash, State: model.ChainServing}, n.chain.Hash
		n.given = n.row
		n.fetched = map[string]struct{}{model.Digest([]byte("after")): {}}
		n.opened(&Session{service: s, node: n, reports: true, directives: make(chan Directive, 1), done: make(chan struct{})})
		s.nodes[n.row.ID] = n
	}
	s.fleet++
	spec := model.RolloutSpec{Release: ids["after"], Selector: "env=prod"}
	for wave := range 10 {
		soak := time.Duration(0)
		if wave == soaks {
			soak = time.Hour
		}
		spec.Waves = append(spec.Waves, model.WaveSpec{Percent: 10 * (wave + 1), Soak: soak,
			Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.5, MinSamples: 1}}}})
	}
	if x.e, err = newEntry(rollout.New("r", model.LayerGlobal, spec, rollout.By{Actor: "mo"}, x.now), 1); err != nil {
		b.Fatal(err)
	}
	s.adopt(x.e, x.e.state, 1)
	return x
}

// turn is a second: a decision, and what nodes make of it.
func (x *run) turn() {
	x.now = x.now.Add(time.Second)
	s := x.s
	phase, before := x.e.state.Phase, computed()
	s.observe(x.b.Context(), x.e)
	x.cpu[phase] = append(x.cpu[phase], computed()-before)
	if !x.e.running() && x.e.state.Phase != model.RolloutDone {
		x.b.Fatalf("it ended: %s", x.e.state.Message)
	}
	for _, n := range s.nodes {
		if n.row.Serving != n.chain.Hash {
			s.report(n, ChainReport{Chain: n.chain.Hash, State: model.ChainServing, Serving: n.chain.Hash})
		}
		n.counts.stats, n.counts.came = model.Statistics{Chain: n.chain.Hash, Requests: 10}, x.now
		n.counts.told.Add(1)
	}
	if err := s.flushAll(x.b.Context()); err != nil {
		x.b.Fatal(err)
	}
}

// computed is how long this thread has computed; zero where the system does not say.
func computed() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// rusageThread is RUSAGE_THREAD of Linux.
const rusageThread = 1

// BenchmarkRollout takes all the decisions of a rollout in ten waves, all but the store, and tells the longest, and what the thread has computed, which other work on the
// machine makes no longer. Every node has told statistics before each.
func BenchmarkRollout(b *testing.B) {
	const count = 10_000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var longest, sum, computes time.Duration
	decisions := 0
	for range b.N {
		b.StopTimer()
		x := newRun(b, count, -1)
		b.StartTimer()
		for x.e.running() {
			x.turn()
		}
		for phase, took := range x.took {
			b.Logf("%s: %v, computed %v", phase, took, x.cpu[phase])
			for _, d := range x.cpu[phase] {
				computes += d
			}
			for _, d := range took {
				longest, sum = max(longest, d), sum+d
			}
			decisions += len(took)
		}
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(decisions), "mean-ms")
	b.ReportMetric(float64(computes.Microseconds())/1000/float64(decisions), "mean-cpu-ms")
}

func benchmarkDecision(b *testing.B, count int, news bool) {
	s, e := midway(b, count)
	var flapping []*node
	if news {
		for _, id := range e.state.Waves[4].Nodes[:max(count/100, 1)] {
			flapping = append(flapping, s.nodes[id])
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		written := e.written.Nodes
		for _, n := range flapping {
			// One that says that it serves nothing is Moving again, until it says that it does.
			if n.row.Serving == "" {
				n.row.Serving = n.chain.Hash
			} else {
				n.row.Serving = ""
			}
			n.version++
			n.stored++
		}
		s.observe(b.Context(), e)
		if same := reflect.ValueOf(written).UnsafePointer() == reflect.ValueOf(e.written.Nodes).UnsafePointer(); same == news {
			b.Fatalf("the nodes in the state are the same: %t", same)
		}
		if !e.running() {
			b.Fatalf("it ended: %s", e.state.Message)
		}
	}
}

// A decision that finds nothing new makes nothing anew for each node. That keeps it short in a large fleet, whatever the machine.
func TestDecisionIsFrugal(t *testing.T) {
	const count = 1000
	s, e := midway(t, count)
	s.observe(t.Context(), e)
	if allocations := testing.AllocsPerRun(10, func() { s.observe(t.Context(), e) }); allocations > count/10 {
		t.Errorf("a decision about %d nodes made %.0f allocations", count, allocations)
	}
}

// What a picture says of a node is of its row as it is now, although most of it is kept from the picture before.
func TestPictureFollowsRow(t *testing.T) {
	s, e := midway(t, 10)
	var n *node
	for id := range s.nodes {
		if !rollout.Holds(e.state, id) {
			n = s.nodes[id]
		}
	}
	view := func() rollout.NodeView {
		event, err := s.observation(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range event.Nodes {
			if v.ID == n.row.ID {
				return v
			}
		}
		t.Fatalf("%s is not in the picture", n.row.ID)
		return rollout.NodeView{}
	}
	was := view()
	if was.Unloadable != "" || was.CurrentChain == was.TargetChain || was.FromChain != "" {
		t.Fatalf("its view is %+v", was)
	}
	s.introduce(n, NodeHello{Reports: true, Labels: n.row.Labels, EnvoyVersion: "1.30.0"})
	if got := view(); got.Unloadable == "" {
		t.Error("an Envoy that cannot load the module is not seen")
	}
	s.introduce(n, NodeHello{Reports: true, Labels: n.row.Labels, EnvoyVersion: "1.40.0"})
	if _, err := s.assign(n, model.Layer("team/edge"), e.state.Spec.Release, true, model.Cohort{}, model.Move{}); err != nil {
		t.Fatal(err)
	}
	if got := view(); got.Unloadable != "" || got.CurrentChain != n.chain.Hash {
		t.Errorf("with another release its view is %+v", got)
	}
	n.fetched = nil
	if view().Fetched {
		t.Error("it has modules that it does not have")
	}
}
