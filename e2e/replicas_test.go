package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store/etcdtest"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/sdk/manifest"
)

// memberVariable tells the test binary, started again as a child, to be a member of etcd until it is stopped.
const memberVariable = "WAFT_E2E_ETCD"

// member is what that child is told.
type member struct {
	Dir, Client, Initial string
	// Peer is where it listens for other members, Advertised where they reach it.
	Peer, Advertised string
	Index            int
}

// runMember runs a member until the process is told to stop.
func runMember(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var m member
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	client, err := url.Parse(m.Client)
	if err != nil {
		return err
	}
	peer, err := url.Parse(m.Peer)
	if err != nil {
		return err
	}
	advertised, err := url.Parse(m.Advertised)
	if err != nil {
		return err
	}
	config := etcdtest.Member(m.Dir, m.Index, *client, *peer)
	config.AdvertisePeerUrls = []url.URL{*advertised}
	config.InitialCluster = m.Initial
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer etcd.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-etcd.Err():
		return err
	}
}

// startMembers starts a cluster of three processes, and gives them with their client URLs.
func startMembers(t *testing.T) ([]*exec.Cmd, []string) {
	t.Helper()
	processes, _, endpoints := startMembersBy(t, nil)
	return processes, endpoints
}

// startMembersBehind does so with wires by which the members reach each other, one before each, instead of the processes.
func startMembersBehind(t *testing.T, wires func(*testing.T, string) *wire) ([]*wire, []string) {
	t.Helper()
	_, between, endpoints := startMembersBy(t, wires)
	return between, endpoints
}

func startMembersBy(t *testing.T, wires func(*testing.T, string) *wire) (processes []*exec.Cmd, between []*wire, endpoints []string) {
	t.Helper()
	dir := t.TempDir()
	members := make([]member, 3)
	var initial []string
	for i := range members {
		client, peer := etcdtest.FreeURL(t), etcdtest.FreeURL(t)
		members[i] = member{Dir: dir, Client: client.String(), Peer: peer.String(), Advertised: peer.String(), Index: i}
		if wires != nil {
			w := wires(t, peer.Host)
			between, members[i].Advertised = append(between, w), "http://"+w.address
		}
		initial = append(initial, fmt.Sprintf("m%d=%s", i, members[i].Advertised))
		endpoints = append(endpoints, client.String())
	}
	for _, m := range members {
		m.Initial = strings.Join(initial, ",")
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), memberVariable+"="+string(text))
		processes = append(processes, spawn(t, cmd, fmt.Sprintf("etcd-%d", m.Index)))
	}
	return processes, between, endpoints
}

// raftLeader is which member leads etcd itself, by its place in the endpoints, and the ids of all; it waits until one of those that are named does.
func raftLeader(t *testing.T, endpoints []string) (at int, ids []uint64) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	wait(t, "a member leads etcd", time.Minute, func() bool {
		at, ids = -1, make([]uint64, len(endpoints))
		for i, e := range endpoints {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			status, err := client.Status(ctx, e)
			cancel()
			if err != nil {
				continue
			}
			ids[i] = status.Header.MemberId
			if status.Leader == ids[i] {
				at = i
			}
		}
		return at >= 0
	})
	return at, ids
}

// spawn starts a process that ends with the test; what it says is shown when the test fails.
func spawn(t *testing.T, cmd *exec.Cmd, name string) *exec.Cmd {
	t.Helper()
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill(cmd)
		if t.Failed() {
			t.Logf("%s:\n%s", name, said.tail())
		}
	})
	return cmd
}

// kill ends a process with SIGKILL, and is done when it is gone. It may be called more than once.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	const most = 6000
	text := b.text.String()
	return text[max(len(text)-most, 0):]
}

// replicasName is by which references call the registry, whichever replica it is.
const replicasName = "waft.example:7071"

// served is a `waft serve` of several.
type served struct {
	process          *exec.Cmd
	grpc, http, data string
}

// startReplica starts one over that etcd, and is done when it serves.
func startReplica(t *testing.T, endpoints []string, name string, flags ...string) *served {
	t.Helper()
	return startServe(t, filepath.Join(t.TempDir(), "data"), name, append([]string{"--etcd", strings.Join(endpoints, ","), "--peer", "127.0.0.1:0"}, flags...)...)
}

