package main

import (
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// A plan is node by node what each wave would do, who is left out and why, and what changes in the chains, field by field with the layer.
func TestPlanAsItIsShown(t *testing.T) {
	hash := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	p := &waftv1.RolloutPlan{
		Release: "edge@" + hash("2"),
		Waves: []*waftv1.PlannedWave{
			{
				Nodes:  []*waftv1.PlannedNode{{Node: "a", From: hash("a"), To: hash("b")}},
				Cohort: &waftv1.Cohort{Percent: 10}, Notes: []string{"the gate watchdog sees the whole node"},
			},
			{},
			{Nodes: []*waftv1.PlannedNode{
				{Node: "b", To: hash("b"), Less: "no proof that it serves"},
				{Node: "c", From: hash("a"), To: hash("b"), Reason: "was away when its wave started; it converges when it returns"},
			}},
		},
		PassedOver: []*waftv1.PlannedNode{{Node: "d", From: hash("a"), To: hash("b"), Reason: "it has Envoy 1.36.4"}},
		LeftOut:    []*waftv1.PlannedNode{{Node: "e", From: hash("a"), Reason: "is isolated: no VM"}},
		Changes: []*waftv1.ChainChange{
			{To: hash("b"), Filters: []*waftv1.FilterChange{{Filter: "authz", Change: "added", Fields: []*waftv1.FieldChange{
				{Field: "module", To: `"` + hash("9") + `"`, Layer: "global"}, {Field: "priority", To: "0"},
			}}}},
			{From: hash("a"), To: hash("b"), Filters: []*waftv1.FilterChange{
				{Filter: "authz", Change: "changed", Fields: []*waftv1.FieldChange{
					{Field: "config.rules[0].path", From: `"/a"`, To: `"/b"`, Layer: "team/edge"}, {Field: "config.rules[1].path", From: `"/c"`},
				}},
				{Filter: "stamp", Change: "removed"},
			}},
			{From: hash("b"), To: hash("b")},
		},
		WaitsFor: "edge-1", Frozen: "frozen from Fri 16:00 until Mon 08:00: weekend",
	}
	want := `
WAVE   NODE   FROM                  TO                    NOTE
1      a      sha256:aaaaaaaaaaaa   sha256:bbbbbbbbbbbb   10 % of the requests
1      –                                                  the gate watchdog sees the whole node
2      –                                                  takes no node
3      b      no chain              sha256:bbbbbbbbbbbb   no proof that it serves
3      c      sha256:aaaaaaaaaaaa   sha256:bbbbbbbbbbbb   was away when its wave started; it converges when it returns
–      d      sha256:aaaaaaaaaaaa   sha256:bbbbbbbbbbbb   waits for a wave without a cohort: it has Envoy 1.36.4
–      e      sha256:aaaaaaaaaaaa   no chain              is isolated: no VM

no chain → sha256:bbbbbbbbbbbb
  added authz
    module: "` + hash("9") + `"  (global)
    priority: 0

sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb
  changed authz
    config.rules[0].path: "/a" → "/b"  (team/edge)
    config.rules[1].path: "/c" → nothing
  removed stamp

sha256:bbbbbbbbbbbb → sha256:bbbbbbbbbbbb
  nothing changes
it would wait for rollout/edge-1, which shares nodes
it would wait: frozen from Fri 16:00 until Mon 08:00: weekend
edge@` + hash("2") + `, nothing was changed
`
	if got := drawn(t, func(t *table) { drawPlan(t, p) }); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}
