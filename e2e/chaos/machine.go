package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// Programs are what a run is made of.
type Programs struct {
	// Waft and Envoy are binaries; Root is the checkout, which has the filter's source.
	Waft, Envoy, Root string
	// Fixed: the clock of Waft does not jump (BuildPlain), so that such faults are void.
	Fixed bool
	// Modules are files of Wasm that do the same and have different digests.
	Modules []string
}

// Prepare builds the modules of runs into dir.
func Prepare(ctx context.Context, dir string, p *Programs) error {
	f := fleet.New(fleet.Config{Waft: p.Waft, Envoy: p.Envoy, Root: p.Root, Dir: dir})
	if _, err := f.Command(ctx, nil, "build", "--out", dir, "--version", "1.0.0", "./e2e/filters/stamp"); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "stamp.wasm"))
	if err != nil {
		return err
	}
	p.Modules = nil
	for i := range modules {
		path := filepath.Join(dir, fmt.Sprintf("stamp-%d.wasm", i))
		// A custom section, which every host passes over: id 0, its size, the size of its name, the name, one byte of content.
		const name = "chaos"
		section := append(append([]byte{0, byte(len(name) + 2), byte(len(name))}, name...), byte(i))
		if err := os.WriteFile(path, append(text[:len(text):len(text)], section...), 0o600); err != nil {
			return err
		}
		p.Modules = append(p.Modules, path)
	}
	return nil
}

// trial of the agents is short, so that a chain is good before the next fault comes.
const trial = 2 * time.Second

// node is one Envoy with the agent beside it. Neither is the other's parent, so either can die alone.
type node struct {
	id            string
	listen, admin string
	state         string
	agent, envoy  *unit
	grpc, http    *proxy
	disk          *disk
	clock         *clock
}

// machines are all processes of a run.
type machines struct {
	dir        string
	programs   Programs
	upstream   *fleet.Process
	backend    string
	registry   *unit
	registryAt string
	// replicas are the distributors; clients reach them at grpc, by way of front where there are several.
	replicas []*replica
	grpc     string
	front    *proxy
	// members are those of etcd; none: it is in the distributor's process.
	members []*unit
	nodes   []*node
}

// startLimit is how long a part may take to come up on a busy machine.
const startLimit = time.Minute

// startMachines brings everything up: upstream, registry with the modules in it, members of etcd, distributor, nodes. Whatever comes of it, stop
// ends what was started.
func startMachines(ctx context.Context, dir string, programs Programs, s Schedule) (*machines, error) {
	m := &machines{dir: dir, programs: programs}
	address := filepath.Join(dir, "upstream.address")
	var err error
	if m.upstream, err = fleet.StartProcess(dir, "upstream", programs.Waft, "demo", "upstream", "--address-file", address); err != nil {
		return m, err
	}
	registryGRPC, registryHTTP, err := fleet.FreePorts()
	if err != nil {
		return m, err
	}
	m.registryAt = registryHTTP
	m.registry = startUnit(dir, "registry", programs.Waft, "serve", "--insecure", "--log-level", "warn",
		"--data", filepath.Join(dir, "registry"), "--grpc", registryGRPC, "--http", registryHTTP)
	var endpoints []string
	if s.Members > 0 {
		if endpoints, err = m.startMembers(s.Members); err != nil {
			return m, err
		}
	}
	for i := range max(s.Replicas, 1) {
		if err := m.startReplica(ctx, replicaName(i, max(s.Replicas, 1)), endpoints); err != nil {
			return m, err
		}
	}
	grpcs, webs := m.addresses()
	if m.grpc = grpcs[0]; len(grpcs) > 1 {
		if m.front, err = newProxy(grpcs...); err != nil {
			return m, err
		}
		m.grpc = m.front.address()
	}
	if err := fleet.WaitFor(ctx, "the upstream, the registry and the distributor to be ready", startLimit, func(context.Context) error {
		text, err := os.ReadFile(address)
		if err != nil || len(text) == 0 {
			return fleet.NotYetf("no address in %s", address)
		}
		m.backend = string(text)
		err = ready(ctx, m.registryAt)
		for _, address := range webs {
			err = errors.Join(err, ready(ctx, address))
		}
		return err
	}); err != nil {
		return m, err
	}
	if err := m.publish(ctx); err != nil {
		return m, err
	}
	for i := range s.Nodes {
		if err := m.startNode(ctx, fmt.Sprintf("n%d", i+1)); err != nil {
			return m, err
		}
	}
	return m, nil
}