// startReplicaBehind starts one that the others reach by a wire.
func startReplicaBehind(t *testing.T, endpoints []string, name string) (*served, *wire) {
	t.Helper()
	peer := etcdtest.FreeURL(t).Host
	w := newWire(t, peer)
	return startReplica(t, endpoints, name, "--peer", peer, "--peer-name", w.address), w
}

// replaceReplica starts one in the place of another that was killed, with its addresses and its data.
func replaceReplica(t *testing.T, endpoints []string, gone *served, name string) *served {
	t.Helper()
	kill(gone.process) // it is gone for good, and so are its ports
	return startServe(t, gone.data, name, "--etcd", strings.Join(endpoints, ","), "--peer", "127.0.0.1:0", "--grpc", gone.grpc, "--http", gone.http)
}

// startServe starts a distributor with that data folder.
func startServe(t *testing.T, data, name string, flags ...string) *served {
	t.Helper()
	addresses := filepath.Join(t.TempDir(), "addresses")
	s := &served{data: data, process: spawn(t, exec.Command(waftBinary, append([]string{"serve", "--insecure", "--data", data,
		"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--replica", name, "--name", replicasName, "--addresses-file", addresses}, flags...)...), name)}
	var bound struct{ GRPC, HTTP string }
	wait(t, name+" serves", time.Minute, func() bool {
		text, err := os.ReadFile(addresses)
		return err == nil && json.Unmarshal(text, &bound) == nil
	})
	s.grpc, s.http = bound.GRPC, bound.HTTP
	return s
}

// leads says whether the replica says of itself that it leads.
func (s *served) leads() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/metrics", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(text), "\nwaft_leader 1\n")
}

// leader is the one that leads.
func leader(t *testing.T, replicas []*served) *served {
	t.Helper()
	var found *served
	wait(t, "one leads", time.Minute, func() bool {
		at := slices.IndexFunc(replicas, (*served).leads)
		if at >= 0 {
			found = replicas[at]
		}
		return at >= 0
	})
	return found
}

// wait waits until something is so.
func wait(t *testing.T, what string, limit time.Duration, so func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !so() {
		if time.Since(begun) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begun)
}

// balance is a TCP load balancer: each connection goes to the next address that takes it.
func balance(t *testing.T, addresses ...string) string {
	t.Helper()
	return balanceBy(t, func(string) bool { return true }, addresses...)
}

// balanceReady is one that asks replicas whether they are ready.
func balanceReady(t *testing.T, replicas []*served) string {
	t.Helper()
	var addresses []string
	of := map[string]*served{}
	for _, s := range replicas {
		addresses, of[s.grpc] = append(addresses, s.grpc), s
	}
	return balanceBy(t, func(address string) bool { return of[address].readiness() == http.StatusOK }, addresses...)
}

func balanceBy(t *testing.T, ready func(address string) bool, addresses ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for next := 0; ; {
			client, err := l.Accept()
			if err != nil {
				return
			}
			var server net.Conn
			err = errors.New("nobody is ready")
			for range addresses {
				next++
				if !ready(addresses[next%len(addresses)]) {
					continue
				}
				if server, err = net.DialTimeout("tcp", addresses[next%len(addresses)], time.Second); err == nil {
					break
				}
			}
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
					_ = pair[1].Close()
				}()
			}
		}
	}()
	return l.Addr().String()
}

// follower is a node without an Envoy, which says that it has done whatever it is told, and connects again for as long as the test runs.
type follower struct {
	id     string
	client *api.Client
	mu     sync.Mutex
	// served are the hashes of the chains that it was delivered, by release, with when it was first. highest is the highest generation.
	served  map[string]time.Time
	highest int64
	// back are generations that went back, and emptied is how often a chain came without a release after there was one.
	back    []int64
	emptied int
	// say sends what it has to say on the report stream that is open.
	fetched []string
	chain   *waftv1.ChainReport
	changed chan struct{}
}

