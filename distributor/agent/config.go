package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
)

// What a Config means where it does not say.
const (
	// DefaultCluster is the node's cluster in Envoy's words.
	DefaultCluster = "waft"
	// DefaultTrial is how long a chain must serve before it becomes the last good one. It is longer than the time after
	// which Envoy aborts when a worker hangs (envoy.DefaultWorkerKillTimeout).
	DefaultTrial = 8 * time.Second
	// DefaultDrain is how long Envoy may go on with requests that are under way when the agent ends.
	DefaultDrain = 5 * time.Second
	// DefaultCacheBytes is what copies of modules may use on disk, apart from those that are serving or needed for a rollback.
	DefaultCacheBytes = 2 << 30
	// ModulesRepository is the repository under which a distributor serves modules by digest.
	ModulesRepository = "waft/modules"
)

// ErrInvalid means that a Config cannot work.
var ErrInvalid = errors.New("agent: invalid configuration")

// Config says what an agent is and what it looks after. Node, Server, Modules, StateDir and Envoy are required.
type Config struct {
	// Node is the node's id, Labels are what targets select it by.
	Node   string
	Labels map[string]string
	// Cluster is the node's cluster in Envoy's words. Empty: DefaultCluster.
	Cluster string
	// Version is the agent's own, for reports.
	Version string

	// Server is the distributor's gRPC address, host:port.
	Server string
	// Modules is host:port of the distributor's HTTP port, where modules are served by digest.
	Modules string
	// TLS is for both. It is asked for at each connection, so that a certificate may be renewed. Nil with Insecure false: the system's authorities.
	TLS func() *tls.Config
	// Insecure speaks plain text to both.
	Insecure bool

	// StateDir belongs to this agent alone; it is made with mode 0700. A second agent on it is refused.
	StateDir string
	// ResourcesDir is where the resources of the chain that serves are shown to applications on this machine; see show. Only the agent writes there. Empty:
	// StateDir/resources, which no other user can read.
	ResourcesDir string

	// Envoy is the binary: to run, and to probe with. An Envoy that others run must be of the same build.
	Envoy envoy.Binary
	// EnvoyArgs are added to Envoy's command line, where the agent is its parent.
	EnvoyArgs []string
	// LeaveEnvoy has Envoy outlive the agent, where the agent is its parent: it goes on when ctx ends and when the agent crashes, and the
	// next agent on the same StateDir takes it over. Linux only.
	LeaveEnvoy bool
	// Beside is true when others run Envoy, from the bootstrap at BootstrapOut, with its admin interface at Admin.
	Beside bool
	// SlotOnly is true when the bootstrap, listeners, routes and clusters of an Envoy that others run come from others, too: only the slots'
	// files in StateDir/slots are the agent's. There is no default then to fall back to for an Envoy that starts by itself.
	SlotOnly bool
	// StatPrefix is that of the connection manager which holds the slot, where that is not the agent's own (SlotOnly). Empty:
	// envoy.DefaultStatPrefix.
	StatPrefix string
	// Admin is host:port of Envoy's admin interface. Where the agent is Envoy's parent, empty lets the system choose the port.
	Admin string
	// EnvoyLog is the file that an Envoy run by others logs to; the reasons of rejections are read from it. Empty: unknown.
	EnvoyLog string
	// EnvoyOutput is true when Envoy's own log lines are to go to Log as well, where the agent is its parent.
	EnvoyOutput bool
	// BootstrapOut is the bootstrap that the agent keeps up to date for whoever runs Envoy. Empty: StateDir/envoy/bootstrap.json.
	BootstrapOut string

	// Listen is where Envoy serves, host:port. Empty: loopback, and the system chooses the port.
	Listen string
	// Upstream, DirectResponse, Routes and Clusters say where requests go, as in envoy.BootstrapConfig.
	Upstream       string
	DirectResponse *envoy.DirectResponse
	Routes         []envoy.Route
	Clusters       []envoy.Cluster
	// Slots names the filters that have a slot in an Envoy before 1.39. Empty: those of the first chain, where the agent is
	// Envoy's parent. For later versions it must be empty.
	Slots []string

	// Trial, Drain and CacheBytes: zero means the default. A negative Trial makes a chain good as soon as it serves; with negative
	// CacheBytes nothing is removed.
	Trial      time.Duration
	Drain      time.Duration
	CacheBytes int64

	// TrustPolicy is the node's own policy: what it refuses is not given to Envoy. It is read anew when its file changes. Nil: everything
	// that the distributor sends is taken.
	TrustPolicy *trust.File

	// SecretDirs are the folders whose files a release may name as secrets, SecretEnv the prefixes of the environment variables that it may. Whoever may have a release run on
	// this node can read what is allowed here. Empty: none is allowed.
	SecretDirs []string
	SecretEnv  []string

	// Log; nil logs nowhere.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	// Envoy's files name each other by absolute paths.
	if c.ResourcesDir == "" {
		c.ResourcesDir = filepath.Join(c.StateDir, resourcesFolder)
	}
	for _, path := range []*string{&c.StateDir, &c.BootstrapOut, &c.ResourcesDir} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return c, fmt.Errorf("make %s absolute: %w", *path, err)
		}
		*path = absolute
	}
	c.SecretDirs = slices.Clone(c.SecretDirs)
	for i, dir := range c.SecretDirs {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return c, fmt.Errorf("make %s absolute: %w", dir, err)
		}
		c.SecretDirs[i] = absolute
	}
	if c.Cluster == "" {
		c.Cluster = DefaultCluster
	}
	if c.Trial == 0 {
		c.Trial = DefaultTrial
	}
	if c.Drain == 0 {
		c.Drain = DefaultDrain
	}
	if c.StatPrefix == "" {
		c.StatPrefix = envoy.DefaultStatPrefix
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.BootstrapOut == "" {
		c.BootstrapOut = filepath.Join(c.StateDir, envoyFolder, "bootstrap.json")
	}
	return c, nil
}

