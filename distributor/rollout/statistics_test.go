package rollout

import (
	"reflect"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestReadStatistics(t *testing.T) {
	gate := model.StatisticGate{Statistics: map[string]string{"orders": "wasmcustom.orders"}, Expression: "value.orders < 1.0"}
	with := func(chain string, value, increase float64) model.Statistics {
		return model.Statistics{Chain: chain, Values: map[string]model.StatisticValue{"wasmcustom.orders": {Value: value, Increase: increase}}}
	}
	d := newDrive(t, newFleet(3), model.WaveSpec{Nodes: 2, Soak: time.Minute, Gates: []model.GateSpec{{Statistic: &gate}}}, model.WaveSpec{Percent: 100})
	d.toSoaking()
	moved := d.r.Waves[0].Nodes
	read := func() (model.StatisticReading, string) { return ReadStatistics(d.r, d.fleet.observe(d.r).Nodes, gate) }
	for _, n := range d.fleet.nodes {
		n.Stats = with(chainOf(before), 1000, 1000) // what has not moved has no part in it
	}
	if _, missing := read(); missing != "n1 has not reported yet" && missing != moved[0]+" has not reported yet" {
		t.Errorf("of another chain: %q", missing)
	}
	d.fleet.nodes[moved[0]].Stats = with(chainOf(after), 5, 2)
	d.fleet.nodes[moved[1]].Stats = model.Statistics{Chain: chainOf(after)}
	if _, missing := read(); missing != moved[1]+" reports no statistic wasmcustom.orders" {
		t.Errorf("without it: %q", missing)
	}
	d.fleet.nodes[moved[1]].Stats = with(chainOf(after), -7, -8)
	got, missing := read()
	want := model.StatisticReading{Nodes: 2, Increase: map[string]float64{"orders": -6}, Value: map[string]float64{"orders": -2}, Highest: map[string]float64{"orders": 5}}
	if missing != "" || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %q; want %+v", got, missing, want)
	}

	// The verdict comes with the picture, and decides like any other.
	event := d.fleet.observe(d.r)
	d.now = d.now.Add(time.Second)
	event.Elsewhere = map[int]model.GateReading{0: {Verdict: model.VerdictFail, Detail: "too many orders", At: d.now}}
	d.must(event)
	d.want(model.RolloutRollingBack, 0)
	if last := d.r.Waves[0].Readings[len(d.r.Waves[0].Readings)-1]; last.Gate != "statistic" || last.Detail != "too many orders" {
		t.Errorf("reading %+v", last)
	}
}
