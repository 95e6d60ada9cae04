package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func newFilter() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "filter",
		Short: "In an emergency: take one filter out of every chain now, and put it back in waves",
		Example: `  waft filter disable ratelimit --everywhere --reason 'it answers 500, ticket 4711'
  waft filter list
  waft filter enable ratelimit --reason 'mended' --follow`,
	})
	cmd.AddCommand(newFilterDisable(), newFilterEnable(), newFilterList())
	return cmd
}

func newFilterDisable() *cobra.Command {
	var server serverFlags
	var out output
	request := &waftv1.DisableFilterRequest{}
	cmd := &cobra.Command{
		Use:   "disable NAME --everywhere | --selector LABELS --reason WHY",
		Short: "Take a filter out of chains now, past waves",
		Long: `Disable takes the filter of that name out of the chain of every node that is selected, at once: past waves, soaks, freeze windows and
caps. Nodes that come later get their chains without it, too. Each node probes the chain without the filter and swaps it in like any other;
one that cannot keeps the chain it has. Rollouts that share nodes pause.

A filter of phase AUTHN or AUTHZ is refused: without it every request passes that it would have refused. --let-unauthorized-requests-pass
takes it out all the same.`,
		Example: `  waft filter disable ratelimit --everywhere --reason 'it answers 500, ticket 4711'
  waft filter disable ratelimit --selector zone=a --reason 'zone a alone is hit'`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if request.Everywhere == (request.Selector != "") {
				return usagef("%s: say either --everywhere or --selector; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			if request.Reason == "" {
				return usagef("%s: --reason is missing: an emergency is explained; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			request.Filter = args[0]
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				d, err := c.Filters.DisableFilter(ctx, request)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), d, func(t *table) { drawDisabled(t, d) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &request.Reason)
	cmd.Flags().BoolVar(&request.Everywhere, "everywhere", false, "on every node")
	cmd.Flags().StringVarP(&request.Selector, "selector", "l", "", "on nodes with these labels, as in Kubernetes: env=prod,zone in (a,b)")
	cmd.Flags().BoolVar(&request.LetUnauthorizedRequestsPass, "let-unauthorized-requests-pass", false,
		"take out a filter of phase AUTHN or AUTHZ, too: every request passes that it would have refused")
	return cmd
}

func newFilterEnable() *cobra.Command {
	var server serverFlags
	var out output
	var reason, soak string
	var nodes, percent, notServing int32
	var follow bool
	cmd := &cobra.Command{
		Use:   "enable NAME",
		Short: "Put a disabled filter back, by a rollout",
		Long: `Enable starts a rollout that puts the filter back: on one node, then on a share of those that it was taken out on, then on all. It is
watched, paused and taken back like any other rollout; taken back means that the filter is out again. It waits for rollouts that share nodes.`,
		Example: `  waft filter enable ratelimit --reason 'mended by release ratelimit@sha256:1c2b' --soak 5m --follow`,
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			request := &waftv1.EnableFilterRequest{Filter: args[0], Reason: reason, MaxNotServing: notServing}
			request.Waves = append(request.Waves, &waftv1.Wave{Nodes: nodes, Soak: soak})
			if percent > 0 && percent < 100 {
				request.Waves = append(request.Waves, &waftv1.Wave{Percent: percent, Soak: soak})
			}
			request.Waves = append(request.Waves, &waftv1.Wave{Percent: 100})
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				r, err := c.Filters.EnableFilter(ctx, request)
				if err != nil {
					return err
				}
				if follow {
					return followRollout(ctx, cmd, c, r.GetMetadata().GetName(), endedWell, &out)
				}
				return out.print(cmd.OutOrStdout(), r, func(t *table) { drawRollout(t, r) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &reason)
	cmd.Flags().Int32Var(&nodes, "nodes", 1, "how many nodes the first wave takes")
	cmd.Flags().Int32Var(&percent, "percent", 25, "how far the second wave reaches; 0: there are two waves")
	cmd.Flags().StringVar(&soak, "soak", "1m", "how long the nodes of a wave must serve before the next")
	cmd.Flags().Int32Var(&notServing, "max-not-serving", 0, "how many nodes of the fleet may be on their way or not serving at any moment; 0: the waves alone say")
	cmd.Flags().BoolVar(&follow, "follow", false, "stay until it has ended; exit non-zero unless it ended as Done")
	return cmd
}

func newFilterList() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the filters that are disabled, who did it and why, and on how many nodes",
		Example: "  waft filter list",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				answer, err := c.Filters.ListDisabledFilters(ctx, &waftv1.ListDisabledFiltersRequest{})
				if err != nil {
					return err
				}
				list, err := items(answer.GetFilters())
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"filters": list}, func(t *table) {
					t.row("FILTER", "WHERE", "NODES", "PENDING", "AGE", "BY", "WHY", "COMES BACK BY")
					now := time.Now()
					for _, d := range answer.GetFilters() {
						t.row(d.GetFilter(), whereOf(d), d.GetNodes(), d.GetPending(), age(d.GetSince(), now), dash(d.GetActor()), dash(d.GetReason()), dash(d.GetEnabling()))
					}
				})
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

func whereOf(d *waftv1.DisabledFilter) string {
	if d.GetSelector() == "" {
		return "everywhere"
	}
	return d.GetSelector()
}

func drawDisabled(t *table, d *waftv1.DisabledFilter) {
	t.row("filter", d.GetFilter())
	t.row("disabled", whereOf(d))
	t.row("by", d.GetActor())
	t.row("why", d.GetReason())
	if d.GetPassUnauthorized() {
		t.row("warning", "requests pass that it would have refused")
	}
	t.row("nodes", d.GetNodes())
	t.row("pending", d.GetPending(), "see waft filter list for those that do not serve without it yet")
	t.row("record", "rollout/"+d.GetRollout())
}

// disabledRow is what `waft nodes show` says of a filter that is taken out of the node's chain.
func disabledRow(d *waftv1.DisabledFilter) string {
	text := d.GetFilter() + "  by " + dash(d.GetActor()) + ": " + dash(d.GetReason())
	if d.GetEnabling() != "" {
		text += "; rollout/" + d.GetEnabling() + " is putting it back"
	}
	return text
}