// within says whether a path is a folder, or below it.
func within(dir, path string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative)
}

// check says what is wrong with a configuration, and which field.
func (c Config) check() error {
	if err := model.ValidateNodeID("node", "node", c.Node); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := model.ValidateLabels("node/"+c.Node, "labels", c.Labels); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for _, address := range []struct {
		field, value string
		required     bool
	}{
		{"server", c.Server, true}, {"modules", c.Modules, true},
		{"admin", c.Admin, c.Beside}, {"listen", c.Listen, false}, {"upstream", c.Upstream, false},
	} {
		if address.value == "" && !address.required {
			continue
		}
		if _, _, err := net.SplitHostPort(address.value); err != nil {
			return fmt.Errorf("%w: %s: %q is not host:port", ErrInvalid, address.field, address.value)
		}
	}
	switch {
	case slices.Contains(c.SecretEnv, ""):
		return fmt.Errorf("%w: secrets: an empty prefix allows every environment variable; name one", ErrInvalid)
	case slices.ContainsFunc(c.SecretDirs, func(dir string) bool { return dir == "/" || within(dir, c.StateDir) || within(c.StateDir, dir) }):
		return fmt.Errorf("%w: secrets: %v allows all files, or those of the agent itself; name a folder that holds secrets and nothing else", ErrInvalid, c.SecretDirs)
	case c.StateDir == "":
		return fmt.Errorf("%w: state: name a folder for the agent's state", ErrInvalid)
	case c.Envoy.Path == "":
		return fmt.Errorf("%w: envoy: name the Envoy binary; the probe needs it, whoever runs Envoy", ErrInvalid)
	case c.Insecure && c.TLS != nil:
		return fmt.Errorf("%w: TLS is configured and switched off; leave out one of them", ErrInvalid)
	case c.SlotOnly && !c.Beside:
		return fmt.Errorf("%w: only the slot is the agent's, and the agent is to run Envoy; others must run one whose bootstrap is not the agent's", ErrInvalid)
	case c.SlotOnly && (c.Listen != "" || c.Upstream != "" || c.DirectResponse != nil || c.Routes != nil || c.Clusters != nil):
		return fmt.Errorf("%w: only the slot is the agent's, and it is told where Envoy listens or sends requests; leave that out, whoever writes the bootstrap says it", ErrInvalid)
	case !c.SlotOnly && c.StatPrefix != envoy.DefaultStatPrefix:
		return fmt.Errorf("%w: a stat prefix is given, and the bootstrap is the agent's, where it is %s", ErrInvalid, envoy.DefaultStatPrefix)
	case c.Beside && c.LeaveEnvoy:
		return fmt.Errorf("%w: Envoy is to outlive the agent, and others run it; it does so by itself", ErrInvalid)
	case c.LeaveEnvoy && runtime.GOOS != "linux":
		return fmt.Errorf("%w: %w", ErrInvalid, envoy.ErrNotLinux)
	case c.Beside && len(c.EnvoyArgs) > 0:
		return fmt.Errorf("%w: arguments for Envoy are given, and others run it", ErrInvalid)
	}
	return nil
}

// bootstrap is the bootstrap of this node for one version of Envoy, without a chain.
func (c Config) bootstrap(number envoy.Number) envoy.BootstrapConfig {
	return envoy.BootstrapConfig{
		NodeID: c.Node, Cluster: c.Cluster, Number: number,
		AdminAddress: c.Admin, Listen: c.Listen, SlotDir: filepath.Join(c.StateDir, slotsFolder),
		Preload:  number.HasFilterChain(),
		Upstream: c.Upstream, DirectResponse: c.DirectResponse, Routes: c.Routes, Clusters: c.Clusters,
	}
}

// modulesRepository is where the distributor serves modules by digest.
func (c Config) modulesRepository() registry.Reference {
	return registry.Reference{Registry: c.Modules, Repository: ModulesRepository}
}