// ready asks a distributor whether it is.
func ready(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: time.Second}
	answer, err := client.Do(request)
	if err != nil {
		return fleet.NotYetf("%v", err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return fleet.NotYetf("%s is not ready: %s, %v", address, answer.Status, err)
	}
	return nil
}

func (m *machines) reference(module int) string {
	return fmt.Sprintf("%s/filters/stamp:1.0.%d", m.registryAt, module)
}

func (m *machines) publish(ctx context.Context) error {
	f := fleet.New(fleet.Config{Waft: m.programs.Waft, Envoy: m.programs.Envoy, Root: m.programs.Root, Dir: m.dir})
	for i, path := range m.programs.Modules {
		if _, err := f.Command(ctx, nil, "push", "--plain-http", m.registryAt, path, m.reference(i)); err != nil {
			return err
		}
	}
	return nil
}

func (m *machines) startNode(ctx context.Context, id string) error {
	n := &node{id: id, state: filepath.Join(m.dir, id)}
	m.nodes = append(m.nodes, n)
	var err error
	if n.listen, n.admin, err = fleet.FreePorts(); err != nil {
		return err
	}
	grpcs, webs := m.addresses()
	if n.grpc, err = newProxy(grpcs...); err != nil {
		return err
	}
	if n.http, err = newProxy(webs...); err != nil {
		return err
	}
	n.disk, n.clock = ownDisk(ctx, m.dir, id, agentDisk, n.state), newClock(m.dir, id, m.programs.Fixed)
	bootstrap, log := filepath.Join(m.dir, id+".bootstrap.json"), filepath.Join(m.dir, id+".envoy-own.log")
	n.agent = startUnit(m.dir, id+".agent", n.disk.on(n.clock.on(m.programs.Waft, "agent", "--insecure", "--node", id, "--label", "env=chaos",
		"--server", n.grpc.address(), "--modules", n.http.address(), "--state", n.state, "--listen", n.listen, "--admin", n.admin,
		"--upstream", m.backend, "--envoy", m.programs.Envoy, "--bootstrap-out", bootstrap, "--envoy-log", log, "--trial", trial.String())...)...)
	if err := fleet.WaitFor(ctx, id+" to have a bootstrap", startLimit, func(context.Context) error {
		if _, err := os.Stat(bootstrap); err != nil {
			return fleet.NotYetf("%v", err)
		}
		return nil
	}); err != nil {
		return err
	}
	n.envoy = startUnit(m.dir, id+".envoy", n.disk.on(m.programs.Envoy, "-c", bootstrap, "--log-path", log, "--disable-hot-restart",
		"--concurrency", "1", "--log-level", "warning")...)
	return nil
}

// stop ends every process.
func (m *machines) stop() {
	for _, n := range m.nodes {
		for _, u := range []*unit{n.agent, n.envoy} {
			if u != nil {
				u.stop()
			}
		}
		for _, p := range []*proxy{n.grpc, n.http} {
			if p != nil {
				p.close()
			}
		}
		n.disk.close()
	}
	if m.front != nil {
		m.front.close()
	}
	for _, d := range m.replicas {
		if d.unit != nil {
			d.unit.stop()
		}
		d.disk.close()
	}
	for _, u := range append([]*unit{m.registry}, m.members...) {
		if u != nil {
			u.stop()
		}
	}
	if m.upstream != nil {
		m.upstream.Stop()
	}
}

// ownDisk is nil where there can be none: faults of a full disk are void then, and say so.
func ownDisk(ctx context.Context, logs, name, size, dir string) *disk {
	d, err := newDisk(ctx, logs, name, size, dir)
	if err != nil {
		return nil
	}
	return d
}

// markFilter is the filter that schedules may disable, markHeader what it gives each response.
const (
	markFilter = "mark"
	markHeader = "X-Mark"
)

// config is the plugin configuration of a release.
func config(kind Kind, stamp string) json.RawMessage {
	c := map[string]any{"value": stamp}
	switch kind {
	case Failing:
		c["failEvery"] = failEvery
	case Refusing:
		c["refuse"] = true
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // a map of plain values
	}
	return text
}