func startFollower(t *testing.T, address, id, env string) *follower {
	t.Helper()
	return startFollowerBy(t, api.ClientConfig{Address: address, Insecure: true, Actor: id}, id, env)
}

// startFollowerBy starts one that connects as it is told.
func startFollowerBy(t *testing.T, by api.ClientConfig, id, env string) *follower {
	t.Helper()
	client, err := api.Dial(by)
	if err != nil {
		t.Fatal(err)
	}
	transport := insecure.NewCredentials()
	if !by.Insecure {
		cfg, err := by.TLS.Config()
		if err != nil {
			t.Fatal(err)
		}
		transport = credentials.NewTLS(cfg)
	}
	conn, err := grpc.NewClient(by.Address, grpc.WithTransportCredentials(transport))
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{id: id, client: client, served: map[string]time.Time{}, changed: make(chan struct{}, 1)}
	sink, err := mcp.NewSink(mcp.SinkConfig{
		Conn: conn, Node: id, Collections: []string{model.CollectionPrefetch, model.CollectionFilters, model.CollectionChains}, Apply: f.apply,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = sink.Run(ctx) })
	running.Go(func() {
		for ctx.Err() == nil {
			_ = f.report(ctx, env)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { cancel(); running.Wait(); client.Close(); conn.Close() })
	return f
}

func (f *follower) apply(_ context.Context, u mcp.Update) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range u.Resources {
		switch u.Collection {
		case model.CollectionPrefetch:
			var p waftv1.Prefetch
			if err := mcp.Body(r, &p); err != nil {
				return err
			}
			f.fetched = append(f.fetched, p.GetModule().GetDigest())
		case model.CollectionChains:
			var c waftv1.Chain
			if err := mcp.Body(r, &c); err != nil {
				return err
			}
			if c.GetGeneration() < f.highest {
				f.back = append(f.back, c.GetGeneration())
			}
			f.highest = max(f.highest, c.GetGeneration())
			if f.chain != nil && len(c.GetReleases()) == 0 {
				f.emptied++
			}
			for _, release := range c.GetReleases() {
				if _, before := f.served[release.GetRelease()]; !before {
					f.served[release.GetRelease()] = time.Now()
				}
			}
			f.chain = &waftv1.ChainReport{Hash: c.GetHash(), State: waftv1.ChainState_SERVING, Step: "serve", ServingHash: c.GetHash(), Generation: c.GetGeneration()}
		}
	}
	select {
	case f.changed <- struct{}{}:
	default:
	}
	return nil
}

// report says what there is to say on one stream, until it breaks.
func (f *follower) report(ctx context.Context, env string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.client.Reports.Report(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	generation := f.highest
	f.mu.Unlock()
	if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: &waftv1.Hello{
		Node: f.id, Labels: map[string]string{"env": env}, EnvoyVersion: "1.40.0", EnvoyBuild: "b", AgentVersion: "t", Generation: generation,
	}}}); err != nil {
		return err
	}
	broken := make(chan error, 1)
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				broken <- err
				return
			}
		}
	}()
	for {
		f.mu.Lock()
		fetched, chain := slices.Clone(f.fetched), f.chain
		f.mu.Unlock()
		if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Fetched{Fetched: &waftv1.Fetched{Digests: fetched}}}); err != nil {
			return err
		}
		if chain != nil {
			if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Chain{Chain: chain}}); err != nil {
				return err
			}
		}
		select {
		case err := <-broken:
			return err
		case <-f.changed:
		}
	}
}

// has is when the node was first delivered a release; zero: it was not yet.
func (f *follower) has(release string) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served[release]
}

// wentBack are the generations that went back.
func (f *follower) wentBack() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.back)
}

// runs is the hash of the chain that the node serves, and wasEmptied how often it was told to serve one without a release.
func (f *follower) runs() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.chain.GetServingHash()
}

func (f *follower) wasEmptied() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.emptied
}

