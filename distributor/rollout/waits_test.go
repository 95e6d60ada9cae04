package rollout

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

func TestWhatItWaitsFor(t *testing.T) {
	for _, test := range []struct {
		state string
		say   func(*Observe)
		want  model.RolloutWait
	}{
		{"Pending", func(o *Observe) { o.Blocked = "other" }, model.WaitsForRollout},
		{"Pending", frozen, model.WaitsForFreeze},
		{"Fetching", frozen, model.WaitsForFreeze},
		{"Fetching", nil, model.WaitsForNothing},
		{"Capped", frozen, model.WaitsForFreeze},
		{"Capped", nil, model.WaitsForNothing}, // but for its own nodes
		{"Capped", func(o *Observe) {
			o.Unsettled = 1
			for i := range o.Nodes {
				if v := &o.Nodes[i]; v.Assigned == after {
					v.Serving, v.Ledger = v.TargetChain, model.LedgerEntry{Chain: v.TargetChain, State: model.ChainServing}
				}
			}
		}, model.WaitsForRoom},
		{"Moving", nil, model.WaitsForNothing},
		{"Soaking", nil, model.WaitsForNothing},
		{"Soaking", frozen, model.WaitsForNothing}, // its soak is not over
		{"Unapproved", nil, model.WaitsForApproval},
		{"Unapproved", frozen, model.WaitsForApproval},
		{"Approved", frozen, model.WaitsForFreeze},
		{"PausedUnapproved", nil, model.WaitsForNothing}, // for whoever resumes it
		{"RollingBack", frozen, model.WaitsForNothing},
		{"Done", frozen, model.WaitsForNothing},
	} {
		d := begin(t)
		states[test.state](d)
		event := d.fleet.observe(d.r)
		if test.say != nil {
			test.say(&event)
		}
		next, _, err := Step(d.r, event, d.now.Add(1))
		if err != nil || next.Waits != test.want {
			t.Errorf("%s waits for %q, %v; want %q: %s", test.state, next.Waits, err, test.want, next.Message)
		}
	}
}
