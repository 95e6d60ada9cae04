package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

func newSecret() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "secret",
		Short: "Have the distributor keep secrets, encrypted, that releases name",
		Long: `A filter's configuration names a secret instead of holding it: {$secret: {name: token}}. The distributor keeps its values, encrypted, each under a version, and sends
one to the nodes whose chain names it, and to nobody else. docs/secrets.md says more.`,
		Example: `  waft secret set token --layer team/pay --from-file token.txt --reason 'a new one each quarter'
  waft secret show token --layer team/pay`,
	})
	cmd.AddCommand(newSecretSet(), newSecretList(), newSecretShow(), newSecretDelete(), newSecretRekey())
	return cmd
}

// secretLayerFlag is about a secret's layer.
func secretLayerFlag(cmd *cobra.Command, layer *string, without string) {
	cmd.Flags().StringVar(layer, "layer", "", "global, team/NAME or service/NAME (default: "+without+")")
}

func newSecretSet() *cobra.Command {
	var server serverFlags
	var out output
	var layer, file, reason string
	cmd := &cobra.Command{
		Use:   "set NAME --from-file FILE",
		Short: "Give a secret a value, as its next version",
		Long: `Set gives a secret a value, as the next version of it. No node runs anything else by that: a release that is created from now on, and names no version, names this one, and a
rollout brings it. One line end at the end of the file is no part of the value.`,
		Example: `  waft secret set token --layer team/pay --from-file token.txt
  openssl rand -hex 32 | waft secret set token --from-file - --reason 'rotation'`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if file == "" {
				return usagef("%s: --from-file FILE is missing; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			value, err := readInput(cmd, file, model.MaxSecret+2) // a line's end of two bytes
			if err != nil {
				return err
			}
			value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
			if problem := model.SecretProblem(value); problem != "" {
				return fmt.Errorf("%s: the value %s", file, problem)
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				one, err := c.Secrets.SetSecret(ctx, &waftv1.SetSecretRequest{Name: args[0], Layer: layer, Value: string(value), Reason: reason})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), one, func(t *table) { drawSecrets(t, []*waftv1.Secret{one}) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &reason)
	secretLayerFlag(cmd, &layer, "global")
	cmd.Flags().StringVar(&file, "from-file", "", "the value; - for standard input")
	return cmd
}

func newSecretList() *cobra.Command {
	var server serverFlags
	var out output
	var layer string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List secrets, without their values",
		Example: "  waft secret list --layer team/pay",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				var all []*waftv1.Secret
				for token := ""; ; {
					page, err := c.Secrets.ListSecrets(ctx, &waftv1.ListSecretsRequest{Layer: layer, PageToken: token})
					if err != nil {
						return err
					}
					all = append(all, page.GetSecrets()...)
					if token = page.GetNextPageToken(); token == "" {
						break
					}
				}
				list, err := items(all)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"secrets": list}, func(t *table) { drawSecrets(t, all) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	secretLayerFlag(cmd, &layer, "all")
	return cmd
}

// drawSecrets has a line for each, about its newest version.
func drawSecrets(t *table, secrets []*waftv1.Secret) {
	now := time.Now()
	t.row("LAYER", "NAME", "VERSION", "KEPT", "KEY", "AGE", "BY")
	for _, s := range secrets {
		var newest *waftv1.SecretVersion
		if n := len(s.GetVersions()); n > 0 {
			newest = s.GetVersions()[n-1]
		}
		t.row(s.GetLayer(), s.GetName(), newest.GetVersion(), len(s.GetVersions()), dash(newest.GetKey()), age(newest.GetSetAt(), now), dash(newest.GetSetBy()))
	}
}

func newSecretShow() *cobra.Command {
	var server serverFlags
	var out output
	var layer string
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show the versions of a secret and the releases that name them, never a value",
		Example: "  waft secret show token --layer team/pay",
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				one, err := c.Secrets.GetSecret(ctx, &waftv1.GetSecretRequest{Name: args[0], Layer: layer})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), one, func(t *table) { drawVersions(t, one) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	secretLayerFlag(cmd, &layer, "global")
	return cmd
}

func drawVersions(t *table, one *waftv1.Secret) {
	now := time.Now()
	t.row("VERSION", "KEY", "AGE", "BY", "REASON", "RELEASES")
	for _, v := range one.GetVersions() {
		named := "-"
		if n := len(v.GetReleases()); n > 0 {
			named = v.GetReleases()[0]
			if n > 1 {
				named += fmt.Sprintf(" and %d more", n-1)
			}
		}
		t.row(v.GetVersion(), v.GetKey(), age(v.GetSetAt(), now), v.GetSetBy(), dash(v.GetReason()), named)
	}
}

func newSecretDelete() *cobra.Command {
	var server serverFlags
	var out output
	var layer, reason string
	var version int64
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a secret, or one version of it, that no node needs any more",
		Long: `Delete removes all versions of a secret, or one. It is refused while nodes run, are to run or may have to go back to a release that names what would go; the error names
those releases. A rollout of another release that names it is refused from then on.`,
		Example: `  waft secret delete token --layer team/pay --version 3 --reason 'it leaked, and the fleet has version 4'`,
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if cmd.Flags().Changed("version") && version < 1 {
				return usagef("--version %d: versions are counted from 1; leave it out to delete all", version)
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				one, err := c.Secrets.DeleteSecret(ctx, &waftv1.DeleteSecretRequest{Name: args[0], Layer: layer, Version: version, Reason: reason})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), one, func(t *table) { drawVersions(t, one) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &reason)
	secretLayerFlag(cmd, &layer, "global")
	cmd.Flags().Int64Var(&version, "version", 0, "this one alone (default: all)")
	return cmd
}

// more says how many there are beside those that are named.
func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; and %d more", n)
}

func newSecretRekey() *cobra.Command {
	var server serverFlags
	var out output
	var reason string
	cmd := &cobra.Command{
		Use:   "rekey",
		Short: "Seal every secret anew with the first key of the distributor's file",
		Long: `Rekey seals every value anew that is not sealed with the first key of the file that waft serve was given (--secret-key). Put the new key into the file of every replica
first, behind the old one, then before it. Keep the old one as long as any backup from before: what is restored from one is sealed with it. Values stay what they are, and nodes
notice nothing. What cannot be opened is passed over, and said; rekey fails then, with the rest done.`,
		Example: "  waft secret rekey --reason 'a new key each year'",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				done, err := c.Secrets.RekeySecrets(ctx, &waftv1.RekeySecretsRequest{Reason: reason})
				if err != nil {
					return err
				}
				if err := out.print(cmd.OutOrStdout(), done, func(t *table) {
					t.row("KEY", "RESEALED", "FAILED")
					t.row(done.GetKey(), done.GetResealed(), done.GetFailures())
				}); err != nil || done.GetFailures() == 0 {
					return err
				}
				return fmt.Errorf("%d values could not be sealed anew: %s%s; add their keys to the distributor's file, and run it again, or set those secrets anew",
					done.GetFailures(), strings.Join(done.GetFailed(), "; "), more(int(done.GetFailures())-len(done.GetFailed())))
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	reasonFlag(cmd, &reason)
	return cmd
}
