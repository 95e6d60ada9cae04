package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// readingsText are readings as a person reads them, without their time.
func readingsText(readings []model.GateReading) string {
	var lines []string
	for _, r := range readings {
		lines = append(lines, r.Gate+" "+string(r.Verdict)+" "+r.Detail)
	}
	return strings.Join(lines, "\n")
}

func wantReadings(t *testing.T, got []model.GateReading, want ...string) {
	t.Helper()
	if text := readingsText(got); text != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", text, strings.Join(want, "\n"))
	}
}

// threeGates are a wave that soaks for 20 s, with three gates of which one is judged at the end.
func threeGates(more ...model.GateSpec) model.WaveSpec {
	growth := int64(64 << 20)
	return model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Gates: append([]model.GateSpec{
		{ErrorRatio: &model.ErrorRatioGate{Max: 0.01}}, {Reloads: &model.ReloadsGate{}}, {Growth: &model.GrowthGate{MaxMemory: &growth}},
	}, more...)}
}

// says has a node report of the chain that it serves.
func (d *drive) says(id string, requests, errors, reloads int64) {
	n := d.fleet.nodes[id]
	n.Stats = model.Statistics{Chain: n.Serving, Requests: requests, Errors: errors,
		Health: model.Health{Known: true, Reloads: reloads, Memory: 20 << 20, MemoryBefore: 10 << 20}}
}

// While a wave moves and soaks it shows what its gates say so far, and none of that is a reason to write.
func TestLatestReadings(t *testing.T) {
	d := newDrive(t, newFleet(2), threeGates(), model.WaveSpec{Percent: 100})
	d.toMoving()
	id := d.first()
	wantReadings(t, d.latest, "loaded inconclusive 0 of 1 node serve so far",
		"errorRatio inconclusive 0 requests are fewer than the 20 that a verdict needs; so far 0 were answered 5xx, the most allowed is 1 %",
		"reloads inconclusive nothing is known of "+id+notMeasured, "growth inconclusive nothing is known of "+id+notMeasured)
	d.fleet.serveAll()
	d.look(time.Second)
	d.says(id, 12, 3, 0)
	was := d.r
	d.look(time.Second)
	memory := id + " has 10 MiB more memory in Envoy's allocator (20 MiB, before it was 10 MiB), the most allowed is 64 MiB"
	wantReadings(t, d.latest,
		"errorRatio inconclusive 12 requests are fewer than the 20 that a verdict needs; so far 3 were answered 5xx, the most allowed is 1 %",
		"reloads pass VMs were loaded again, or a panic was caught in one, 0 times, the most allowed is 0",
		"growth inconclusive it is judged at the end of the soak; so far "+memory)
	next, _, err := Step(d.r, d.fleet.observe(d.r), d.now.Add(time.Second))
	if err != nil || Changed(was, next) || len(next.Latest) != 3 {
		t.Errorf("that gates were read is written (%v), or is not told: %v", Changed(was, next), next.Latest)
	}
	if asJSON(next.Latest) == asJSON(nil) || strings.Contains(asJSON(next), "12 requests") {
		t.Errorf("it is stored: %s", asJSON(next))
	}
	d.says(id, 100, 1, 0)
	d.look(20 * time.Second)
	d.want(model.RolloutMoving, 1)
	if strings.Contains(readingsText(d.latest), "errorRatio") {
		t.Errorf("the next wave shows the gates of the one before: %s", readingsText(d.latest))
	}
	wantReadings(t, d.r.Waves[0].Readings, "loaded pass 1 node serves",
		"errorRatio pass 1 of 100 requests were answered 5xx (1 %), the most allowed is 1 %",
		"reloads pass VMs were loaded again, or a panic was caught in one, 0 times, the most allowed is 0", "growth pass "+memory)
}

