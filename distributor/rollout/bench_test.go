package rollout

import (
	"fmt"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// BenchmarkStep takes one decision about a fleet in the middle of a rollout, in wave 5 of 10. Soaking and Waiting change no node, and Moving has a
// tenth of the wave's nodes serve since the step before. Turning is the step in which all do, and the next wave begins and moves.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		for _, of := range []struct {
			name string
			// behind is the share of the wave that does not serve yet, in tenths.
			behind int
			// news is whether the step is the first to see those that do.
			news bool
			soak time.Duration
		}{{"Soaking", 0, false, time.Hour}, {"Waiting", 5, false, time.Hour}, {"Moving", 9, true, time.Hour}, {"Turning", 0, true, 0}} {
			b.Run(fmt.Sprintf("%s/nodes=%d", of.name, n), func(b *testing.B) {
				benchmarkStep(b, n, of.behind, of.news, of.soak)
			})
		}
	}
}

func benchmarkStep(b *testing.B, n, behind int, news bool, fifth time.Duration) {
	f := newFleet(n)
	f.fetchAll()
	spec := model.RolloutSpec{Release: after, Selector: "env=prod"}
	for wave := range 10 {
		soak := time.Duration(0)
		if wave == 4 {
			soak = fifth
		}
		spec.Waves = append(spec.Waves, model.WaveSpec{Percent: 10 * (wave + 1), Soak: soak,
			Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.5, MinSamples: 1}}}})
	}
	r := New("r", model.LayerGlobal, spec, by, epoch)
	now := epoch
	for r.Phase != model.RolloutMoving || r.Wave != 4 {
		now = now.Add(time.Second)
		next, actions, err := Step(r, f.observe(r), now)
		if err != nil {
			b.Fatal(err)
		}
		if r = next; r.Phase.Ended() {
			b.Fatalf("it ended: %s", r.Message)
		}
		f.carryOut(actions)
		f.serveAll()
		for _, v := range f.nodes {
			v.Stats = model.Statistics{Chain: v.Serving, Requests: 10}
		}
	}
	nodes := r.Waves[4].Nodes
	for _, id := range nodes[:len(nodes)*behind/10] {
		v := f.nodes[id]
		v.Serving, v.Ledger = f.chain(before), model.LedgerEntry{Chain: f.chain(after), State: model.ChainFetched}
	}
	event := f.observe(r)
	event.Memo = &Memo{}
	if !news {
		next, _, err := Step(r, event, now)
		if err != nil {
			b.Fatal(err)
		}
		r = next
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Step(r, event, now); err != nil {
			b.Fatal(err)
		}
	}
}
