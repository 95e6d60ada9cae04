package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// Every decision stands below the readings that led to it: those of its wave, or of the wave before where it begins the next. The clock went back by an hour before the third
// wave, which changes nothing of the order.
func TestHistoryHoldsTheReadings(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	at := func(minute int) *timestamppb.Timestamp {
		return timestamppb.New(noon.Add(time.Duration(minute) * time.Minute))
	}
	line := func(minute int, phase string, wave int32, actor, message string) *waftv1.Transition {
		return &waftv1.Transition{At: at(minute), Phase: phase, Wave: wave, Actor: actor, Message: message}
	}
	read := func(minute int, gate, verdict, detail string) *waftv1.GateReading {
		return &waftv1.GateReading{At: at(minute), Gate: gate, Verdict: verdict, Detail: detail}
	}
	status := &waftv1.RolloutStatus{
		History: []*waftv1.Transition{
			line(0, "Pending", 0, "ann", "started"),
			line(0, "Fetching", 1, "waft", "wave 1 takes a"), line(1, "Moving", 1, "waft", "moves"), line(1, "Soaking", 1, "waft", "soaks"),
			line(5, "Paused", 1, "waft", "errorRatio is inconclusive"), line(7, "Soaking", 1, "bea", "resumed"),
			line(9, "Fetching", 2, "waft", "wave 2 takes b"), line(9, "Soaking", 2, "waft", "soaks"),
			line(-50, "Fetching", 3, "waft", "wave 3 takes c"), line(-49, "Soaking", 3, "waft", "soaks"),
		},
		Waves: []*waftv1.WaveStatus{
			{Readings: []*waftv1.GateReading{
				read(1, "loaded", "pass", "1 node serves"), read(5, "errorRatio", "inconclusive", "3 requests are fewer"),
				read(8, "webhook/orders", "pass", "fine"), read(9, "errorRatio", "pass", "0 of 99"),
			}},
			{Readings: []*waftv1.GateReading{read(9, "loaded", "pass", "1 node serves"), read(10, "stuck", "pass", "none")}},
			{Readings: []*waftv1.GateReading{read(-49, "loaded", "pass", "1 node serves"), read(-40, "growth", "inconclusive", "early")}},
		},
	}
	decisions, open := decisionsOf(status)
	var text bytes.Buffer
	table := newTable(&text)
	drawHistory(table, decisions, open)
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	want := `
TIME                  PHASE      WAVE   BY               WHAT
2026-03-01 12:00:00   Pending    -      ann              started
2026-03-01 12:00:00   Fetching   1      waft             wave 1 takes a
2026-03-01 12:01:00   Moving     1      waft             moves
2026-03-01 12:01:00   gate       1      loaded           pass: 1 node serves
2026-03-01 12:01:00   Soaking    1      waft             soaks
2026-03-01 12:05:00   gate       1      errorRatio       inconclusive: 3 requests are fewer
2026-03-01 12:05:00   Paused     1      waft             errorRatio is inconclusive
2026-03-01 12:07:00   Soaking    1      bea              resumed
2026-03-01 12:08:00   gate       1      webhook/orders   pass: fine
2026-03-01 12:09:00   gate       1      errorRatio       pass: 0 of 99
2026-03-01 12:09:00   Fetching   2      waft             wave 2 takes b
2026-03-01 12:09:00   gate       2      loaded           pass: 1 node serves
2026-03-01 12:09:00   Soaking    2      waft             soaks
2026-03-01 12:10:00   gate       2      stuck            pass: none
2026-03-01 11:10:00   Fetching   3      waft             wave 3 takes c
2026-03-01 11:11:00   gate       3      loaded           pass: 1 node serves
2026-03-01 11:11:00   Soaking    3      waft             soaks
2026-03-01 11:20:00   gate       3      growth           inconclusive: early
`
	if got := "\n" + text.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}

	items, err := decisionItems(decisions, open)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := marshalIndented(items)
	if err != nil {
		t.Fatal(err)
	}
	type reading struct {
		Gate, Verdict, Detail, At string
		Wave                      int
	}
	var back struct {
		History []struct {
			Phase, Message, Actor, At string
			Wave                      int
			Readings                  []reading
		}
		Readings []reading
	}
	decoder := json.NewDecoder(strings.NewReader(string(printed)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&back); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	if n := len(back.History); n != len(status.History) || back.History[3].Phase != "Soaking" || back.History[4].Readings == nil {
		t.Fatalf("%d decisions\n%s", n, printed)
	}
	if got := back.History[6].Readings; len(got) != 2 || got[0].Gate != "webhook/orders" || got[0].Wave != 1 || got[1].Verdict != "pass" || got[1].At == "" {
		t.Errorf("wave 2 begins because of %+v", got)
	}
	if got := back.Readings; len(got) != 1 || got[0].Gate != "growth" || got[0].Wave != 3 {
		t.Errorf("open are %+v", got)
	}
}
