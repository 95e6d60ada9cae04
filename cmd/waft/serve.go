package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/store"
)

// newServe is the command that has run run a distributor.
func newServe(run func(context.Context, distributor.Config) error) *cobra.Command {
	var logs logFlags
	var addressesFile, policyFile, accessFile, profiles string
	var mirrors, sinks []string
	config := distributor.Config{Version: version}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the distributor: API, MCP, registry and state in one process",
		Long: `Serve runs the distributor with etcd and an OCI registry embedded, on two ports: gRPC (API, MCP, MCP over xDS, health) and HTTP (REST,
/openapi.json, /v2/, /metrics, /healthz, /readyz). Everything it has acknowledged survives a crash. A second serve on the same
data folder is refused.

Without TLS files and without --insecure it makes an authority for certificates in DATA/tls, with a certificate for itself and one for an operator, and an
access policy by which that operator may do everything and nodes are nodes. waft certificate issues more.`,
		Example: `  waft serve --data ./waft-data                     # with certificates that it makes itself
  waft serve --data /var/lib/waft --grpc :7070 --http :7071 --tls-cert cert.pem --tls-key key.pem
  waft serve --insecure --data ./waft-data          # for a try, on one machine
  waft serve --data /var/lib/waft --etcd https://etcd-1:2379,https://etcd-2:2379,https://etcd-3:2379 --etcd-ca ca.pem \
    --peer :7072 --grpc :7070 --http :7071 --tls-cert cert.pem --tls-key key.pem --client-ca ca.pem   # one of several replicas`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			config.Log = log
			if config.KeepReleases == 0 {
				return usagef("--keep-releases 0: a release would be gone before it is rolled out; keep at least 1, or all with a negative number")
			}
			if config.KeepRollouts == 0 {
				return usagef("--keep-rollouts 0: a rollout would be gone as soon as it ends; keep at least 1, or all with a negative number")
			}
			if r := config.RegistryRetention; r != 0 && r < minRegistryRetention {
				return usagef("--registry-retention %s: who has asked whether a blob is there may still push the rest; keep it for %s at least, or for ever with 0", r, minRegistryRetention)
			}
			if config.Mirrors, err = parseMirrors(mirrors); err != nil {
				return err
			}
			for _, text := range sinks {
				sink, err := distributor.ParseSinkAddress(text)
				if err != nil {
					return err
				}
				config.Sinks = append(config.Sinks, sink)
			}
			ctx, stop := context.WithCancelCause(cmd.Context())
			defer stop(nil)
			if config.TrustPolicy, err = openPolicy(ctx, policyFile, log); err != nil {
				return err
			}
			if config.Access, err = openAccess(ctx, accessFile, log); err != nil {
				return err
			}
			config.Started = func(a distributor.Addresses) {
				if err := writeAddresses(addressesFile, a); err != nil {
					// Whoever asked for the file waits for it.
					stop(fmt.Errorf("--addresses-file: %w", err))
				}
			}
			if profiles != "" {
				profiled := make(chan error, 1)
				go func() { profiled <- profile(ctx, profiles) }()
				defer func() {
					stop(nil)
					if err := <-profiled; err != nil {
						log.Error("profiles were not written", "folder", profiles, "error", err)
					}
				}()
			}
			err = run(ctx, config)
			if cause := context.Cause(ctx); err == nil && cmd.Context().Err() == nil && cause != nil {
				return cause
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.Data, "data", "./waft-data", "the data folder; one process at a time may use it")
	f.StringVar(&config.GRPC, "grpc", distributor.DefaultGRPC, "listen for gRPC here; port 0 takes a free one")
	f.StringVar(&config.HTTP, "http", distributor.DefaultHTTP, "listen for HTTP here; port 0 takes a free one")
	etcdFlags(cmd, &config.Etcd)
	f.StringVar(&config.Peer, "peer", "", "with --etcd: listen here for other replicas (default "+distributor.DefaultPeer+")")
	f.StringVar(&config.PeerName, "peer-name", "", "with --etcd: HOST:PORT at which other replicas reach that port (default: what was bound, with the machine's name where that is no address)")
	f.StringVar(&config.TLS.Cert, "tls-cert", "", "PEM file of the server's certificate with its chain (default: one that serve makes in DATA/tls)")
	f.StringVar(&config.TLS.Key, "tls-key", "", "PEM file of its key")
	f.StringVar(&config.TLS.ClientCA, "client-ca", "", "PEM file of the authorities that may vouch for clients; then every client needs a certificate")
	f.StringVar(&accessFile, "access", "", "an access policy, in YAML: who may do what; needs --client-ca or issuers in it, unless serve makes the certificates; read anew when it changes, or on SIGHUP (default: DATA/tls/access.yaml where serve makes the certificates, else everybody who reaches the ports may do everything)")
	f.StringVar(&config.SecretKey, "secret-key", "", "file of the keys that seal the secrets which this distributor keeps, one a line, 32 bytes in base64, the same at all replicas; the first seals, all open; read anew when it changes (default: DATA/secret.key, made where there is none and no value is sealed yet; with --etcd: none)")
	f.BoolVar(&config.Insecure, "insecure", false, "no TLS; for a try on one machine only")
	f.StringSliceVar(&config.Names, "name", nil, "a name, HOST or HOST:PORT, by which references may call this registry (may repeat)")
	f.StringSliceVar(&config.PlainHTTP, "plain-http", nil, "speak without TLS to this other registry, HOST or HOST:PORT (may repeat)")
	mirrorFlag(cmd, &mirrors)
	f.StringVar(&config.RegistryCA, "registry-ca", "", "PEM file of the authorities that may vouch for other registries (default: the system's)")
	f.StringSliceVar(&config.GateHosts, "gate-host", nil, "a host, HOST or HOST:PORT, that the gates of rollouts may ask; with a /PATH behind it, there alone (may repeat; default: none)")
	f.StringVar(&config.FreezeFile, "freeze", "", "YAML file of the windows in which no rollout moves on; read again when it changes")
	f.Var((*limit)(&config.MaxNotServing), "max-not-serving", "how many nodes of the fleet may be on their way or not serving at any moment, as a number or as a part of those that are there (5%), at least one; it holds for every rollout, undo and rollback, beside their own maxNotServing; the same at all replicas (default: none)")
	f.StringSliceVar(&sinks, "sink", nil, "NODE=HOST:PORT: dial the MCP sink of that node, which waits to be dialled (may repeat)")
	f.StringVar(&config.SinkCA, "sink-ca", "", "PEM file of the authorities that may vouch for sinks that are dialled (default: the system's)")
	config.CacheBytes = distributor.DefaultCacheBytes
	f.Var((*size)(&config.CacheBytes), "cache-size", "what copies of modules and images may use on disk; those that nodes run or may go back to stay whatever they use; none for no bound")
	f.DurationVar(&config.RegistryRetention, "registry-retention", 0, "remove an artifact from the embedded registry, with its signatures, that no release, no collection and no tag named and nobody pulled for so long while this ran, at least "+minRegistryRetention.String()+"; 0: never")
	f.DurationVar(&config.ForgetNodesAfter, "forget-nodes-after", distributor.DefaultForgetNodesAfter, "forget a node that was away for so long while this ran; negative: never")
	f.IntVar(&config.KeepReleases, "keep-releases", distributor.DefaultKeepReleases, "how many releases of each name to keep although no node, rollout or undo needs them, at least 1; negative: all")
	f.IntVar(&config.RequestsPerSecond, "requests-per-second", distributor.DefaultRequestsPerSecond, "how many calls and requests one client may make in a second, twenty seconds' worth at once; negative: any number")
	f.BoolVar(&config.AllowInlineSecrets, "allow-inline-secrets", false, "take resources of Envoy with private keys and other secrets in them, which are stored as they are and shown to whoever may see anything")
	f.IntVar(&config.StreamsPerClient, "streams-per-client", distributor.DefaultStreamsPerClient, "how many streams one client may have open: a certificate, a token, or else an address; negative: any number")
	f.DurationVar(&config.ConnectionAge, "connection-age", distributor.DefaultConnectionAge, "with --etcd: end a client's connection when it is so old, a tenth more or less, so that clients spread anew over the replicas; negative: never")
	f.IntVar(&config.KeepRollouts, "keep-rollouts", distributor.DefaultKeepRollouts, "how many rollouts to keep although no node, undo or node that joins needs them, at least 1; negative: all")
	f.StringVar(&policyFile, "trust-policy", "", "a trust policy, in YAML: what it refuses goes into no release; read anew when it changes, or on SIGHUP")
	f.StringVar(&config.Replica, "replica", "", "this distributor's name in the rows of nodes (default: the machine's)")
	f.StringVar(&addressesFile, "addresses-file", "", "write the addresses that were bound to this file, as JSON, once everything is served")
	f.StringVar(&profiles, "profile", "", "write profiles of the CPU, for each 5 s, and at the end of the heap and of locks, to this folder, for go tool pprof")
	logs.flags(cmd)
	return cmd
}

