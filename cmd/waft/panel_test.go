package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func TestRolloutPanel(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "edge-2"},
		Spec: &waftv1.RolloutSpec{Waves: []*waftv1.Wave{
			{Nodes: 1}, {Percent: 50, Soak: "10m"}, {Selector: "zone=a", Soak: "1h"}, {Percent: 100},
		}},
		Status: &waftv1.RolloutStatus{
			Phase: "Soaking", Message: "wave 2 soaks", Wave: 2,
			Waves: []*waftv1.WaveStatus{
				{Nodes: []string{"a"}, EndedAt: timestamppb.New(now)},
				{Nodes: []string{"b", "c", "d", "e"}, SoakUntil: timestamppb.New(now.Add(90 * time.Second)), Readings: []*waftv1.GateReading{
					// Of before it was resumed.
					{Gate: "loaded", Verdict: "pass", Detail: "4 nodes serve"}, {Gate: "orders", Verdict: "inconclusive", Detail: "no answer"},
					{Gate: "loaded", Verdict: "pass", Detail: "3 nodes serve"},
				}, Latest: []*waftv1.GateReading{
					{Gate: "errorRatio", Verdict: "inconclusive", Detail: "12 requests are fewer than the 20 that a verdict needs; so far 1 were answered 5xx, the most allowed is 1 %"},
					{Gate: "orders", Verdict: "pass", Detail: "12 is within"},
				}},
			},
			Nodes: []*waftv1.NodeProgress{
				{Node: "a", State: "Serving"}, {Node: "b", State: "Serving"}, {Node: "c", State: "Serving"}, {Node: "d", State: "Serving"}, {Node: "e", State: "Away"},
			},
		},
	}
	want := []string{
		"edge-2  Soaking: wave 2 soaks",
		"wave 1  ████████████████████  1 serving; complete",
		"wave 2  ███████████████·····  3 serving, 1 away; soaks for another 1m30s",
		"wave 3                        then those with zone=a, soak 1h",
		"wave 4                        then all",
		"gate    loaded: pass: 3 nodes serve",
		"gate    orders: pass: 12 is within",
		"gate    errorRatio: inconclusive: 12 requests are fewer than the 20 that a verdict needs; so far 1 were answered 5xx, the most allowed is 1 %",
	}
	if got := rolloutPanel(r, now); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWaveBarHasACellForEachState(t *testing.T) {
	nodes, states := []string{}, map[string]string{}
	for i := range 1000 {
		id := string(rune(i + 1))
		nodes, states[id] = append(nodes, id), "Serving"
	}
	states[nodes[7]], states[nodes[8]] = "Failed", "Moving"
	if got := waveBar(nodes, states); len([]rune(got)) != barCells || !strings.Contains(got, "x") || !strings.Contains(got, "▒") {
		t.Errorf("bar %q", got)
	}
	if got := waveBar(nil, nil); got != strings.Repeat(" ", barCells) {
		t.Errorf("of no nodes: %q", got)
	}
}

func TestPanel(t *testing.T) {
	var b strings.Builder
	p := &panel{w: &b, columns: 10, rows: 3}
	p.update([]string{"a line that stays"}, []string{"one", "a line that is too long", "three, for which there is no room"})
	p.update([]string{"more\x1b[2J"}, []string{"two"})
	p.update(nil, nil)
	want := "a line that stays\none\na line th\n" + "\x1b[2A\r\x1b[Jmore\\x1b[2J\ntwo\n" + "\x1b[1A\r\x1b[J"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
	b.Reset()
	plain := &panel{w: &b}
	plain.update([]string{"stays"}, []string{"of the moment"})
	if b.String() != "stays\n" {
		t.Errorf("where there is no terminal: %q", b.String())
	}
}
