package main

import (
	"github.com/spf13/cobra"

	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/symbolize"
)

func newSymbolize() *cobra.Command {
	return &cobra.Command{
		Use:   "symbolize FILE.symbols",
		Short: "Name the Go functions in an Envoy's log of a crashed filter",
		Long: `Symbolize copies a log from standard input, with functions by name where Envoy has numbers. FILE.symbols is what waft build wrote
beside the module; keep it with each release. What a Go module writes in pieces when it dies is put together.`,
		Example: `  waft symbolize dist/authz.symbols < envoy.log`,
		Args:    exactArgs("FILE.symbols"),
		RunE: func(cmd *cobra.Command, args []string) error {
			symbols, err := build.ReadSymbols(args[0])
			if err != nil {
				return err
			}
			return symbolize.Log(cmd.OutOrStdout(), cmd.InOrStdin(), symbols)
		},
	}
}
