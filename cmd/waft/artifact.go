package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func newArtifact() *cobra.Command {
	cmd := group(&cobra.Command{
		Use: "artifact", Short: "Artifacts in the distributor's own registry",
		Example: `  waft artifact list --unneeded`,
	})
	cmd.AddCommand(newArtifactList())
	return cmd
}

func newArtifactList() *cobra.Command {
	var server serverFlags
	var out output
	var unneeded bool
	cmd := &cobra.Command{
		Use:   "list [REPOSITORY]",
		Short: "List what the distributor's own registry has, and why it stays or when it goes",
		Long: `List shows the artifacts in the distributor's embedded registry (with several replicas, in that of the one that leads), and of each what needs it: a release, a collection, a tag, or another artifact that it is a part of or attached to. What nothing needs is removed once that
was so for as long as waft serve --registry-retention says; without that flag nothing is, and the list shows what would go. To list them is no use of them.`,
		Example: `  waft artifact list
  waft artifact list --unneeded              # what goes and when, or would go
  waft artifact list filters/authz -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				var last *waftv1.ListArtifactsResponse
				all, err := pages(func(token string) ([]*waftv1.Artifact, string, error) {
					page, err := c.Artifacts.ListArtifacts(ctx, &waftv1.ListArtifactsRequest{Repository: strings.Join(args, ""), Unneeded: unneeded, PageSize: pageSize, PageToken: token})
					last = page
					return page.GetArtifacts(), page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				list, err := items(all)
				if err != nil {
					return err
				}
				document := map[string]any{"artifacts": list}
				if r := last.GetRetention(); r != nil {
					document["retention"] = r.AsDuration().String()
				}
				if why := last.GetAllStay(); why != "" {
					document["allStay"] = why
				}
				return out.print(cmd.OutOrStdout(), document, func(t *table) {
					if why := last.GetAllStay(); why != "" {
						t.row("nothing is removed: " + why)
					}
					t.row("ARTIFACT", "TAGS", "SIZE", "PUSHED", "WHY IT STAYS")
					for _, a := range all {
						t.row(a.GetRepository()+"@"+short(a.GetDigest()), dash(strings.Join(a.GetTags(), ",")), fmt.Sprintf("%.1f MB", megabytes(a.GetSizeBytes())), clock(a.GetPushedAt()), whyStays(a))
					}
				})
			})
		},
	}
	cmd.Flags().BoolVar(&unneeded, "unneeded", false, "only what nothing needs")
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

// whyStays says why an artifact stays, or when it goes.
func whyStays(a *waftv1.Artifact) string {
	switch {
	case a.GetNeeded() != "":
		return a.GetNeeded()
	case a.GetStaysFor() == nil && a.GetUnneededFor().AsDuration() == 0:
		return "nothing needs it"
	case a.GetStaysFor() == nil:
		return fmt.Sprintf("nothing needs it, for %s", lasting(a.GetUnneededFor().AsDuration()))
	}
	return fmt.Sprintf("nothing needs it, for %s; goes in %s", lasting(a.GetUnneededFor().AsDuration()), lasting(a.GetStaysFor().AsDuration()))
}
