package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// A node without an agent is taken after those with one, is waited for, and its rejection fails the wave; the rollout says that it gets less.
func TestNodeWithoutAgent(t *testing.T) {
	bare := func(t *testing.T) *drive {
		d := newDrive(t, newFleet(2), oneThenAll...)
		d.fleet.nodes["n1"].Unproved = true
		d.fleet.fetchAll()
		d.look(0)
		d.fleet.serve("n2")
		d.look(time.Second)
		d.look(20 * time.Second)
		d.want(model.RolloutMoving, 1)
		if p := d.r.Nodes["n2"]; p.Reason != "" || p.State != model.NodeServing {
			t.Errorf("the node with an agent stands as %+v", p)
		}
		return d
	}
	d := bare(t)
	d.fleet.serve("n1")
	d.look(time.Second)
	d.want(model.RolloutDone, 1)
	if p := d.r.Nodes["n1"]; p.State != model.NodeServing || p.Reason != reasonUnproved {
		t.Errorf("the node without one stands as %+v", p)
	}

	d = bare(t)
	n := d.fleet.nodes["n1"]
	n.Ledger = model.LedgerEntry{Chain: d.fleet.chainOn(n), State: model.ChainRejected, Final: true, Reason: "Unable to create Wasm plugin"}
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 1)
	if !strings.Contains(d.r.Message, "Unable to create") {
		t.Errorf("the message is %q", d.r.Message)
	}
}
