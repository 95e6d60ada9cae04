package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/agent"
	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/envoy"
)

// newAgent is the command that has run run an agent.
func newAgent(run func(context.Context, agent.Config) error) *cobra.Command {
	var logs logFlags
	var labels []string
	var envoyPath, policyFile string
	var tls api.ClientTLS
	config := agent.Config{Version: version}
	cmd := &cobra.Command{
		Use:   "agent --node ID [flags] [-- envoy [ENVOY FLAGS]]",
		Short: "Run beside an Envoy: fetch, verify, probe, swap, report, and keep the last good chain",
		Long: `Agent takes a node's chain from the distributor, fetches its modules by digest, verifies them, tries the chain out with
envoy --mode validate, swaps it into the running Envoy, and reports what Envoy makes of it. Whatever fails, Envoy goes on with the
chain that it had; without the distributor, too, and after a restart.

With "-- envoy" the agent is Envoy's parent: it starts it when there is a first chain, and again when it crashes. Envoy then ends
with the agent, drained when the agent is stopped and killed when it crashes, unless it has --leave-envoy, which is for where something
starts the agent again: with it, agents restart, are upgraded and crash without a dropped request. Without "-- envoy", others run Envoy
from the bootstrap that the agent writes (--bootstrap-out) and keeps up to date, and --admin says where to ask it.`,
		Example: `  waft agent --node edge-1 --label env=prod --server waft.example:7070 --modules waft.example:7071 \
    --state /var/lib/waft-agent --listen 0.0.0.0:10000 --upstream 127.0.0.1:8080 --leave-envoy -- envoy
  waft agent --node edge-1 --server waft.example:7070 --modules waft.example:7071 --state /var/lib/waft-agent \
    --bootstrap-out /etc/envoy/bootstrap.json --admin 127.0.0.1:9901`,
		RunE: func(cmd *cobra.Command, args []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			config.Log = log
			if config.Labels, err = parseLabels(labels); err != nil {
				return err
			}
			if tls != (api.ClientTLS{}) {
				if config.TLS, err = reloadingTLS(cmd.Context(), tls, log); err != nil {
					return err
				}
			}
			if config.StateDir, err = filepath.Abs(config.StateDir); err != nil {
				return err
			}
			dash := cmd.ArgsLenAtDash()
			switch {
			case len(args) > 0 && dash != 0:
				return usagef("%q is not expected here; Envoy and its flags stand behind --", args[0])
			case len(args) > 0:
				if envoyPath != "" {
					return usagef("--envoy and `-- %s` both name Envoy; leave out one of them", args[0])
				}
				if config.Envoy, err = findNamed(args[0]); err != nil {
					return err
				}
				config.EnvoyArgs = args[1:]
			default:
				config.Beside = true
				if config.Admin == "" {
					return usagef("--admin is missing: say where Envoy's admin interface is, or give `-- envoy` to have the agent run Envoy")
				}
				if config.Envoy, err = envoy.Find(envoyPath); err != nil {
					return err
				}
			}
			if config.TrustPolicy, err = openPolicy(cmd.Context(), policyFile, log); err != nil {
				return err
			}
			return run(cmd.Context(), config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.Node, "node", "", "the node's id")
	_ = cmd.MarkFlagRequired("node")
	f.StringArrayVar(&labels, "label", nil, "KEY=VALUE, what targets select the node by (may repeat)")
	f.StringVar(&config.Cluster, "cluster", agent.DefaultCluster, "the node's cluster in Envoy's words")
	f.StringVar(&config.Server, "server", defaultServer, "the distributor's gRPC address")
	f.StringVar(&config.Modules, "modules", "127.0.0.1:7071", "the distributor's HTTP address, where modules are fetched")
	f.BoolVar(&config.Insecure, "insecure", false, "speak to the distributor without TLS")
	f.StringVar(&tls.CA, "ca", "", "PEM file of the authorities that may vouch for the distributor (default: the system's)")
	f.StringVar(&tls.Cert, "cert", "", "PEM file of the agent's certificate")
	f.StringVar(&tls.Key, "key", "", "PEM file of its key")
	f.StringVar(&policyFile, "trust-policy", "", "the node's own trust policy, in YAML: what it refuses is not given to Envoy; read anew when it changes, or on SIGHUP")
	f.StringArrayVar(&config.SecretDirs, "secret-dir", nil, "a folder whose files configurations may name as secrets (may repeat; default: none may be named)")
	f.StringArrayVar(&config.SecretEnv, "secret-env", nil, "a prefix of the environment variables that configurations may name as secrets (may repeat; default: none)")
	f.StringVar(&config.StateDir, "state", defaultState, "the agent's own folder: modules, chains, the bootstrap")
	f.StringVar(&config.ResourcesDir, "resources", "", "where the resources of the release that serves are shown to applications (default: resources/ of --state)")
	f.StringVar(&config.Admin, "admin", "", "Envoy's admin address (default, as Envoy's parent: a free port of loopback)")
	f.StringVar(&config.Listen, "listen", "", "where Envoy serves (default: a free port of loopback)")
	f.StringVar(&config.Upstream, "upstream", "", "HOST:PORT of the service behind Envoy")
	f.StringVar(&config.BootstrapOut, "bootstrap-out", "", "keep the bootstrap in this file, for whoever runs Envoy")
	f.BoolVar(&config.SlotOnly, "slot-only", false, "the bootstrap of the Envoy that others run comes from others, too: only the slot's files, in slots/ of --state, are the agent's")
	f.StringVar(&config.StatPrefix, "stat-prefix", envoy.DefaultStatPrefix, "with --slot-only: the stat_prefix of the connection manager that holds the slot")
	f.StringVar(&config.EnvoyLog, "envoy-log", "", "the log file of an Envoy that others run; reasons of rejections are read from it")
	f.StringSliceVar(&config.Slots, "slots", nil, "before Envoy 1.39: the names of the filters that have a slot, in their order")
	f.DurationVar(&config.Trial, "trial", agent.DefaultTrial, "how long a chain must serve before it is the one to fall back to")
	f.DurationVar(&config.Drain, "drain", agent.DefaultDrain, "how long Envoy may finish requests when the agent ends")
	config.CacheBytes = agent.DefaultCacheBytes
	f.Var((*size)(&config.CacheBytes), "cache-size", "what copies of modules may use on disk; those that serve or may be gone back to stay whatever they use; none for no bound")
	f.Var((*size)(&config.CacheBytes), "cache-bytes", "")
	_ = f.MarkDeprecated("cache-bytes", "it is called --cache-size now")
	f.BoolVar(&config.LeaveEnvoy, "leave-envoy", false, "as Envoy's parent: leave Envoy running when the agent ends or crashes, instead of ending it; the next agent on the same --state takes it over (Linux)")
	f.BoolVar(&config.EnvoyOutput, "envoy-output", false, "write Envoy's own log lines to the agent's log, too")
	f.StringVar(&envoyPath, "envoy", "", "the Envoy binary to probe with, where others run Envoy (default: $ENVOY, or envoy on the PATH)")
	logs.flags(cmd)
	cmd.AddCommand(newAgentStop())
	return cmd
}

// newAgentStop ends what `waft agent --leave-envoy` has left.
func newAgentStop() *cobra.Command {
	var logs logFlags
	var config agent.Config
	cmd := &cobra.Command{
		Use:     "stop [--state DIR]",
		Short:   "Drain and end the Envoy that an agent with --leave-envoy has left",
		Example: `  waft agent stop --state /var/lib/waft-agent`,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if config.Log, err = logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			return agent.StopEnvoy(config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.StateDir, "state", defaultState, "the agent's folder")
	f.DurationVar(&config.Drain, "drain", agent.DefaultDrain, "how long Envoy may finish requests")
	logs.flags(cmd)
	return cmd
}

// defaultState is the agent's folder where none is named.
const defaultState = "./waft-agent"

// findNamed finds the binary that a command line names. The bare word "envoy" is any Envoy that there is.
func findNamed(name string) (envoy.Binary, error) {
	if name == "envoy" {
		return envoy.Find("")
	}
	path, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return envoy.Binary{}, err
	}
	return envoy.Find(path)
}

func parseLabels(pairs []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usagef("--label %s: not KEY=VALUE", pair)
		}
		if other, taken := labels[key]; taken {
			return nil, usagef("--label %s: %s is %s already", pair, key, other)
		}
		labels[key] = value
	}
	return labels, nil
}
