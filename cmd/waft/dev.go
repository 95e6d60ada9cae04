package main

import (
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/dev"
)

func newDev() *cobra.Command {
	var config dev.Config
	var envoyPath string
	var clusters []string
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Run a filter in a real Envoy; what is saved is rebuilt and swapped in",
		Long: `Dev builds the filter of a directory (default: the working directory), runs it in a real Envoy, and shows requests, what the
filter logs, and its metrics. When the source or the configuration is saved, the filter is rebuilt, loaded beside the one that
serves, and swapped in; what does not build, or what Envoy refuses, is shown, and the last good one goes on serving.

The configuration, the upstream's answer and the clusters are those of the first scenario file, unless flags say otherwise. Ctrl-C
ends it, and leaves nothing behind.`,
		Example: `  waft dev ./filters/headers
  waft dev --config config.json --upstream 127.0.0.1:8080 ./login
  waft dev --cluster auth=127.0.0.1:9000 --trace ./login`,
		Args: oneArg("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			config.Dir = "."
			if len(args) > 0 {
				config.Dir = args[0]
			}
			if err := checkAddress("--listen", config.Listen); err != nil {
				return err
			}
			if config.Upstream != "" {
				if err := checkAddress("--upstream", config.Upstream); err != nil {
					return err
				}
			}
			config.Clusters = map[string]string{}
			for _, c := range clusters {
				name, address, ok := strings.Cut(c, "=")
				if !ok || name == "" {
					return usagef("--cluster %s: write NAME=HOST:PORT", c)
				}
				if err := checkAddress("--cluster "+name, address); err != nil {
					return err
				}
				config.Clusters[name] = address
			}
			binary, err := envoy.Find(envoyPath)
			if err != nil {
				return err
			}
			config.Binary, config.Out = binary, cmd.OutOrStdout()
			return dev.Run(cmd.Context(), config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.Listen, "listen", dev.DefaultListen, "where Envoy serves")
	f.StringVar(&config.Scenarios, "scenarios", "", "the scenario file to take configuration, upstream and clusters from (default: the first of DIR/scenarios)")
	f.StringVar(&config.ConfigFile, "config", "", "a file with the plugin configuration, passed as it is (default: that of the scenarios)")
	f.StringVar(&config.Upstream, "upstream", "", "host:port of the server that takes the requests (default: one that answers as in the scenarios)")
	f.StringArrayVar(&clusters, "cluster", nil, "NAME=HOST:PORT of a server that the filter calls; may be repeated (default: ones that answer as in the scenarios)")
	f.BoolVar(&config.Trace, "trace", false, "show every call between Envoy and the filter")
	f.StringVar(&envoyPath, "envoy", "", "the Envoy to run (default: $ENVOY, envoy on the PATH, or what `make envoy` fetched)")
	return cmd
}

// checkAddress refuses what is not host:port.
func checkAddress(flag, address string) error {
	if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
		return usagef("%s %q: write HOST:PORT", flag, address)
	}
	return nil
}
