package rollout

import (
	"cmp"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// PlanBack says what RollBack would do with a rollout that has not ended: which nodes go back, all of them in one wave, and which keep the release, since they had nothing
// before. Nodes are those of the view. The error is that of a selector that does not parse.
func PlanBack(r model.Rollout, nodes []NodeView) (Planned, error) {
	m := machine{state: own(r), memo: &Memo{}}
	if err := m.parse(); err != nil {
		return Planned{}, err
	}
	m.see(nodes, nil)
	wave, plan := []PlannedNode{}, Planned{Cohorts: []model.Cohort{{}}}
	for i := range m.seats() {
		id, p, v := m.seated[i].id, &m.seated[i].p, m.seated[i].view
		switch {
		case !moved(*p) || p.State == model.NodeRolledBack:
		case !p.FromGiven:
			plan.LeftOut = append(plan.LeftOut, PlannedNode{ID: id, From: p.Chain, Reason: reasonKeeps})
		default:
			one := PlannedNode{ID: id, From: p.Chain, To: cmp.Or(v.FromChain, p.FromChain)}
			if !Present(v) {
				one.Reason = "is away, and goes back when it returns"
			}
			wave = append(wave, one)
		}
	}
	byID := func(a, b PlannedNode) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(wave, byID)
	slices.SortFunc(plan.LeftOut, byID)
	plan.Waves, plan.Notes = [][]PlannedNode{wave}, [][]string{nil}
	return plan, nil
}
