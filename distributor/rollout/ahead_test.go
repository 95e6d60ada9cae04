package rollout

import (
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Who is told to fetch ahead is who the next wave takes, if nothing changes until then.
func TestAheadIsTheNextWave(t *testing.T) {
	for name, waves := range map[string][]model.WaveSpec{
		"percent":  {{Percent: 20, Soak: time.Minute}, {Percent: 50, Soak: time.Minute}, {Percent: 100}},
		"count":    {{Nodes: 1, Soak: time.Minute}, {Nodes: 4, Soak: time.Minute}, {Nodes: 5}},
		"selector": {{Selector: "zone=a", Soak: time.Minute}, {Selector: "zone=b"}},
		"nobody":   {{Percent: 50, Soak: time.Minute}, {Percent: 50, Soak: time.Minute}, {Percent: 100}},
		"cohort":   {{Nodes: 1, Cohort: model.Cohort{Percent: 10}, Soak: time.Minute}, {Percent: 50, Soak: time.Minute}, {Percent: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(10)
			f.nodes["n3"].Unloadable, f.nodes["n4"].HeldBy = "it lacks an import", "other"
			d := newDrive(t, f, waves...)
			var memo Memo
			if ids, err := Ahead(d.r, f.observe(d.r).Nodes, &memo); ids != nil || err != nil {
				t.Errorf("before it has begun: %v, %v", ids, err)
			}
			d.toSoaking()
			for d.r.Wave+1 < len(waves) {
				picture := f.observe(d.r).Nodes
				ahead, err := Ahead(d.r, picture, &memo)
				if err != nil {
					t.Fatal(err)
				}
				again, _ := Ahead(d.r, picture, &memo)
				if wave := d.r.Wave; !slices.Equal(ahead, again) || wave != d.r.Wave {
					t.Errorf("asked again: %v, not %v", again, ahead)
				}
				begins := d.r.Wave + 1
				for d.r.Phase == model.RolloutSoaking && d.r.Wave < begins {
					d.look(time.Minute)
				}
				moved := slices.DeleteFunc(slices.Clone(d.r.Waves[begins].Nodes), func(id string) bool {
					return d.r.Nodes[id].Cohort == model.Cohort{} && slices.Contains(d.r.Waves[0].Nodes, id)
				})
				if !slices.Equal(ahead, moved) {
					t.Errorf("%v were told to fetch ahead, and wave %d takes %v", ahead, begins+1, moved)
				}
				for d.r.Phase != model.RolloutSoaking && !d.r.Phase.Ended() {
					f.serveAll()
					d.look(time.Second)
				}
			}
			if ids, err := Ahead(d.r, f.observe(d.r).Nodes, &memo); ids != nil || err != nil {
				t.Errorf("after its last wave: %v, %v", ids, err)
			}
		})
	}
}
