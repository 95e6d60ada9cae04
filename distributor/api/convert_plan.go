package api

import (
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/service"
)

func planProto(p service.RolloutPlan) *waftv1.RolloutPlan {
	out := &waftv1.RolloutPlan{Release: p.Release.String(), LeftOut: plannedNodes(p.LeftOut), PassedOver: plannedNodes(p.PassedOver), WaitsFor: p.WaitsFor, Frozen: p.Frozen, TakesBack: p.TakesBack}
	for i, w := range p.Waves {
		out.Waves = append(out.Waves, &waftv1.PlannedWave{Nodes: plannedNodes(w), Cohort: cohortProto(p.Cohorts[i]), Notes: p.Notes[i]})
	}
	for _, c := range p.Changes {
		change := &waftv1.ChainChange{From: c.From, To: c.To}
		for _, f := range c.Filters {
			change.Filters = append(change.Filters, filterChangeProto(f))
		}
		out.Changes = append(out.Changes, change)
	}
	return out
}

func plannedNodes(nodes []service.PlannedNode) []*waftv1.PlannedNode {
	out := make([]*waftv1.PlannedNode, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, &waftv1.PlannedNode{Node: n.ID, Reason: n.Reason, From: n.From, To: n.To, Less: n.Less})
	}
	return out
}

func filterChangeProto(f service.FilterChange) *waftv1.FilterChange {
	out := &waftv1.FilterChange{Filter: f.Filter, Change: "changed"}
	switch {
	case f.Added:
		out.Change = "added"
	case f.Removed:
		out.Change = "removed"
	}
	for _, field := range f.Fields {
		out.Fields = append(out.Fields, &waftv1.FieldChange{Field: field.Path, From: field.From, To: field.To, Layer: string(field.Layer)})
	}
	return out
}
