package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func newTypes() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "types",
		Short: "Make the types of your own messages known, so that resources can be written by their fields",
		Example: `  protoc --include_imports -o set.binpb flags.proto
  waft types register acme -f set.binpb`,
	})
	cmd.AddCommand(newTypesRegister(), newTypesList())
	return cmd
}

func newTypesRegister() *cobra.Command {
	var server serverFlags
	var out output
	var file, reason string
	cmd := &cobra.Command{
		Use:   "register NAME -f SET.binpb",
		Short: "Register a descriptor set under a name, in the place of the one that is there",
		Long: `Register takes a serialized FileDescriptorSet, as protoc --include_imports -o and buf build -o write it, of at most 512 KiB: it is kept in the
distributor's store. Releases hold the digest of the set that they were created by, so that they mean the same when the name gets another one.`,
		Example: "  waft types register acme -f set.binpb --reason 'flags v2'",
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if file == "" {
				return usagef("%s: -f FILE is missing; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			set, err := readInput(cmd, file, api.MaxFileBytes)
			if err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				t, err := c.Types.RegisterTypes(ctx, &waftv1.RegisterTypesRequest{Name: args[0], Descriptors: set, Reason: reason})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), t, func(table *table) { drawTypes(table, []*waftv1.TypeSet{t}) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "the descriptor set; - for standard input")
	reasonFlag(cmd, &reason)
	return cmd
}

func newTypesList() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the descriptor sets that are registered; -o json names their messages",
		Example: "  waft types list -o json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				all, err := c.Types.ListTypes(ctx, &waftv1.ListTypesRequest{})
				if err != nil {
					return err
				}
				list, err := items(all.GetTypes())
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"types": list}, func(t *table) { drawTypes(t, all.GetTypes()) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

func drawTypes(t *table, sets []*waftv1.TypeSet) {
	now := time.Now()
	t.row("NAME", "DIGEST", "MESSAGES", "BYTES", "AGE", "BY")
	for _, s := range sets {
		t.row(s.GetName(), short(s.GetDigest()), len(s.GetMessages()), s.GetSize(), age(s.GetUpdatedAt(), now), dash(s.GetUpdatedBy()))
	}
}
