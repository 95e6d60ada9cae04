package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/loopback"
)

// startLimit is how long a process may take to say where it listens, on a busy machine.
const startLimit = time.Minute

// Config of a fleet. All fields but the flags are needed.
type Config struct {
	// Waft is the program's own binary; all of waft's processes are started from it.
	Waft string
	// Envoy is the Envoy binary.
	Envoy string
	// Root is where commands run.
	Root string
	// Dir holds logs and state. Stop removes it.
	Dir string
	// Secure: the distributor makes its own certificates, and all speak TLS and show theirs. False: --insecure.
	Secure bool
	// ServeFlags and AgentFlags are added to the command lines of processes that are started from then on.
	ServeFlags, AgentFlags []string
}

// Fleet is every process on this machine that was started through it.
type Fleet struct {
	Config

	serve    *Process
	upstream *Process
	grpc     string
	http     string
	backend  string
	nodes    []*Node
}

// New makes a fleet without any process.
func New(config Config) *Fleet { return &Fleet{Config: config} }

// Node is one Envoy with its agent.
type Node struct {
	ID string
	// Agent is the process of the agent.
	Agent *Process
	// Envoy is the process of Envoy, where the agent is not its parent.
	Envoy *Process
	// Listen is where clients reach the Envoy, Admin asks it for its statistics.
	Listen string
	Admin  *envoy.Admin

	state           string
	argv, envoyArgv []string // without the program; with it
}

// GRPC and HTTP are the distributor's addresses.
func (f *Fleet) GRPC() string { return f.grpc }

// HTTP is the address of the distributor's REST API, registry and modules.
func (f *Fleet) HTTP() string { return f.http }

// Upstream is the address of the service behind the Envoys.
func (f *Fleet) Upstream() string { return f.backend }

// Serve is the process of the distributor.
func (f *Fleet) Serve() *Process { return f.serve }

// Nodes in the order in which they were started.
func (f *Fleet) Nodes() []*Node { return f.nodes }

// StartServe starts the distributor, with etcd and the registry embedded; again on the same ports and data after an end.
func (f *Fleet) StartServe(ctx context.Context) error {
	addresses := filepath.Join(f.Dir, "serve.addresses")
	// A restart writes the file anew; the old one would be read for the new one.
	if err := os.Remove(addresses); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listenGRPC, listenHTTP := "127.0.0.1:0", "127.0.0.1:0"
	if f.grpc != "" {
		listenGRPC, listenHTTP = f.grpc, f.http
	}
	argv := []string{
		f.Waft, "serve", "--data", f.data(), "--grpc", listenGRPC, "--http", listenHTTP, "--addresses-file", addresses,
	}
	if !f.Secure {
		argv = append(argv, "--insecure")
	}
	p, err := StartProcess(f.Dir, "serve", append(argv, f.ServeFlags...)...)
	if err != nil {
		return err
	}
	f.serve = p
	var bound struct{ GRPC, HTTP string }
	err = WaitFor(ctx, "the distributor to listen", startLimit, func(context.Context) error {
		if p.Ended() {
			return p.Failure()
		}
		return readJSON(addresses, &bound)
	})
	if err != nil {
		return err // where it listened before it is to listen again
	}
	f.grpc, f.http = bound.GRPC, bound.HTTP
	return nil
}

// StartUpstream starts the service behind the Envoys.
func (f *Fleet) StartUpstream(ctx context.Context) error {
	address := filepath.Join(f.Dir, "upstream.address")
	p, err := StartProcess(f.Dir, "upstream", f.Waft, "demo", "upstream", "--address-file", address)
	if err != nil {
		return err
	}
	f.upstream = p
	return WaitFor(ctx, "the upstream to listen", startLimit, func(context.Context) error {
		if p.Ended() {
			return p.Failure()
		}
		text, err := os.ReadFile(address)
		if err != nil || len(text) == 0 {
			return NotYetf("no address in %s", address)
		}
		f.backend = string(text)
		return nil
	})
}

// StartAgent starts an agent. It starts its Envoy once it was given a first chain, not before.
func (f *Fleet) StartAgent(id string, labels ...string) (*Node, error) {
	n, err := f.newNode(id, labels)
	if err != nil {
		return nil, err
	}
	n.argv = append(n.argv, "--", f.Envoy, "--concurrency", "1", "--log-level", "warning")
	return n, f.add(n)
}

