package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// lookCapped observes the fleet with a cap that holds for every rollout.
func (d *drive) lookCapped(most FleetCap) {
	d.t.Helper()
	d.now = d.now.Add(time.Second)
	event := d.fleet.observe(d.r)
	event.Cap = most
	d.must(event)
}

// The smaller of the rollout's own cap and that of the fleet holds, of which either may be none, on the way on and on the way back by itself.
func TestFleetCap(t *testing.T) {
	for name, test := range map[string]struct {
		own  int
		all  FleetCap
		want int
		says string
	}{
		"none":                          {0, FleetCap{Fleet: 6}, 6, ""},
		"the rollout's own":             {2, FleetCap{Fleet: 6}, 2, "no more than 2 "},
		"the fleet's":                   {0, FleetCap{Cap: model.Cap{Nodes: 2}}, 2, "no more than 2 "},
		"the fleet's, which is smaller": {5, FleetCap{Cap: model.Cap{Nodes: 2}}, 2, "no more than 2 "},
		"the rollout's, which is":       {1, FleetCap{Cap: model.Cap{Nodes: 2}}, 1, "no more than 1 "},
		"a part of the fleet":           {0, FleetCap{Cap: model.Cap{Percent: 50}, Fleet: 6}, 3, "no more than 50 % "},
		"a part that is less than one":  {0, FleetCap{Cap: model.Cap{Percent: 10}, Fleet: 6}, 1, "no more than 10 % "},
	} {
		t.Run(name, func(t *testing.T) {
			d := capped(t, newFleet(6), test.own, model.WaveSpec{Percent: 100, Soak: time.Hour})
			d.fleet.fetchAll()
			d.lookCapped(test.all)
			if got := d.onTheirWay(); got != test.want {
				t.Fatalf("%d nodes are on their way, want %d\n%s", got, test.want, d.history())
			}
			for range 10 {
				d.fleet.serveAll()
				d.lookCapped(test.all)
			}
			d.want(model.RolloutSoaking, 0)
			d.fleet.nodes["n1"].Restarts++ // it fails, and stays where it is
			d.lookCapped(test.all)
			if got := d.backing(); d.r.Phase != model.RolloutRollingBack || len(got) != test.want {
				t.Errorf("%s, and %v are on their way back; want %d", d.r.Phase, got, test.want)
			}
			if !strings.Contains(d.history(), test.says) || test.says == "" && strings.Contains(d.history(), "no more than") {
				t.Errorf("the history does not say %q:\n%s", test.says, d.history())
			}
		})
	}
}

// Whoever asks for a rollback has not looked at the fleet: where the fleet has a cap, the next look sends nodes back.
func TestPersonsRollbackKeepsToTheFleetsCap(t *testing.T) {
	d := newDrive(t, newFleet(4), model.WaveSpec{Percent: 100, Soak: time.Hour})
	d.toSoaking()
	most := FleetCap{Cap: model.Cap{Nodes: 1}}
	d.must(RollBack{By: by, Cap: most})
	if len(d.actions) > 0 {
		t.Fatalf("nobody has looked at the fleet yet, and %v", d.actions)
	}
	for range 8 {
		d.lookCapped(most)
		if got := d.backing(); len(got) > 1 {
			t.Fatalf("%v are on their way back at once", got)
		}
		d.fleet.serveAll()
	}
	d.want(model.RolloutRolledBack, 0)
}

// A fleet whose nodes come and go writes no line of history for each.
func TestWaitingForAPartOfTheFleetIsToldOnce(t *testing.T) {
	for own, says := range map[int]string{0: "no more than 10 % may", 3: "no more than 3, and 10 %, may"} {
		d := capped(t, newFleet(40), own, model.WaveSpec{Percent: 100})
		d.fleet.fetchAll()
		for fleet := range 30 { // the part is more than 3 of a fleet of 40, and less of one of 29
			d.lookCapped(FleetCap{Cap: model.Cap{Percent: 10}, Fleet: 40 - fleet})
			d.lookCapped(FleetCap{Cap: model.Cap{Percent: 10}, Fleet: 40})
		}
		if got := strings.Count(d.history(), says); got != 1 || strings.Count(d.history(), "no more than") != 1 {
			t.Errorf("%q is told %d times:\n%s", says, got, d.history())
		}
	}
}

// What others do to the fleet keeps no bad release in place: where they take all the room there is, of an undo one node is on its way all the same,
// and of a rollout that moves on, such as one that puts a filter back, none is.
func TestUndoGoesOnWhereOthersTakeTheRoom(t *testing.T) {
	undone := New("bad", model.LayerGlobal, model.RolloutSpec{Release: before, Selector: "env=prod"}, by, epoch)
	restore := map[string]model.ReleaseID{"n1": after, "n2": after, "n3": after}
	spec := model.RolloutSpec{Waves: []model.WaveSpec{{Nodes: 1}, {Percent: 100}}}
	enabling := undone
	enabling.Layer = model.EmergencyLayer("greet")
	for name, test := range map[string]struct {
		r    model.Rollout
		ends bool
	}{
		"an undo":                           {NewUndo("r", undone, restore, spec, by, epoch), true},
		"a rollout that puts a filter back": {NewUndo("r", enabling, restore, spec, by, epoch), false},
		"a rollout":                         {New("r", model.LayerGlobal, model.RolloutSpec{Release: after, Selector: "env=prod", Waves: spec.Waves}, by, epoch), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(3))
			d.r = test.r
			d.fleet.fetchAll()
			for range 20 {
				d.now = d.now.Add(time.Second)
				event := d.fleet.observe(d.r)
				event.Cap, event.Unsettled = FleetCap{Cap: model.Cap{Nodes: 1}}, 2
				d.must(event)
				if got := d.onTheirWay(); got > 1 || got > 0 && !test.ends {
					t.Fatalf("%d nodes are on their way\n%s", got, d.history())
				}
				d.fleet.serveAll()
			}
			if ended := d.r.Phase == model.RolloutDone; ended != test.ends {
				t.Errorf("it is %s: %s\n%s", d.r.Phase, d.r.Message, d.history())
			}
		})
	}
}
