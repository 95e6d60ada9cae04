package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// The log of an agent says of other chains, too, and of other things.
func TestReadLoads(t *testing.T) {
	const log = `{"time":"2026-11-29T23:00:00Z","level":"INFO","msg":"probed","chain":"a","outcome":"accepted","took":1500000000}
{"level":"INFO","msg":"loaded a module","chain":"a","filter":"one","of":2,"took":1200000000}
{"level":"INFO","msg":"loaded a module","chain":"a","filter":"two","of":2,"took":100000000}
{"time":"2026-11-29T23:00:02Z","level":"INFO","msg":"loaded","chain":"a"}
{"level":"INFO","msg":"something else","chain":"a","took":"an hour"}
{"level":"INFO","msg":"probed","chain":"b","outcome":"accepted","took":9000000000}
no JSON
`
	got, err := readLoads(strings.NewReader(log), "a")
	second := time.Date(2026, 11, 29, 23, 0, 0, 0, time.UTC)
	if want := (loads{probe: 1500 * time.Millisecond, beside: 1300 * time.Millisecond, began: second.Add(-1500 * time.Millisecond), ended: second.Add(2 * time.Second)}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if got, err := readLoads(strings.NewReader(log), "b"); err == nil {
		t.Errorf("of a chain that was not loaded: %+v", got)
	}
}

// Only what Envoys take to load a module is no cost of the rollout: where the agent waits between one step and the next, that is.
func TestWhatASwapCosts(t *testing.T) {
	began := time.Unix(1000, 0)
	at := func(after time.Duration) *timestamppb.Timestamp { return timestamppb.New(began.Add(after)) }
	ended := &waftv1.Rollout{Status: &waftv1.RolloutStatus{History: []*waftv1.Transition{{Phase: "Fetching", At: at(-time.Second)}, {Phase: "Moving", At: at(0)}}}}
	took := loads{probe: 1500 * time.Millisecond, beside: 1300 * time.Millisecond, alone: 1400 * time.Millisecond}
	for _, test := range []struct {
		name         string
		waits        time.Duration
		idle, beyond float64
	}{
		{"at once", 0, 20, 180},
		{"the agent waits ten seconds before the load", 10 * time.Second, 10020, 10180},
	} {
		t.Run(test.name, func(t *testing.T) {
			took := took
			fetched := 100 * time.Millisecond
			loaded := fetched + test.waits + 2820*time.Millisecond
			took.began, took.ended = began.Add(fetched), began.Add(loaded)
			ledger := &waftv1.LedgerEntry{FetchedAt: at(fetched + 5*time.Millisecond), ServingAt: at(loaded + 60*time.Millisecond)}
			load := &openLoop{samples: []sample{
				{began.Add(-time.Second), 2 * time.Millisecond}, {began.Add(time.Second), 30 * time.Millisecond},
				{began.Add(loaded + 10*time.Millisecond), 3 * time.Millisecond}, {began.Add(loaded + swapTail), 4 * time.Millisecond}, {began.Add(loaded + 2*swapTail), time.Second},
			}}
			row, err := swapRow(load, defaultSteady, ended, ledger, took)
			if err != nil {
				t.Fatal(err)
			}
			if row.Idle != test.idle || row.Beyond != test.beyond || row.Delivery != 100 || row.Swapping != 60 || row.Probe != 1500 || row.Beside != 1300 || row.Alone != 1400 {
				t.Errorf("%+v", row)
			}
			if row.Worst != 30 || row.WorstSwap != 4 || row.SteadyWorst != 2 {
				t.Errorf("worst latencies: %+v", row)
			}
		})
	}
	// Loading cannot have taken longer than there was time: what is subtracted would be something else.
	took.began, took.ended = began, began.Add(time.Second)
	if row, err := swapRow(&openLoop{}, defaultSteady, ended, &waftv1.LedgerEntry{FetchedAt: at(0), ServingAt: at(2 * time.Second)}, took); err == nil {
		t.Errorf("%+v", row)
	}
}

// The worst of the swaps counts, in what is told and in the documentation's table.
func TestJudgeSwaps(t *testing.T) {
	good := swap{Total: 3200, Probe: 1500, Beside: 1500, Beyond: 200, Idle: 30, Alone: 1500, SteadyWorst: 9, WorstSwap: 8, Worst: 20}
	slow := good
	slow.Total, slow.Beyond, slow.Idle, slow.Worst = 4000, 1000, 830, 200
	var told, table strings.Builder
	judgeSwaps(&told, []swap{good, slow, good})
	documentSwaps(&table, []swap{good, slow, good})
	for text, wants := range map[string][]string{
		told.String():  {"beyond these two, ms: 1000.00, at most 500: missed", "the agent's own, ms: 830.00, at most 100: missed", "of that: 1.00, at most 2: met", "over that of the steady state, ms: -1.00, at most 15: met", "loading included, ms: 191.00, at most 15: missed"},
		table.String(): {"| figure | target | | | | |\n| --- | --- | --- | --- | --- | --- |\n", "| from the start of the wave to serving, beyond these two, ms | 500 | 200 | 1000 | 200 | missed |\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in:\n%s", want, text)
			}
		}
	}
}