// Whoever is asked for an approval, or waits for the end of a freeze, sees by what; once, however long it takes.
func TestReadingsAreKeptWhenAWaitBegins(t *testing.T) {
	for name, gates := range map[string][]model.GateSpec{"an approval": {{Approval: &model.ApprovalGate{}}}, "the end of a freeze": nil} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(2), threeGates(gates...), model.WaveSpec{Percent: 100})
			d.toSoaking()
			wait := func() {
				d.now = d.now.Add(10 * time.Second)
				event := d.fleet.observe(d.r)
				if gates == nil {
					frozen(&event)
				}
				d.must(event)
			}
			d.says(d.first(), 100, 1, 0)
			wait()
			if kept := d.r.Waves[0].Readings; len(kept) != 1 || !d.r.Waves[0].WaitsSince.IsZero() {
				t.Fatalf("before the end of the soak %v is kept", kept)
			}
			wait()
			since := d.now
			d.want(model.RolloutSoaking, 0)
			if text := readingsText(d.r.Waves[0].Readings); !strings.Contains(text, "errorRatio pass 1 of 100 requests") || !strings.Contains(text, "growth pass") {
				t.Fatalf("kept is\n%s", text)
			}
			kept := len(d.r.Waves[0].Readings)
			for i := range int64(20) {
				d.says(d.first(), 200+100*i, i%2, 0)
				wait()
			}
			if got := len(d.r.Waves[0].Readings); got != kept || !d.r.Waves[0].WaitsSince.Equal(since) {
				t.Errorf("while it waits since %s, %d readings become %d", d.r.Waves[0].WaitsSince, kept, got)
			}
			if !strings.Contains(readingsText(d.latest), "errorRatio pass 1 of 2100 requests") {
				t.Errorf("shown is\n%s", readingsText(d.latest))
			}
		})
	}
}

// What all the gates said when the wave failed is kept, whichever of them, or which node, was at fault.
func TestReadingsAreKeptWhenAWaveFails(t *testing.T) {
	for name, test := range map[string]struct {
		fails func(d *drive, id string)
		want  []string
	}{
		"a gate": {func(d *drive, id string) { d.says(id, 100, 0, 2) }, []string{"errorRatio pass 0 of 100", "reloads fail VMs", "growth inconclusive"}},
		"two gates": {func(d *drive, id string) { d.says(id, 100, 50, 2) },
			[]string{"errorRatio fail 50 of 100", "reloads fail VMs", "growth inconclusive"}},
		"a node": {func(d *drive, id string) { d.says(id, 100, 0, 0); d.fleet.nodes[id].Restarts++ },
			[]string{"errorRatio pass 0 of 100", "reloads pass VMs", "growth inconclusive", "loaded fail n"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(2), threeGates(), model.WaveSpec{Percent: 100})
			d.toSoaking()
			test.fails(d, d.first())
			d.look(time.Second)
			d.want(model.RolloutRollingBack, 0)
			got := d.r.Waves[0].Readings[1:] // without that of the beginning of the soak
			if len(got) != len(test.want) {
				t.Fatalf("kept is\n%s", readingsText(got))
			}
			for i, want := range test.want {
				if !strings.HasPrefix(readingsText(got[i:i+1]), want) {
					t.Errorf("reading %d is %s, want %s", i, readingsText(got[i:i+1]), want)
				}
			}
			if len(d.latest) != 0 {
				t.Errorf("on the way back it shows %v", d.latest)
			}
		})
	}
}

// The deadline fails a wave as a node does.
func TestReadingsAreKeptWhenAWaveIsLate(t *testing.T) {
	d := newDrive(t, newFleet(2), threeGates(), model.WaveSpec{Percent: 100})
	d.toMoving()
	for range model.DefaultWaveDeadline / MaxGap {
		d.look(MaxGap)
	}
	d.want(model.RolloutRollingBack, 0)
	if text := readingsText(d.r.Waves[0].Readings); !strings.Contains(text, "errorRatio inconclusive") || !strings.Contains(text, "loaded fail not serving by the deadline") {
		t.Errorf("kept is\n%s", text)
	}
}

// A wave that pauses since none of its nodes can be counted keeps what its other gates said, too.
func TestReadingsOfAWaveThatNobodyCountsIn(t *testing.T) {
	d := begin(t)
	states["InconclusiveFetching"](d)
	d.want(model.RolloutPaused, 0)
	var gates []string
	for _, reading := range d.r.Waves[0].Readings {
		gates = append(gates, reading.Gate)
	}
	if !slices.Equal(gates, []string{"errorRatio", gateLoaded}) {
		t.Errorf("kept are the readings of %v", gates)
	}
}
