package main

import (
	"fmt"
	"strings"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// drawPlan is a plan as a table: its waves node by node, who is left out, and what changes in the chains.
func drawPlan(t *table, p *waftv1.RolloutPlan) {
	t.row("WAVE", "NODE", "FROM", "TO", "NOTE")
	for i, w := range p.GetWaves() {
		for _, n := range w.GetNodes() {
			t.row(fmt.Sprint(i+1), n.GetNode(), chainName(n.GetFrom()), chainName(n.GetTo()), noteOf(cohortText(w.GetCohort()), noteOf(n.GetReason(), n.GetLess())))
		}
		for _, note := range w.GetNotes() {
			t.row(fmt.Sprint(i+1), "–", "", "", note)
		}
		if len(w.GetNodes()) == 0 {
			t.row(fmt.Sprint(i+1), "–", "", "", "takes no node")
		}
	}
	for _, n := range p.GetPassedOver() {
		t.row("–", n.GetNode(), chainName(n.GetFrom()), chainName(n.GetTo()), "waits for a wave without a cohort: "+n.GetReason())
	}
	for _, n := range p.GetLeftOut() {
		t.row("–", n.GetNode(), chainName(n.GetFrom()), chainName(n.GetTo()), n.GetReason())
	}
	for _, c := range p.GetChanges() {
		t.row("")
		t.row(fmt.Sprintf("%s → %s", chainName(c.GetFrom()), chainName(c.GetTo())))
		for _, line := range changeLines(c.GetFilters()) {
			t.row("  " + line)
		}
	}
	if p.GetWaitsFor() != "" {
		t.row(fmt.Sprintf("it would wait for rollout/%s, which shares nodes", p.GetWaitsFor()))
	}
	if p.GetFrozen() != "" {
		t.row(fmt.Sprintf("it would wait: %s", p.GetFrozen()))
	}
	if p.GetTakesBack() != "" {
		t.row(fmt.Sprintf("rollout/%s would take back", p.GetTakesBack()))
	}
	t.row(fmt.Sprintf("%s, nothing was changed", p.GetRelease()))
}

// changeLines are what changes in a chain, filter by filter.
func changeLines(filters []*waftv1.FilterChange) []string {
	if len(filters) == 0 {
		return []string{"nothing changes"}
	}
	var lines []string
	for _, f := range filters {
		lines = append(lines, f.GetChange()+" "+f.GetFilter())
		for _, field := range f.GetFields() {
			lines = append(lines, "  "+fieldChange(field))
		}
	}
	return lines
}

// fieldChange is one line of a difference.
func fieldChange(f *waftv1.FieldChange) string {
	var b strings.Builder
	b.WriteString(f.GetField() + ": ")
	switch {
	case f.GetFrom() == "":
		b.WriteString(f.GetTo())
	case f.GetTo() == "":
		b.WriteString(f.GetFrom() + " → nothing")
	default:
		b.WriteString(f.GetFrom() + " → " + f.GetTo())
	}
	if f.GetLayer() != "" {
		b.WriteString("  (" + f.GetLayer() + ")")
	}
	return b.String()
}

// chainName is a chain's hash as people read it.
func chainName(hash string) string {
	if hash == "" {
		return "no chain"
	}
	return short(hash)
}
