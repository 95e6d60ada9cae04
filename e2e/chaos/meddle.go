package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// meddleEvery is how long the second operator waits at the least, and twice that at the most.
	meddleEvery = 300 * time.Millisecond
	// mostPauses is how often he pauses one rollout: each takes what a soak or a deadline does not count.
	mostPauses = 4
	// retryEvery is how often he has nodes try again that may have rejected a release, which they say for a moment only: the rollout goes back. mostRetries is how often one
	// rollout's nodes do so: each takes the time of a probe.
	retryEvery  = 100 * time.Millisecond
	mostRetries = 3
)

// meddle is the second operator, who works on the rollouts of the first at the same time and asks nobody. He never lets a bad release pass a gate, which persons may:
// the rules are about waft. Third is somebody who is in his way.
func (r *run) meddle(ctx context.Context, c, third *caller) {
	random := rand.New(rand.NewPCG(r.schedule.Seed, 0x6d656464))
	pauses, retries, promoted, gone := map[string]int{}, map[string]int{}, map[string]bool{}, map[string]bool{}
	for ; ctx.Err() == nil; pause(ctx, meddleEvery+time.Duration(random.Int64N(int64(meddleEvery)))) {
		at, _ := r.progress.now()
		if at.rollout < 0 {
			continue
		}
		if at.rollout >= len(r.schedule.Steps) {
			return
		}
		step, name := r.schedule.Steps[at.rollout], rolloutName(at.rollout)
		if step.Kind == Refusing && at.moving() {
			r.retryAll(ctx, c, at.rollout, retries)
			continue
		}
		// A wave before may have shown something; and the faults of the first one have come.
		late := at.wave > 1 && (at.phase == "Moving" || at.phase == "Soaking")
		switch n := random.IntN(12); {
		case step.EndBy != "" && late && !gone[name]:
			gone[name] = true
			r.endBy(ctx, c, third, step.EndBy, name)
		case step.Promote && at.phase == "Soaking" && !promoted[name]:
			promoted[name] = c.tell(ctx, OpPromo, name).Outcome == OK
		case n > 7 && at.wave == step.Asks && (at.phase == "Soaking" || at.phase == "Paused"):
			// Again, too, when it has been approved: what was acknowledged holds.
			call := c.tell(ctx, OpApprove, name)
			r.note("approval of %s: %s %s", name, call.Outcome, call.Error)
		case n < 2 && at.moving() && pauses[name] < mostPauses:
			pauses[name]++
			var both sync.WaitGroup
			both.Go(func() { c.tell(ctx, OpPause, name) })
			both.Go(func() { third.tell(ctx, []Op{OpPause, OpResume}[n], name) })
			both.Wait()
		case n < 5:
			c.tell(ctx, OpResume, name)
		case n == 5:
			c.tell(ctx, OpApprove, name)
		case n == 6 && at.rollout > 0:
			// One that has ended: there is nothing to do to it any more.
			c.tell(ctx, []Op{OpPause, OpResume, OpPromo, OpAbort}[random.IntN(4)], rolloutName(at.rollout-1))
		case n == 7:
			c.retry(ctx, r.m.nodes[random.IntN(len(r.m.nodes))].id)
		default:
			c.get(ctx, name)
		}
	}
}

// retryAll has every node try again for as long as the nodes of a rollout may reject its release. Those that have rejected nothing are refused that.
func (r *run) retryAll(ctx context.Context, c *caller, rollout int, retries map[string]int) {
	name := rolloutName(rollout)
	for ; ctx.Err() == nil && retries[name] < mostRetries; pause(ctx, retryEvery) {
		if at, _ := r.progress.now(); at.rollout != rollout || !at.moving() {
			return
		}
		for _, n := range r.m.nodes {
			if call := c.retry(ctx, n.id); call.Outcome != Refused {
				retries[name]++
				r.note("retry of %s in %s: %s %s", n.id, name, call.Outcome, call.Error)
			}
		}
	}
}

// endBy ends a rollout while somebody pauses it.
func (r *run) endBy(ctx context.Context, c, third *caller, op Op, name string) {
	var both sync.WaitGroup
	both.Go(func() { third.tell(ctx, OpPause, name) })
	if op == OpUndo {
		undo, err := r.undo(ctx, c, name)
		if err == nil && undo != "" && undo != name {
			// It had ended by then, so that another takes it back.
			r.name(undo)
			_, _ = r.follow(ctx, undo, Step{Kind: Good}, func(Rollout) {})
		}
	} else {
		call := c.tell(ctx, op, name)
		r.note("%s of %s: %s %s", op, name, call.Outcome, call.Error)
	}
	both.Wait()
}

// rolloutName is that of a step, by its number from 0.
func rolloutName(i int) string { return fmt.Sprintf("r%d", i+1) }
