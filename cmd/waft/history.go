package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func newRolloutHistory() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "Show every decision of a rollout, with the readings of its gates",
		Long: `Show every decision of a rollout, with the readings of its gates.

Each decision stands below the readings that led to it, which say gate for their phase. In JSON and YAML a decision holds them, as readings; those that
no decision has followed yet stand beside the history.`,
		Example: "  waft rollout history edge-auth-1-2",
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				r, err := c.Rollouts.GetRollout(ctx, &waftv1.GetRolloutRequest{Name: args[0]})
				if err != nil {
					return err
				}
				decisions, open := decisionsOf(r.GetStatus())
				list, err := decisionItems(decisions, open)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), list, func(t *table) { drawHistory(t, decisions, open) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

// waveReading is a reading with the wave that it is of, counted from 1.
type waveReading struct {
	*waftv1.GateReading
	wave int32
}

// decision is one line of a rollout's history, with the readings since the line before.
type decision struct {
	*waftv1.Transition
	readings []waveReading
}

// decisionsOf joins the history of a rollout with what its gates have read, and gives the readings that no decision has followed yet. The order of the history is that in
// which things were decided, whatever the clock did, so it stays: a reading comes before the first decision of its wave that is later, or the last of those of the same moment,
// and at the latest before the first of a later wave.
func decisionsOf(s *waftv1.RolloutStatus) (decisions []decision, open []waveReading) {
	var readings []waveReading
	for i, w := range s.GetWaves() {
		for _, g := range w.GetReadings() {
			readings = append(readings, waveReading{g, int32(i + 1)})
		}
	}
	history := s.GetHistory()
	for i, t := range history {
		d := decision{Transition: t}
		for len(readings) > 0 && (readings[0].wave < t.GetWave() || readings[0].wave == t.GetWave() && ledTo(readings[0].GateReading, history, i)) {
			d.readings, readings = append(d.readings, readings[0]), readings[1:]
		}
		decisions = append(decisions, d)
	}
	return decisions, readings
}

// ledTo says whether a reading of its wave stands before a decision, which is that of the index, if it stands before none that is earlier.
func ledTo(r *waftv1.GateReading, history []*waftv1.Transition, i int) bool {
	of := func(i int) int32 { return history[i].GetWave() }
	if i == 0 || of(i-1) != of(i) {
		return false // that the wave begins, which none of its readings can have led to
	}
	read, decided := r.GetAt().AsTime(), history[i].GetAt().AsTime()
	more := i+1 < len(history) && of(i+1) == of(i) && history[i+1].GetAt().AsTime().Equal(decided)
	return read.Before(decided) || read.Equal(decided) && !more
}

func drawHistory(t *table, decisions []decision, open []waveReading) {
	t.row("TIME", "PHASE", "WAVE", "BY", "WHAT")
	for _, d := range decisions {
		drawReadings(t, d.readings)
		wave := "-"
		if d.GetWave() > 0 {
			wave = fmt.Sprint(d.GetWave())
		}
		t.row(clock(d.GetAt()), d.GetPhase(), wave, dash(d.GetActor()), d.GetMessage())
	}
	drawReadings(t, open)
}

func drawReadings(t *table, readings []waveReading) {
	for _, r := range readings {
		t.row(clock(r.GetAt()), "gate", r.wave, r.GetGate(), r.GetVerdict()+": "+r.GetDetail())
	}
}

// clock is a moment as people read it where they are.
func clock(at *timestamppb.Timestamp) string { return at.AsTime().Local().Format(time.DateTime) }

// decisionItems is the same for programs.
func decisionItems(decisions []decision, open []waveReading) (map[string]any, error) {
	history := make([]map[string]any, 0, len(decisions))
	for _, d := range decisions {
		item, err := membersOf(d.Transition)
		if err != nil {
			return nil, err
		}
		if len(d.readings) > 0 {
			if item["readings"], err = readingItems(d.readings); err != nil {
				return nil, err
			}
		}
		history = append(history, item)
	}
	out := map[string]any{"history": history}
	if len(open) > 0 {
		list, err := readingItems(open)
		if err != nil {
			return nil, err
		}
		out["readings"] = list
	}
	return out, nil
}

func readingItems(readings []waveReading) ([]map[string]any, error) {
	var list []map[string]any
	for _, r := range readings {
		item, err := membersOf(r.GateReading)
		if err != nil {
			return nil, err
		}
		item["wave"] = r.wave
		list = append(list, item)
	}
	return list, nil
}
