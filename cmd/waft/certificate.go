package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/authority"
)

// issued is what certificate prints.
type issued struct {
	ID   string `json:"id"`
	CA   string `json:"ca"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

func newCertificate() *cobra.Command {
	var out output
	var data, dir string
	cmd := &cobra.Command{
		Use:   "certificate node|person NAME",
		Short: "Issue a certificate by the authority that waft serve has made",
		Long: `Certificate issues a certificate for a node or for a person, by the authority that waft serve makes in its data folder when it is given no TLS
files. It runs on the distributor's machine, as whoever may read that folder; bring the files to where they are used, and keep the key from others.

A node may be nothing but the node of its name. What a person may do is for the access policy to say (DATA/tls/access.yaml); by itself it may
do nothing.`,
		Example: `  waft certificate node edge-1 --data /var/lib/waft --dir ./edge-1
  waft certificate person ann --data /var/lib/waft`,
		Args: exactArgs("node|person", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			kind, name := args[0], args[1]
			if kind != "node" && kind != "person" {
				return usagef("%s: %q is neither node nor person", cmd.CommandPath(), kind)
			}
			ca, err := authority.Open(authority.Folder(data))
			if err != nil {
				return err
			}
			files, err := ca.Issue(dir, kind, name)
			if errors.Is(err, authority.ErrName) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			made := issued{ID: authority.ID(kind, name), CA: ca.CA(), Cert: files.Cert, Key: files.Key}
			return out.print(cmd.OutOrStdout(), made, func(t *table) {
				t.row("id", made.ID)
				t.row("ca", made.CA)
				t.row("cert", made.Cert)
				t.row("key", made.Key)
			})
		},
	}
	out.flag(cmd)
	cmd.Flags().StringVar(&data, "data", "./waft-data", "the data folder of waft serve")
	cmd.Flags().StringVar(&dir, "dir", ".", "the folder to write NAME.pem and NAME.key to; made if need be")
	return cmd
}
