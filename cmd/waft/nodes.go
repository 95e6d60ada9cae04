package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func newNodes() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "nodes",
		Short: "Look at the ledger: what each node runs, and what it said of it",
		Example: `  waft nodes list -l env=prod
  waft nodes show edge-1`,
	})
	cmd.AddCommand(newNodesList(), newNodesShow(), newNodesRetry(), newNodesRelease())
	return cmd
}

func newNodesList() *cobra.Command {
	var server serverFlags
	var out output
	var selector string
	var states []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes",
		Long: `List nodes, and why each is not as it should be: what it said of the chain that it is to run, and why waves leave it out.

--state takes, of how far the chain has come, waiting (it was never given one), offered, fetched, loaded, serving, degraded, rejected; and
  isolated      a rollback failed on it, and no wave takes it until waft nodes release
  unknown       it is away, so that nothing is known of it
  connected     it is not
  not-serving   it reports, and does not serve the whole of the chain that it is to run`,
		Example: `  waft nodes list -l env=prod,zone=a
  waft nodes list --state rejected,isolated,unknown`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				all, err := pages(func(token string) ([]*waftv1.Node, string, error) {
					page, err := c.Nodes.ListNodes(ctx, &waftv1.ListNodesRequest{Selector: selector, States: states, PageSize: pageSize, PageToken: token})
					return page.GetNodes(), page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				list, err := items(all)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"nodes": list}, func(t *table) { drawNodes(t, all) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "only nodes with these labels, as in Kubernetes: env=prod,zone in (a,b),!canary")
	cmd.Flags().StringSliceVar(&states, "state", nil, "only nodes in one of these states: "+strings.Join(service.NodeStandings(), ", "))
	return cmd
}

func drawNodes(t *table, nodes []*waftv1.Node) {
	t.row("NODE", "PRESENCE", "STATE", "CHAIN", "SERVING", "ENVOY", "LABELS", "REASON")
	for _, n := range nodes {
		t.row(n.GetId(), n.GetPresence(), stateOf(n), short(n.GetChain()), short(n.GetServing()), dash(n.GetEnvoyVersion()), labelsOf(n.GetLabels()), dash(clipped(reasonOf(n))))
	}
}

func newNodesShow() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:     "show NODE",
		Short:   "Show one node: its releases, its chain, and how far that has come",
		Example: "  waft nodes show edge-1",
		Args:    exactArgs("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				n, err := c.Nodes.GetNode(ctx, &waftv1.GetNodeRequest{Id: args[0]})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), n, func(t *table) { drawNode(t, n) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

func newNodesRetry() *cobra.Command {
	return newNodesAction("retry", "Have a node try once more, now, the chain that it rejected or waits with", "the disk was full",
		func(ctx context.Context, c *api.Client, id, reason string) (*waftv1.Node, error) {
			return c.Nodes.RetryNode(ctx, &waftv1.RetryNodeRequest{Id: id, Reason: reason})
		})
}

func newNodesRelease() *cobra.Command {
	return newNodesAction("release", "Let waves take a node again that is isolated, since a rollback failed on it", "its Envoy was restarted",
		func(ctx context.Context, c *api.Client, id, reason string) (*waftv1.Node, error) {
			return c.Nodes.ReleaseNode(ctx, &waftv1.ReleaseNodeRequest{Id: id, Reason: reason})
		})
}

func newNodesAction(verb, short, why string, do func(ctx context.Context, c *api.Client, id, reason string) (*waftv1.Node, error)) *cobra.Command {
	var server serverFlags
	var out output
	var reason string
	cmd := &cobra.Command{
		Use:     verb + " NODE",
		Short:   short,
		Example: fmt.Sprintf("  waft nodes %s edge-1 --reason '%s'", verb, why),
		Args:    exactArgs("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				n, err := do(ctx, c, args[0], reason)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), n, func(t *table) { drawNode(t, n) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &reason)
	return cmd
}

func drawNode(t *table, n *waftv1.Node) {
	t.row("node", n.GetId())
	t.row("labels", labelsOf(n.GetLabels()))
	t.row("presence", n.GetPresence())
	switch n.GetDialect() {
	case model.DialectApplication:
		t.row("application", dash(n.GetAgentVersion()))
		t.row("takes", strings.Join(n.GetCollections(), ", "))
	case model.DialectADS:
		t.row("envoy", dash(n.GetEnvoyVersion())+" "+n.GetEnvoyBuild())
		t.row("agent", "none: Envoy asks over ADS")
	default:
		t.row("envoy", dash(n.GetEnvoyVersion())+" "+n.GetEnvoyBuild())
		t.row("agent", dash(n.GetAgentVersion()))
	}
	for _, r := range n.GetReleases() {
		t.row("release", r.GetLayer()+"  "+r.GetRelease())
	}
	if s := n.GetSplit(); s != nil {
		t.row("under test", fmt.Sprintf("%s  %s for %s", s.GetRelease().GetLayer(), s.GetRelease().GetRelease(), cohortText(s.GetCohort())))
	}
	for _, d := range n.GetDisabled() {
		t.row("disabled", disabledRow(d))
	}
	drawMoved(t, n)
	for _, next := range n.GetNext() {
		drawNext(t, next)
	}
	for _, r := range n.GetRendered() {
		drawRendered(t, r)
	}
	t.row("chain", dash(n.GetChain()))
	t.row("serving", dash(n.GetServing()))
	t.row("before", dash(n.GetPrevious()))
	t.row("state", stateOf(n))
	if i := n.GetIsolated(); i != nil {
		t.row("isolated", fmt.Sprintf("%s (rollout/%s); waft nodes release %s lets waves take it again", i.GetReason(), i.GetRollout(), n.GetId()))
	}
	l := n.GetLedger()
	if l.GetStep() != "" && l.GetState() != waftv1.ChainState_SERVING {
		t.row("step", l.GetStep())
	}
	if l.GetReason() != "" {
		t.row("reason", l.GetReason())
	}
	if e := n.GetLastError(); e != nil && (e.GetChain() != l.GetChain() || e.GetReason() != l.GetReason()) {
		t.row("last error", fmt.Sprintf("%s  %s at %s, chain %s: %s", clock(e.GetAt()), strings.ToLower(e.GetState().String()), dash(e.GetStep()), short(e.GetChain()), e.GetReason()))
	}
	for _, digest := range slices.Sorted(maps.Keys(n.GetUnfetched())) {
		t.row("not fetched", short(digest)+"  "+n.GetUnfetched()[digest])
	}
	for _, ref := range slices.Sorted(maps.Keys(l.GetSecrets())) {
		t.row("secret", ref+"  version "+l.GetSecrets()[ref])
	}
	servingAt := l.GetServingAt()
	if l.GetDegradedAt() != nil && servingAt.AsTime().Equal(l.GetDegradedAt().AsTime()) {
		servingAt = nil // it never served the whole
	}
	for _, step := range []struct {
		name string
		at   *timestamppb.Timestamp
	}{
		{"offered", l.GetOfferedAt()}, {"fetched", l.GetFetchedAt()}, {"loaded", l.GetLoadedAt()},
		{"serving", servingAt}, {"degraded", l.GetDegradedAt()}, {"rejected", l.GetRejectedAt()},
	} {
		if step.at != nil {
			t.row("  "+step.name, clock(step.at))
		}
	}
}

// drawMoved says by what the node was given what it is to run, so that whoever is called at night finds what to undo.
func drawMoved(t *table, n *waftv1.Node) {
	m := n.GetMoved()
	if m == nil {
		return
	}
	how := "moved by"
	switch {
	case m.GetBack():
		how = "taken back by"
	case m.GetJoined():
		how = "joined with"
	}
	text := fmt.Sprintf("%s  %s rollout/%s", clock(m.GetAt()), how, m.GetRollout())
	if m.GetWave() > 0 {
		text += fmt.Sprintf(", wave %d", m.GetWave())
	}
	if m.GetPhase() == "" {
		t.row("given", text+", which was removed; waft audit rollout/"+m.GetRollout()+" has who started it")
		return
	}
	text += fmt.Sprintf(" (%s), which %s started", m.GetPhase(), dash(m.GetStartedBy()))
	if m.GetReason() != "" {
		text += ": " + m.GetReason()
	}
	t.row("given", text)
	if !m.GetBack() && !m.GetStays() && !model.RolloutPhase(m.GetPhase()).Back() {
		t.row("", "waft rollout undo "+m.GetRollout()+" takes the whole rollout back")
	}
}

// drawNext is what a rollout would do with the node next.
func drawNext(t *table, n *waftv1.NodeNext) {
	what := "no wave takes it"
	switch {
	case n.GetRollout() == "":
		t.row("next", n.GetReason())
		return
	case n.GetBack():
		what = "it goes back to what it had"
	case n.GetWave() > 0:
		what = fmt.Sprintf("wave %d", n.GetWave())
	}
	if of := noteOf(cohortText(n.GetCohort()), n.GetReason()); of != "" {
		what += ": " + of
	}
	t.row("next", fmt.Sprintf("rollout/%s (%s), %s", n.GetRollout(), n.GetPhase(), what))
	if n.GetWave() == 0 && !n.GetBack() {
		return
	}
	if n.GetMessage() != "" {
		t.row("", "now: "+n.GetMessage())
	}
	if n.GetRelease() != nil {
		t.row("", n.GetRelease().GetLayer()+"  "+n.GetRelease().GetRelease())
	}
	t.row("", fmt.Sprintf("chain %s → %s", chainName(n.GetFrom()), chainName(n.GetChain())))
	for _, line := range changeLines(n.GetChanges()) {
		t.row("", line)
	}
}

// drawRendered is a filter or a resource with the value of each field and the layer that gives it.
func drawRendered(t *table, r *waftv1.Rendered) {
	what, name := "filter", r.GetName()
	if r.GetCollection() != "" {
		what, name = "resource", r.GetCollection()+":"+r.GetName()
	}
	t.row(what, name)
	for _, f := range r.GetFields() {
		t.row("  "+f.GetPath(), clipped(f.GetValue()), cmp.Or(f.GetLayer(), "default"))
	}
}

// reasonOf is why a node is not as it should be.
func reasonOf(n *waftv1.Node) string {
	isolated := ""
	if i := n.GetIsolated(); i != nil {
		isolated = "isolated by rollout/" + i.GetRollout() + ": " + i.GetReason()
	}
	return noteOf(isolated, n.GetLedger().GetReason())
}

// valueRunes is how much of a value or a reason a table shows.
const valueRunes = 80

// clipped is a text as a table shows it; JSON has the whole.
func clipped(value string) string {
	if text := []rune(value); len(text) > valueRunes {
		return string(text[:valueRunes]) + "…"
	}
	return value
}

// stateOf is the ledger's word, in lower case; waiting for a node that was never given a release. A node that is isolated says so as well.
func stateOf(n *waftv1.Node) string {
	state := "waiting"
	if n.GetLedger().GetState() != waftv1.ChainState_CHAIN_STATE_UNSPECIFIED {
		state = strings.ToLower(n.GetLedger().GetState().String())
	}
	if n.GetIsolated() != nil {
		state += ",isolated"
	}
	return state
}

func labelsOf(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		parts = append(parts, k+"="+v)
	}
	sort.Strings(parts)
	return dash(strings.Join(parts, ","))
}

// pages collects a paged list.
func pages[T any](next func(token string) ([]T, string, error)) ([]T, error) {
	var all []T
	token := ""
	for {
		page, following, err := next(token)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if following == "" {
			return all, nil
		}
		if following == token {
			return nil, fmt.Errorf("the distributor gave the same page twice (token %q)", token)
		}
		token = following
	}
}