// pushModule publishes a module that does nothing, and gives its digest.
func pushModule(t *testing.T, reference, text string) string {
	t.Helper()
	wasm := append([]byte("\x00asm\x01\x00\x00\x00\x00"), append([]byte{byte(len(text) + 2), 1, 'x'}, text...)...)
	sum := sha256.Sum256(wasm)
	digest := hex.EncodeToString(sum[:])
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := manifest.Manifest{
		Name: "f", Version: "1.0.0", SHA256: digest, Size: int64(len(wasm)), ABI: manifest.ABI021,
		Imports: []string{}, Envoys: []string{"envoy-1.40"}, MemoryMax: 64 << 20,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Push(t.Context(), ref, registry.Module{
		Content: bytes.NewReader(wasm), Size: int64(len(wasm)), Name: "f", Version: "1.0.0", ABIVersions: []string{manifest.ABI021}, Manifest: raw,
	}, nil); err != nil {
		t.Fatal(err)
	}
	return "sha256:" + digest
}

// newRelease creates a release of one filter, and gives its NAME@HASH.
func newRelease(t *testing.T, c *api.Client, name, reference string) string {
	t.Helper()
	m, err := api.DecodeDocument([]byte(fmt.Sprintf("apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n  filters:\n  - {name: %s, module: %q}\n", name, name, reference)))
	if err != nil {
		t.Fatal(err)
	}
	created, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: m.(*waftv1.Release), Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return name + "@" + created.GetStatus().GetHash()
}

// beginRollout starts a rollout to the nodes of an environment, and tries until somebody takes it.
func beginRollout(t *testing.T, c *api.Client, name, release, env string, waves ...*waftv1.Wave) {
	t.Helper()
	wait(t, "rollout "+name+" is started", time.Minute, func() bool {
		_, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
			Metadata: &waftv1.RolloutMetadata{Name: name},
			Spec:     &waftv1.RolloutSpec{Release: release, Target: &waftv1.Target{Selector: "env=" + env}, Waves: waves},
		}, Reason: "test"})
		if err != nil && !errors.Is(err, model.ErrUnavailable) && !errors.Is(err, model.ErrExists) {
			t.Fatal(err)
		}
		return err == nil || errors.Is(err, model.ErrExists)
	})
}

// ended waits until a rollout is done.
func ended(t *testing.T, c *api.Client, name string) {
	t.Helper()
	var last *waftv1.Rollout
	wait(t, "rollout "+name+" is done", time.Minute, func() bool {
		r, err := c.Rollouts.GetRollout(t.Context(), &waftv1.GetRolloutRequest{Name: name})
		if err != nil {
			return false // nobody leads
		}
		last = r
		return model.RolloutPhase(r.GetStatus().GetPhase()).Ended()
	})
	if last.GetStatus().GetPhase() != string(model.RolloutDone) {
		t.Fatalf("rollout %s ended as %s: %s", name, last.GetStatus().GetPhase(), last.GetStatus().GetMessage())
	}
}

// mostWithout is for how long nothing may be delivered when one process of the cluster goes.
const mostWithout = 5 * time.Second

