package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func newRollout() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "rollout",
		Short: "Move nodes to a release in waves, watch it, stop it, take it back",
		Example: `  waft rollout start -f rollout.yaml --follow
  waft rollout undo edge-auth-1-2 --reason 'latency alarm'`,
	})
	cmd.AddCommand(newRolloutStart(), newRolloutStatus(), newRolloutList(), newRolloutHistory(),
		newRolloutAction("pause", "Move no further; a gate that fails still takes it back",
			func(ctx context.Context, c *api.Client, r *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
				return c.Rollouts.PauseRollout(ctx, r)
			}),
		newRolloutAction("resume", "Go on from where it was paused",
			func(ctx context.Context, c *api.Client, r *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
				return c.Rollouts.ResumeRollout(ctx, r)
			}),
		newRolloutAction("promote", "End the running soak now, or overrule a gate that had too few samples",
			func(ctx context.Context, c *api.Client, r *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
				return c.Rollouts.PromoteRollout(ctx, r)
			}),
		newRolloutAction("approve", "Let it go on after the wave that soaks, where that asks for an approval",
			func(ctx context.Context, c *api.Client, r *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
				return c.Rollouts.ApproveRollout(ctx, r)
			}),
		newRolloutAction("abort", "Stop and keep: moved nodes stay on the new release, the others on theirs",
			func(ctx context.Context, c *api.Client, r *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
				return c.Rollouts.AbortRollout(ctx, r)
			}),
		newRolloutUndo(),
	)
	return cmd
}

