package rollout

import (
	"fmt"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// BenchmarkStep takes one decision about a fleet in the middle of a rollout.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			f := newFleet(n)
			f.fetchAll()
			r := New("r", model.LayerGlobal, model.RolloutSpec{Release: after, Selector: "env=prod", Waves: []model.WaveSpec{{Percent: 50}, {Percent: 100, Soak: time.Hour}}}, by, epoch)
			now := epoch
			for r.Phase != model.RolloutSoaking || r.Wave != 1 {
				now = now.Add(time.Second)
				next, actions, err := Step(r, f.observe(r), now)
				if err != nil {
					b.Fatal(err)
				}
				r = next
				f.carryOut(actions)
				f.serveAll()
			}
			event := f.observe(r)
			for b.Loop() {
				if _, _, err := Step(r, event, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