// minRegistryRetention is longer than any push takes, and the creation of a release from what was pushed.
const minRegistryRetention = 24 * time.Hour

// etcdFlags name an etcd that runs elsewhere.
func etcdFlags(cmd *cobra.Command, e *store.External) {
	f := cmd.Flags()
	f.StringSliceVar(&e.Endpoints, "etcd", nil, "client URLs of an etcd that runs elsewhere, with commas between; every serve that names the same one is a replica of the same distributor (default: one that is embedded)")
	f.StringVar(&e.CA, "etcd-ca", "", "PEM file of the authorities that may vouch for its members (default: the system's)")
	f.StringVar(&e.Cert, "etcd-cert", "", "PEM file of a certificate to show to it")
	f.StringVar(&e.Key, "etcd-key", "", "PEM file of its key")
	f.StringVar(&e.User, "etcd-user", "", "the user to be there, if it asks for one")
	f.StringVar(&e.PasswordFile, "etcd-password-file", "", "file with the password of that user")
}

// writeAddresses tells another process where this one listens, by a file that is whole or not there.
func writeAddresses(path string, a distributor.Addresses) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(map[string]string{"grpc": a.GRPC, "http": a.HTTP})
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

// logFlags say what a long-running command logs, and how.
type logFlags struct{ format, level string }

func (l *logFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
}

func (l *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, usagef("--log-level %s: not a level; use debug, info, warn or error", l.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usagef("--log-format %s: not a format; use text or json", l.format)
}
