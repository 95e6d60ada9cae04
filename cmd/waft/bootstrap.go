package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/agent"
	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/envoy"
)

// newBootstrap prints what an Envoy without an agent starts from.
func newBootstrap() *cobra.Command {
	var labels []string
	var envoyPath, number, outFile string
	var insecure bool
	var tls api.ClientTLS
	config := envoy.BootstrapConfig{Preload: true, ADS: &envoy.ADS{}}
	cmd := &cobra.Command{
		Use:   "bootstrap --node ID --upstream HOST:PORT [flags]",
		Short: "Print the bootstrap of an Envoy that has no agent and asks the distributor over ADS",
		Long: `Bootstrap prints what an Envoy (1.39 or later) starts from that has no agent beside it: it asks the distributor for its chain by
aggregated discovery (ADS), fetches the modules by digest from the distributor's HTTP port, and listens once it has accepted its first
chain. It pushes its statistics to the distributor, for the gates of rollouts. Such a node is staged like any other, and gets less: no
probe, no last good chain after a restart. With --dynamic its listeners, routes, clusters, endpoints and secrets come from releases, too.
docs/dialects.md has the whole list.`,
		Example: `  waft bootstrap --node edge-1 --label env=prod --server waft.example:7070 --modules waft.example:7071 --ca /etc/waft/ca.pem \
    --listen 0.0.0.0:10000 --upstream 127.0.0.1:8080 --out bootstrap.json
  envoy -c bootstrap.json
  waft bootstrap --node edge-2 --dynamic --delta --server waft.example:7070 --modules waft.example:7071 --ca /etc/waft/ca.pem --out bootstrap.json`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if config.ADS.Labels, err = parseLabels(labels); err != nil {
				return err
			}
			if config.Number, err = numberOf(cmd, number, envoyPath); err != nil {
				return err
			}
			config.Preload = config.Number.HasFilterChain() || !config.ADS.Dynamic
			switch {
			case config.ADS.Dynamic && config.Listen != "":
				return usagef("--listen and --dynamic exclude each other: the listeners come from releases")
			case config.Upstream == "" && !config.ADS.Dynamic:
				return usagef("--upstream is missing: say which service stands behind Envoy")
			case insecure && tls != (api.ClientTLS{}):
				return usagef("--insecure and files for TLS exclude each other; leave out one of them")
			case !insecure && tls.CA == "":
				return usagef("--ca is missing: the authorities that may vouch for the distributor; or give --insecure, for a try on one machine")
			case !insecure:
				files := envoy.ADSTLS{CA: tls.CA, Cert: tls.Cert, Key: tls.Key}
				for _, file := range []*string{&files.CA, &files.Cert, &files.Key} {
					if *file == "" {
						continue
					}
					if *file, err = filepath.Abs(*file); err != nil {
						return err
					}
				}
				config.ADS.TLS = &files
			}
			content, err := config.Render()
			if err != nil {
				return err
			}
			if outFile != "" {
				return writeFile(outFile, content)
			}
			_, err = cmd.OutOrStdout().Write(content)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.NodeID, "node", "", "the node's id")
	_ = cmd.MarkFlagRequired("node")
	f.StringArrayVar(&labels, "label", nil, "KEY=VALUE, what targets select the node by (may repeat)")
	f.StringVar(&config.Cluster, "cluster", agent.DefaultCluster, "the node's cluster in Envoy's words; a label, too")
	f.StringVar(&config.ADS.Address, "server", defaultServer, "the distributor's gRPC address")
	f.StringVar(&config.ADS.Modules, "modules", "127.0.0.1:7071", "the distributor's HTTP address, where modules are fetched")
	f.BoolVar(&config.ADS.Delta, "delta", false, "incremental xDS (delta) instead of the state of the world")
	f.BoolVar(&config.ADS.Dynamic, "dynamic", false, "take listeners and clusters, and all that they refer to, from releases; with --upstream they may refer to the cluster "+envoy.UpstreamCluster)
	f.DurationVar(&config.ADS.Statistics, "statistics-interval", envoy.DefaultStatistics, "how often Envoy pushes its statistics to the distributor; 0 for never: gates then know nothing of its requests")
	f.BoolVar(&config.ADS.OnlyJudged, "only-gate-statistics", false, "have Envoy keep no other statistics than those that gates read: less to push, and less for everybody else")
	f.BoolVar(&insecure, "insecure", false, "speak to the distributor without TLS")
	f.StringVar(&tls.CA, "ca", "", "PEM file of the authorities that may vouch for the distributor, where Envoy runs")
	f.StringVar(&tls.Cert, "cert", "", "PEM file of the node's certificate")
	f.StringVar(&tls.Key, "key", "", "PEM file of its key")
	f.StringVar(&config.AdminAddress, "admin", "", "Envoy's admin address (default: a free port of loopback)")
	f.StringVar(&config.Listen, "listen", "", "where Envoy serves (default: a free port of loopback)")
	f.StringVar(&config.Upstream, "upstream", "", "HOST:PORT of the service behind Envoy")
	f.StringVar(&number, "envoy-version", "", "the version that the bootstrap is for, MAJOR.MINOR.PATCH (default: that of the binary)")
	f.StringVar(&envoyPath, "envoy", "", "the Envoy binary to ask for its version (default: $ENVOY, or envoy on the PATH)")
	f.StringVar(&outFile, "out", "", "write to this file instead")
	return cmd
}

// numberOf is the version of Envoy that a flag says, or that of a binary.
func numberOf(cmd *cobra.Command, said, path string) (envoy.Number, error) {
	if said != "" {
		number, err := envoy.ParseNumber(said)
		if err != nil {
			return number, usagef("--envoy-version: %w", err)
		}
		return number, nil
	}
	binary, err := envoy.Find(path)
	if errors.Is(err, envoy.ErrNotFound) {
		return envoy.Number{}, fmt.Errorf("%w; or say --envoy-version", err)
	}
	if err != nil {
		return envoy.Number{}, err
	}
	version, err := binary.Version(cmd.Context())
	return version.Number, err
}