// With three replicas over an etcd of three members, any one process may be killed, and any replica be stopped, while a rollout runs: deliveries go on within 5 s, to nodes with an agent
// and to those that speak ADS, the rollout ends, and no node goes back.
func TestReplicasLoseOneProcess(t *testing.T) {
	etcd, endpoints := startMembers(t)
	var replicas []*served
	var grpcs, https []string
	for i := range 3 {
		s := startReplica(t, endpoints, fmt.Sprintf("r%d", i+1))
		replicas = append(replicas, s)
		grpcs, https = append(grpcs, s.grpc), append(https, s.http)
	}
	front, web := balance(t, grpcs...), balance(t, https...)
	c, err := api.Dial(api.ClientConfig{Address: front, Insecure: true, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var nodes []*follower
	byEnv := map[string][]*follower{}
	envs := []string{"long", "leader", "etcd", "follower", "drained", "stopped"}
	for i := range 3 * len(envs) {
		env := envs[i%len(envs)]
		n := startFollower(t, front, fmt.Sprintf("n%d", i+1), env)
		nodes, byEnv[env] = append(nodes, n), append(byEnv[env], n)
	}
	bare := map[string]*bareFollower{}
	for _, env := range envs {
		bare[env] = startBareFollower(t, front, "bare-"+env, env)
	}
	wait(t, "all nodes are connected", time.Minute, func() bool {
		list, err := c.Nodes.ListNodes(t.Context(), &waftv1.ListNodesRequest{})
		if err != nil {
			return false
		}
		return len(list.GetNodes()) == len(nodes)+len(bare) && !slices.ContainsFunc(list.GetNodes(), func(n *waftv1.Node) bool { return n.GetPresence() != "connected" })
	})
	digests, releases := map[string]string{}, map[string]string{}
	for env := range byEnv {
		digests[env] = pushModule(t, replicas[1].http+"/filters/"+env+":1.0.0", env)
		releases[env] = newRelease(t, c, env, replicasName+"/filters/"+env+":1.0.0")
	}
	wait(t, "every replica has every module", time.Minute, func() bool {
		for _, s := range replicas {
			for _, digest := range digests {
				if _, err := os.Stat(filepath.Join(s.data, "modules", "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))); err != nil {
					return false
				}
			}
			if known, err := filepath.Glob(filepath.Join(s.data, "modules", "artifacts", "*.json")); err != nil || len(known) < len(digests) {
				return false
			}
		}
		return true
	})

	// One rollout runs through all of it; each loss has one of its own, which begins with it.
	beginRollout(t, c, "long", releases["long"], "long", &waftv1.Wave{Nodes: 1, Soak: "4s"}, &waftv1.Wave{Percent: 60, Soak: "4s"}, &waftv1.Wave{Percent: 100})
	held := measureHeldBack(t)
	lose := func(env string, process *exec.Cmd, how syscall.Signal) {
		t.Helper()
		if err := process.Process.Signal(how); err != nil {
			t.Fatal(err)
		}
		taken := held.begin()
		beginRollout(t, c, env, releases[env], env, &waftv1.Wave{Percent: 100})
		wait(t, "its release is delivered", time.Minute, func() bool {
			return bare[env].has(digests[env]) && !slices.ContainsFunc(byEnv[env], func(n *follower) bool { return n.has(releases[env]).IsZero() })
		})
		took := taken()
		t.Logf("with the loss of one process (%s) a release was delivered after %v", env, took)
		if took.counted() > mostWithout {
			t.Errorf("with the loss of one process (%s) nothing was delivered for %v, and %v is the most", env, took, mostWithout)
		}
		ended(t, c, env)
	}
	first := leader(t, replicas)
	lose("leader", first.process, syscall.SIGKILL)

	// The module is served although the replica that it was pushed to has gone.
	wait(t, "the module is served", mostWithout, func() bool {
		resp, err := http.Get("http://" + web + "/v2/waft/modules/blobs/" + digests["leader"])
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})

	left := slices.DeleteFunc(replicas, func(s *served) bool { return s == first })
	left = append(left, replaceReplica(t, endpoints, first, "r4"))
	raft, _ := raftLeader(t, endpoints)
	lose("etcd", etcd[raft], syscall.SIGKILL)
	now := leader(t, left)
	other := func(s *served) bool { return s != now }
	follower := left[slices.IndexFunc(left, other)]
	lose("follower", follower.process, syscall.SIGKILL)
	left = slices.DeleteFunc(left, func(s *served) bool { return s == follower })
	left = append(left, replaceReplica(t, endpoints, follower, "r5"))
	drained := left[slices.IndexFunc(left, other)]
	lose("drained", drained.process, syscall.SIGTERM) // while its nodes go elsewhere, at their leisure
	replaceReplica(t, endpoints, drained, "r6")
	lose("stopped", now.process, syscall.SIGTERM) // while it puts its work away, and its nodes go elsewhere
	ended(t, c, "long")

	for _, n := range nodes {
		if back := n.wentBack(); len(back) > 0 {
			t.Errorf("node %s was given older generations: %v", n.id, back)
		}
	}
	for env, of := range byEnv {
		for _, n := range of {
			if n.has(releases[env]).IsZero() {
				t.Errorf("node %s has never been given its release", n.id)
			}
		}
		if n := bare[env]; !n.has(digests[env]) {
			t.Errorf("node %s has never been given its release", n.id)
		}
	}
}