func newRolloutStart() *cobra.Command {
	var server serverFlags
	var out output
	var file, reason string
	var noWait, follow, dryRun bool
	cmd := &cobra.Command{
		Use:   "start -f FILE",
		Short: "Start a rollout",
		Long: `Start renders every distinct chain that the rollout would produce and validates it; then the distributor moves the
target wave by wave. A rollout that shares nodes with a running one waits for it, unless --no-wait.

The target's selector, like that of a wave, is a label selector as in Kubernetes, its terms joined by commas:
  env=prod, env!=prod           the label has this value, or has not
  zone in (a,b), zone notin (a) one of these values, or none of them
  canary, !canary               there is such a label, or there is none
An empty selector selects every node. Nodes whose sinks cannot report (Istio, a plain MCP client) are left out, unless the
target says includeUnreported: true.

With --dry-run nothing is changed: it prints, node by node, what each wave would do if the rollout were started now, and what changes
in the chains that nodes would run. A wave with gates and without a soak is warned of, there and at the start: its gates are read as
soon as its nodes serve.`,
		Example: `  waft rollout start -f rollout.yaml --dry-run
  waft rollout start -f rollout.yaml --reason 'ticket 4711' --follow`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			rollout := &waftv1.Rollout{}
			if err := readDocument(cmd, file, rollout); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				request := &waftv1.StartRolloutRequest{Rollout: rollout, Reason: reason, NoWait: noWait}
				if dryRun {
					plan, err := c.Rollouts.PlanRollout(ctx, request)
					if err != nil {
						return err
					}
					return out.print(cmd.OutOrStdout(), plan, func(t *table) { drawPlan(t, plan) })
				}
				if err := knowsCohorts(ctx, c, request); err != nil {
					return err
				}
				started, err := c.Rollouts.StartRollout(ctx, request)
				if err != nil {
					return err
				}
				for _, w := range started.GetStatus().GetWarnings() {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: warning: %s\n", started.GetMetadata().GetName(), printable(w))
				}
				if follow {
					return followRollout(ctx, cmd, c, started.GetMetadata().GetName(), endedWell, &out)
				}
				return out.print(cmd.OutOrStdout(), started, func(t *table) { drawRollout(t, started) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	fileFlag(cmd, &file)
	reasonFlag(cmd, &reason)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; print what each wave would do, and what changes on the nodes")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "refuse instead of waiting for a running rollout that shares nodes")
	cmd.Flags().BoolVar(&follow, "follow", false, "stay until it has ended; exit non-zero unless it ended as Done")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "follow")
	return cmd
}

func newRolloutStatus() *cobra.Command {
	var server serverFlags
	var out output
	var watch bool
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show a rollout: its phase and why, its waves, gates and nodes",
		Example: `  waft rollout status edge-auth-1-2
  waft rollout status edge-auth-1-2 --watch`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				if watch {
					return followRollout(ctx, cmd, c, args[0], endedWell, &out)
				}
				r, err := c.Rollouts.GetRollout(ctx, &waftv1.GetRolloutRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), r, func(t *table) { drawRollout(t, r) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "follow it until it has ended; exit non-zero unless it ended as Done")
	return cmd
}

// followRollout prints what happens to a rollout as it happens, below that on a terminal how it stands, and the whole of it at its end. It
// fails where ended does not say that it is well.
func followRollout(ctx context.Context, cmd *cobra.Command, c *api.Client, name string, ended func(*waftv1.Rollout) error, out *output) error {
	watch := &rolloutWatch{client: c, name: name}
	type received struct {
		rollout *waftv1.Rollout
		err     error
	}
	states := make(chan received)
	go func() {
		for {
			r, err := watch.next(ctx)
			select {
			case states <- received{r, err}:
			case <-ctx.Done():
			}
			if err != nil {
				return
			}
		}
	}()
	screen := newPanel(cmd.ErrOrStderr())
	defer screen.update(nil, nil)
	clock := time.NewTicker(time.Second) // a soak is counted down
	defer clock.Stop()
	printed := 0
	var last *waftv1.Rollout
	for open := true; open; {
		var news []string
		select {
		case <-ctx.Done():
			return ctx.Err()
		case state := <-states:
			switch {
			case errors.Is(state.err, io.EOF):
				open = false
				continue
			case state.err != nil:
				return state.err
			}
			last = state.rollout
			history := last.GetStatus().GetHistory()
			for ; printed < len(history); printed++ {
				news = append(news, transitionLine(history[printed]))
			}
		case <-clock.C:
		}
		if last != nil {
			screen.update(news, rolloutPanel(last, time.Now()))
		}
	}
	screen.update(nil, nil)
	if last == nil {
		return fmt.Errorf("rollout/%s: the distributor ended the stream without a word; see `waft rollout status %s`", name, name)
	}
	if err := out.print(cmd.OutOrStdout(), last, func(t *table) { drawRollout(t, last) }); err != nil {
		return err
	}
	return ended(last)
}

// endedWell is the error of a rollout that did not do what it was to.
func endedWell(r *waftv1.Rollout) error {
	if r.GetStatus().GetPhase() == "Done" {
		return nil
	}
	name := r.GetMetadata().GetName()
	return fmt.Errorf("rollout/%s ended as %s: %s; see `waft rollout history %s`", name, r.GetStatus().GetPhase(), r.GetStatus().GetMessage(), name)
}

func transitionLine(t *waftv1.Transition) string {
	line := t.GetAt().AsTime().Local().Format(time.TimeOnly) + "  " + t.GetPhase()
	if t.GetWave() > 0 {
		line += fmt.Sprintf("  wave %d", t.GetWave())
	}
	return printable(line + "  " + t.GetMessage())
}

func newRolloutList() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List rollouts, newest first",
		Example: "  waft rollout list -o yaml",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				all, err := pages(func(token string) ([]*waftv1.Rollout, string, error) {
					page, err := c.Rollouts.ListRollouts(ctx, &waftv1.ListRolloutsRequest{PageSize: pageSize, PageToken: token})
					return page.GetRollouts(), page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				list, err := items(all)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"rollouts": list}, func(t *table) {
					now := time.Now()
					t.row("NAME", "PHASE", "WAVE", "RELEASE", "TARGET", "AGE", "BY")
					for _, r := range all {
						s := r.GetStatus()
						t.row(r.GetMetadata().GetName(), s.GetPhase(), waveOf(r), short(s.GetRelease()),
							targetOf(r), age(s.GetStartedAt(), now), dash(s.GetStartedBy()))
					}
				})
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

func newRolloutAction(verb, short string, do func(context.Context, *api.Client, *waftv1.RolloutActionRequest) (*waftv1.Rollout, error)) *cobra.Command {
	var server serverFlags
	var out output
	var reason string
	cmd := &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: fmt.Sprintf("  waft rollout %s edge-auth-1-2 --reason 'latency alarm'", verb),
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				r, err := do(ctx, c, &waftv1.RolloutActionRequest{Name: args[0], Reason: reason})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), r, func(t *table) { drawRollout(t, r) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &reason)
	return cmd
}

func newRolloutUndo() *cobra.Command {
	var server serverFlags
	var out output
	var reason string
	var follow, dryRun bool
	cmd := &cobra.Command{
		Use:   "undo NAME",
		Short: "Take back: every node it moved gets the release that it had before",
		Long: `Take back: every node it moved gets the release that it had before. A rollout that has not ended rolls back itself; one that has is undone by
another, NAME-undo, in waves.

With --dry-run nothing is changed: it prints, node by node, what each wave would do if the rollout were undone now, which nodes would be left
alone and why, and what changes in the chains that nodes would run.`,
		Example: `  waft rollout undo edge-auth-1-2 --dry-run
  waft rollout undo edge-auth-1-2 --reason 'latency alarm'
  waft rollout undo edge-auth-1-2 --reason 'latency alarm' --follow`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				request := &waftv1.UndoRolloutRequest{Name: args[0], Reason: reason}
				if dryRun {
					plan, err := c.Rollouts.PlanUndo(ctx, request)
					if err != nil {
						return err
					}
					return out.print(cmd.OutOrStdout(), plan, func(t *table) { drawPlan(t, plan) })
				}
				r, err := c.Rollouts.UndoRollout(ctx, request)
				if err != nil {
					return err
				}
				if follow {
					ended := endedWell
					if r.GetMetadata().GetName() == args[0] {
						ended = wentBack
					}
					return followRollout(ctx, cmd, c, r.GetMetadata().GetName(), ended, &out)
				}
				return out.print(cmd.OutOrStdout(), r, func(t *table) { drawRollout(t, r) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &reason)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; print what each wave would do, and what changes on the nodes")
	cmd.Flags().BoolVar(&follow, "follow", false, "stay until all is taken back; exit non-zero where a node did not come back, or what takes back ended otherwise")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "follow")
	return cmd
}

// wentBack is the error of a rollout that was to roll back and did not, or not on every node.
func wentBack(r *waftv1.Rollout) error {
	name := r.GetMetadata().GetName()
	if phase := r.GetStatus().GetPhase(); phase != "RolledBack" {
		return fmt.Errorf("rollout/%s ended as %s, not as RolledBack: %s; see `waft rollout history %s`", name, phase, r.GetStatus().GetMessage(), name)
	}
	var left []string
	for _, n := range r.GetStatus().GetNodes() {
		if n.GetState() == "Failed" {
			left = append(left, n.GetNode())
		}
	}
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("rollout/%s went back, but for %s: %s; see `waft rollout status %s`", name, strings.Join(left[:min(len(left), maxNamedNodes)], ", "), r.GetStatus().GetMessage(), name)
}

// maxNamedNodes is how many nodes an error names.
const maxNamedNodes = 5

func drawRollout(t *table, r *waftv1.Rollout) {
	s := r.GetStatus()
	t.row("rollout", r.GetMetadata().GetName())
	t.row("release", s.GetRelease())
	t.row("target", targetOf(r))
	t.row("phase", s.GetPhase())
	t.row("wave", waveOf(r))
	if s.GetMessage() != "" {
		t.row("why", s.GetMessage())
	}
	if s.GetUndoes() != "" {
		t.row("undoes", s.GetUndoes())
	}
	if s.GetDisables() != "" {
		t.row("disables", s.GetDisables())
	}
	for i, w := range s.GetWaves() {
		t.row()
		t.row(fmt.Sprintf("wave %d", i+1), strings.Join(w.GetNodes(), " "))
		if waves := r.GetSpec().GetWaves(); i < len(waves) && waves[i].GetCohort() != nil {
			t.row("  for", cohortText(waves[i].GetCohort()))
		}
		for _, g := range w.GetReadings() {
			t.row("  gate "+g.GetGate(), g.GetVerdict(), g.GetDetail())
		}
		for _, g := range w.GetLatest() {
			t.row("  now "+g.GetGate(), g.GetVerdict(), g.GetDetail())
		}
	}
	if len(s.GetNodes()) == 0 {
		return
	}
	t.row()
	t.row("NODE", "WAVE", "STATE", "BEFORE", "REASON")
	for _, n := range s.GetNodes() {
		t.row(n.GetNode(), n.GetWave(), n.GetState(), short(n.GetFrom()), noteOf(cohortText(n.GetCohort()), n.GetReason()))
	}
}

// targetOf is which nodes a rollout is for.
func targetOf(r *waftv1.Rollout) string {
	target := r.GetSpec().GetTarget()
	text := target.GetSelector()
	if text == "" {
		text = "every node"
	}
	if target.GetIncludeUnreported() {
		text += " (those that cannot report too)"
	}
	return text
}

// waveOf is the wave a rollout is in, out of how many.
func waveOf(r *waftv1.Rollout) string {
	return fmt.Sprintf("%d/%d", r.GetStatus().GetWave(), max(1, len(r.GetSpec().GetWaves())))
}
