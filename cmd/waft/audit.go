package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

func newAudit() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:   "audit [OBJECT]",
		Short: "List who changed what, when and why, newest first",
		Example: `  waft audit
  waft audit rollout/edge-auth-1-2`,
		Args: oneArg("OBJECT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				all, err := pages(func(token string) ([]*waftv1.AuditEntry, string, error) {
					page, err := c.Audit.ListAudit(ctx, &waftv1.ListAuditRequest{
						Object: strings.Join(args, ""), PageSize: pageSize, PageToken: token,
					})
					return page.GetEntries(), page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				list, err := items(all)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"entries": list}, func(t *table) {
					t.row("#", "TIME", "WHO", "WHAT", "OBJECT", "WHY", "DETAIL")
					for _, e := range all {
						t.row(e.GetSequence(), clock(e.GetAt()), e.GetActor(), e.GetAction(),
							e.GetObject(), dash(e.GetReason()), e.GetDetail())
					}
				})
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	cmd.AddCommand(newAuditVerify())
	return cmd
}

func newAuditVerify() *cobra.Command {
	var server serverFlags
	var out output
	var known, file string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that nothing in the audit log was changed, removed or put in later",
		Long: `Check that nothing in the audit log was changed, removed or put in later.

Each entry holds the hash of the one before it. This reads the whole log and computes them anew, here, so that the distributor need not be trusted. Who
can write to the store can write all hashes anew: keep the head that is printed where they cannot, and give it to the next check.`,
		Example: `  waft audit verify
  waft audit verify --head 12:sha256:4e1f…      # as it was printed before
  waft audit -o json > audit.json
  waft audit verify --file audit.json`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var walk model.AuditWalk
			if known != "" {
				var err error
				if walk.Known, err = model.ParseAuditHead(known); err != nil {
					return err
				}
			}
			take := func(entries []*waftv1.AuditEntry) error {
				for _, e := range entries {
					if err := walk.Take(api.AuditEntry(e)); err != nil {
						return err
					}
				}
				return nil
			}
			var err error
			if file != "" {
				err = readAudit(cmd, file, take)
			} else {
				err = server.call(cmd, func(ctx context.Context, c *api.Client) error {
					_, err := pages(func(token string) ([]struct{}, string, error) {
						page, err := c.Audit.ListAudit(ctx, &waftv1.ListAuditRequest{PageSize: pageSize, PageToken: token})
						if err != nil {
							return nil, "", err
						}
						return nil, page.GetNextPageToken(), take(page.GetEntries())
					})
					return err
				})
			}
			if err == nil {
				err = walk.End()
			}
			if err != nil {
				return err
			}
			head := walk.Head()
			return out.print(cmd.OutOrStdout(), map[string]any{"entries": head.Sequence, "head": head.String()}, func(t *table) {
				t.row("ENTRIES", "HEAD")
				t.row(head.Sequence, head.String())
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&known, "head", "", "the head that a check before has printed: the log must hold it")
	cmd.Flags().StringVar(&file, "file", "", "check what waft audit -o json has written to this file (- for standard input), and ask nobody")
	return cmd
}

// readAudit gives the entries of a file that waft audit -o json has written.
func readAudit(cmd *cobra.Command, file string, take func([]*waftv1.AuditEntry) error) error {
	data, err := readInput(cmd, file, math.MaxInt64-1) // a log grows for ever
	if err != nil {
		return err
	}
	entries, err := parseAudit(file, data)
	if err != nil {
		return err
	}
	return take(entries)
}

// parseAudit reads what waft audit -o json writes. Other JSON is refused: a log without entries is sound, and would be what is found in it.
func parseAudit(file string, data []byte) ([]*waftv1.AuditEntry, error) {
	var list struct {
		Entries *[]json.RawMessage `json:"entries"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s is not what waft audit -o json writes: %w", file, err)
	}
	if list.Entries == nil {
		return nil, fmt.Errorf("%s is not what waft audit -o json writes: it has no entries", file)
	}
	entries := make([]*waftv1.AuditEntry, len(*list.Entries))
	for i, text := range *list.Entries {
		entries[i] = &waftv1.AuditEntry{}
		if err := protojson.Unmarshal(text, entries[i]); err != nil {
			return nil, fmt.Errorf("%s: entry %d in the list: %w", file, i+1, err)
		}
	}
	return entries, nil
}
