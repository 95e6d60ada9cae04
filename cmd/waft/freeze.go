package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func newFreeze() *cobra.Command {
	var reason string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "freeze --reason WHY",
		Short: "Keep every rollout from moving on, now",
		Long: `Freeze keeps every rollout from moving on, from now on, as a freeze window does: no wave begins and no node is moved, and deadlines stand still. What has
moved is watched all the same and goes back where it must; an undo goes, and so does waft filter disable. It holds over restarts until waft unfreeze, or for as long as
--for says. Once more, it takes the place of the freeze that there is.`,
		Example: `  waft freeze --reason 'incident 4711' --for 2h
  waft freeze show`,
	}
	answersFreeze(cmd, func(ctx context.Context, c *api.Client) (*waftv1.Freeze, error) {
		request := &waftv1.StartFreezeRequest{Reason: reason}
		if lasts != 0 {
			request.For = lasts.String()
		}
		return c.Freezes.StartFreeze(ctx, request)
	})
	reasonFlag(cmd, &reason)
	cmd.Flags().DurationVar(&lasts, "for", 0, "how long it holds, such as 2h; 0: until waft unfreeze")
	cmd.AddCommand(newFreezeShow())
	return cmd
}

func newFreezeShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show whether somebody has frozen all rollouts, who and why",
		Example: "  waft freeze show",
	}
	answersFreeze(cmd, func(ctx context.Context, c *api.Client) (*waftv1.Freeze, error) {
		return c.Freezes.GetFreeze(ctx, &waftv1.GetFreezeRequest{})
	})
	return cmd
}

func newUnfreeze() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "unfreeze",
		Short:   "Let rollouts go on after waft freeze",
		Example: "  waft unfreeze --reason 'incident 4711 is over'",
	}
	answersFreeze(cmd, func(ctx context.Context, c *api.Client) (*waftv1.Freeze, error) {
		return c.Freezes.EndFreeze(ctx, &waftv1.EndFreezeRequest{Reason: reason})
	})
	reasonFlag(cmd, &reason)
	return cmd
}

// answersFreeze makes a command one that takes no arguments, asks the distributor, and shows the freeze that it answers with.
func answersFreeze(cmd *cobra.Command, ask func(context.Context, *api.Client) (*waftv1.Freeze, error)) {
	var server serverFlags
	var out output
	cmd.Args = exactArgs()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(); err != nil {
			return err
		}
		return server.call(cmd, func(ctx context.Context, c *api.Client) error {
			f, err := ask(ctx, c)
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), f, func(t *table) { drawFreeze(t, f) })
		})
	}
	server.flags(cmd)
	out.flag(cmd)
}

func drawFreeze(t *table, f *waftv1.Freeze) {
	if !f.GetFrozen() {
		t.row("nobody has frozen the rollouts; windows may")
		return
	}
	t.row("frozen by", f.GetActor())
	t.row("reason", f.GetReason())
	t.row("since", clock(f.GetSince()))
	if f.GetUntil() == nil {
		t.row("until", "waft unfreeze")
		return
	}
	t.row("until", clock(f.GetUntil()))
}