// StartBeside starts an agent and, with flags of its own, an Envoy that the agent does not start.
func (f *Fleet) StartBeside(ctx context.Context, id string, envoyFlags []string, labels ...string) (*Node, error) {
	n, err := f.newNode(id, labels)
	if err != nil {
		return nil, err
	}
	bootstrap, log := filepath.Join(f.Dir, id+".bootstrap.json"), filepath.Join(f.Dir, id+".envoy-own.log")
	n.argv = append(n.argv, "--envoy", f.Envoy, "--bootstrap-out", bootstrap, "--envoy-log", log)
	n.envoyArgv = append([]string{f.Envoy, "-c", bootstrap, "--log-path", log, "--concurrency", "1", "--log-level", "warning"}, envoyFlags...)
	if err := f.add(n); err != nil {
		return nil, err
	}
	if err := WaitFor(ctx, id+" to have a bootstrap", startLimit, func(context.Context) error {
		if n.Agent.Ended() {
			return n.Agent.Failure()
		}
		if _, err := os.Stat(bootstrap); err != nil {
			return NotYetf("%v", err)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return n, f.RestartEnvoy(n)
}

// RestartEnvoy starts the Envoy of a node that StartBeside has made, again after it has ended; more flags are for this time.
func (f *Fleet) RestartEnvoy(n *Node, flags ...string) error {
	var err error
	n.Envoy, err = StartProcess(f.Dir, n.ID+".envoy", append(slices.Clone(n.envoyArgv), flags...)...)
	return err
}

func (f *Fleet) newNode(id string, labels []string) (*Node, error) {
	listen, admin, err := FreePorts()
	if err != nil {
		return nil, err
	}
	identity, err := f.Identity(id)
	if err != nil {
		return nil, err
	}
	state := filepath.Join(f.Dir, id)
	argv := []string{
		"agent", "--node", id, "--server", f.grpc, "--modules", f.http,
		"--state", state, "--listen", listen, "--admin", admin, "--upstream", f.backend,
	}
	argv = append(argv, identity...)
	for _, label := range labels {
		argv = append(argv, "--label", label)
	}
	return &Node{ID: id, Listen: listen, Admin: envoy.NewAdmin(admin), state: state, argv: append(argv, f.AgentFlags...)}, nil
}

func (f *Fleet) add(n *Node) error {
	if err := f.RestartAgent(n); err != nil {
		return err
	}
	f.nodes = append(f.nodes, n)
	return nil
}

// RestartAgent starts the agent of a node again, on the state that it left, after it has ended. The program is the Waft of now; more flags
// stand at the end, and are Envoy's where the agent is its parent.
func (f *Fleet) RestartAgent(n *Node, flags ...string) error {
	var err error
	n.Agent, err = StartProcess(f.Dir, n.ID, slices.Concat([]string{f.Waft}, n.argv, flags)...)
	return err
}

// Connected waits until the distributor holds streams of all the fleet's nodes.
func (f *Fleet) Connected(ctx context.Context) error {
	return WaitFor(ctx, "the nodes to connect", startLimit, func(ctx context.Context) error {
		if err := f.Alive(); err != nil {
			return err
		}
		var list struct {
			Nodes []struct{ ID, Presence string }
		}
		if err := f.JSON(ctx, &list, "nodes", "list"); err != nil {
			return err
		}
		connected := 0
		for _, n := range list.Nodes {
			if n.Presence == "connected" {
				connected++
			}
		}
		if connected < len(f.nodes) {
			return NotYetf("%d of %d are connected", connected, len(f.nodes))
		}
		return nil
	})
}

// FreePorts finds two loopback addresses that nobody listens on. Envoy must come back on the same ones after a restart,
// so the system cannot choose when it binds.
func FreePorts() (string, string, error) {
	one, err := loopback.Free()
	if err != nil {
		return "", "", err
	}
	two, err := loopback.Free()
	return one, two, err
}

// Listeners are the addresses that clients reach the Envoys on, by node id.
func (f *Fleet) Listeners() map[string]string {
	out := map[string]string{}
	for _, n := range f.nodes {
		out[n.ID] = n.Listen
	}
	return out
}

// Alive is nil while every process that was started still runs.
func (f *Fleet) Alive() error {
	for _, p := range f.processes() {
		if p.Ended() {
			return p.Failure()
		}
	}
	return nil
}

func (f *Fleet) processes() []*Process {
	var all []*Process
	for _, n := range f.nodes {
		all = append(all, n.Agent, n.Envoy)
	}
	all = append(all, f.upstream, f.serve)
	return slices.DeleteFunc(all, func(p *Process) bool { return p == nil })
}

// Stop ends every process, and removes what they wrote.
func (f *Fleet) Stop() error {
	var waiting sync.WaitGroup
	for _, p := range f.processes() {
		waiting.Go(p.Stop)
	}
	waiting.Wait()
	return errors.Join(f.endLeft(), os.RemoveAll(f.Dir))
}

// endLeft ends the Envoys that agents with --leave-envoy have left.
func (f *Fleet) endLeft() error {
	var errs []error
	for _, n := range f.nodes {
		left, err := n.Envoys()
		errs = append(errs, err)
		for _, p := range left {
			errs = append(errs, p.Kill())
		}
	}
	return errors.Join(errs...)
}

// Envoys are those of the node that outlive its agent and run now. They are for looking at; each call finds them anew.
func (n *Node) Envoys() ([]*envoy.Process, error) {
	dir := filepath.Join(n.state, "envoy")
	if _, err := os.Stat(dir); err != nil {
		return nil, nil // the agent never got that far
	}
	return envoy.Left(envoy.ProcessConfig{Dir: dir}, nil)
}

// readJSON reads a file that another process writes by rename; ErrNotYet while it is not there.
func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return NotYetf("no %s", path)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
