package rollout

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// TestForeseenIsWhatHappens asks before each step what comes next for each node: until a node is moved that is the wave that takes it in the end, and afterwards nothing.
func TestForeseenIsWhatHappens(t *testing.T) {
	f := newFleet(9)
	f.nodes["n1"].Unloadable = "it lacks an import"
	f.nodes["n3"].Isolated = "its way back failed"
	f.nodes["n4"].Connected, f.nodes["n4"].Silent = false, SilenceGrace+1
	d := newDrive(t, f, model.WaveSpec{Nodes: 1}, model.WaveSpec{Selector: "zone=b"}, model.WaveSpec{Percent: 80})
	f.fetchAll()
	said := map[string]int{}
	pending := d.r
	for range 20 {
		if d.r.Phase.Ended() {
			break
		}
		foreseen, err := Foresee(d.r, f.observe(d.r).Nodes)
		if err != nil {
			t.Fatal(err)
		}
		for id := range f.nodes {
			next, is := foreseen[id]
			was, known := said[id]
			switch moved := moved(d.r.Nodes[id]); {
			case moved && is:
				t.Errorf("%s: %s is moved, and %+v is foreseen", d.r.Phase, id, next)
			case !moved && !is:
				t.Errorf("%s: nothing is foreseen for %s", d.r.Phase, id)
			case is && known && was != next.Wave:
				t.Errorf("%s: wave %d is foreseen for %s, and it was %d", d.r.Phase, next.Wave, id, was)
			case is && next.Wave >= 0 && (next.To != chainOf(after) || next.From != chainOf(before)):
				t.Errorf("%s goes from %q to %q", id, next.From, next.To)
			case is && (next.Wave < 0) != (next.To == ""), is && next.Wave < 0 && next.Reason == "":
				t.Errorf("%s: %+v", id, next)
			}
			if is {
				said[id] = next.Wave
			}
		}
		d.look(MaxGap)
		f.serveAll()
		if f.nodes["n2"].HeldBy == "" {
			f.nodes["n2"].HeldBy = "other" // from now on it is not taken
			delete(said, "n2")
		}
	}
	d.want(model.RolloutDone, 2)
	if len(said) != len(f.nodes) {
		t.Fatalf("foreseen: %v", said)
	}
	taken := 0
	for id, wave := range said {
		if p, held := d.r.Nodes[id]; wave >= 0 && (!held || p.Wave != wave) || wave < 0 && held && moved(p) {
			t.Errorf("wave %d was foreseen for %s, which is %+v", wave, id, p)
		}
		if wave >= 0 {
			taken++
		}
	}
	if taken != 5 {
		t.Errorf("%d nodes were taken: %v", taken, said)
	}

	// One that another rollout holds is free by the time at which a rollout that waits begins.
	foreseen, err := Foresee(pending, f.observe(pending).Nodes)
	if err != nil || foreseen["n2"].Wave < 0 || foreseen["n1"].Wave >= 0 || foreseen["n3"].Wave >= 0 {
		t.Errorf("%+v, %v", foreseen, err)
	}
}

// The nodes of a wave are fixed when it begins: until they are moved they are foreseen in it, and one that would belong to it by now is left to a later one.
func TestForeseenWhileAWaveFetches(t *testing.T) {
	f := newFleet(4)
	d := newDrive(t, f, model.WaveSpec{Selector: "zone=b"}, model.WaveSpec{Percent: 100})
	d.look(MaxGap)
	d.want(model.RolloutFetching, 0)
	f.nodes["n1"].Labels = map[string]string{"env": "prod", "zone": "b"}
	foreseen, err := Foresee(d.r, f.observe(d.r).Nodes)
	for id, wave := range map[string]int{"n1": 1, "n2": 0, "n3": 1, "n4": 0} {
		if next, is := foreseen[id]; err != nil || !is || next.Wave != wave || next.To != chainOf(after) {
			t.Errorf("%s: %+v, %v", id, next, err)
		}
	}
}

// While a rollout takes nodes back, those go to what they had that have not proved it.
func TestForeseenOnTheWayBack(t *testing.T) {
	d := newDrive(t, newFleet(3), oneThenAll...)
	d.toSoaking()
	d.must(RollBack{By: by})
	foreseen, err := Foresee(d.r, d.fleet.observe(d.r).Nodes)
	if next := foreseen[d.first()]; err != nil || len(foreseen) != 1 || !next.Back || next.To != chainOf(before) || next.Wave != -1 {
		t.Errorf("%s: %+v, %v", d.r.Phase, foreseen, err)
	}
}

func TestForeseeingChangesNothing(t *testing.T) {
	d := newDrive(t, newFleet(3), oneThenAll...)
	d.toSoaking()
	was := asJSON(d.r)
	if _, err := Foresee(d.r, d.fleet.observe(d.r).Nodes); err != nil || asJSON(d.r) != was {
		t.Errorf("the rollout changed, or %v", err)
	}
	d.r.Spec.Selector = "=="
	if _, err := Foresee(d.r, nil); err == nil {
		t.Error("a selector that does not parse was foreseen with")
	}
}
