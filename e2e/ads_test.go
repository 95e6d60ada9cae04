package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/distributor/authority"
	"github.com/waft-project/waft/envoy"
)

// adsLimit bounds each wait for an Envoy without an agent.
const adsLimit = 2 * time.Minute

// bareEnvoy is an Envoy that has no agent and asks the distributor.
type bareEnvoy struct {
	*fleet.Node
	process *envoy.Process
	dir     string
	// binary is another Envoy than that of the tests; empty: that.
	binary string
}

// startBare starts one from what `waft bootstrap` prints.
func startBare(t *testing.T, f *fleet.Fleet, id, upstream string, flags ...string) *bareEnvoy {
	t.Helper()
	b := newBare(t, f, id, upstream, flags...)
	b.start(t)
	return b
}

// newBare is one that is not started yet.
func newBare(t *testing.T, f *fleet.Fleet, id, upstream string, flags ...string) *bareEnvoy {
	t.Helper()
	listen, admin, err := fleet.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	b := bootstrapped(t, f, envoyBinary, id, admin, append([]string{"--listen", listen, "--upstream", upstream}, flags...)...)
	b.Listen = listen
	return b
}

// bootstrapped is one that is not started yet, from what `waft bootstrap` prints for a binary, with a folder of its own.
func bootstrapped(t *testing.T, f *fleet.Fleet, binary, id, admin string, flags ...string) *bareEnvoy {
	t.Helper()
	identity, err := f.Identity(id)
	if err != nil {
		t.Fatal(err)
	}
	return bootstrappedAs(t, f, identity, binary, id, admin, flags...)
}

// bootstrappedAs is one that shows who it is by these flags.
func bootstrappedAs(t *testing.T, f *fleet.Fleet, identity []string, binary, id, admin string, flags ...string) *bareEnvoy {
	t.Helper()
	dir := filepath.Join(f.Dir, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"bootstrap", "--node", id, "--label", "env=test", "--server", f.GRPC(), "--modules", f.HTTP(),
		"--admin", admin, "--envoy", binary, "--out", filepath.Join(dir, "ads.json"),
	}
	mustRun(t, f, slices.Concat(args, identity, flags)...)
	return &bareEnvoy{Node: &fleet.Node{ID: id, Admin: envoy.NewAdmin(admin)}, dir: dir, binary: binary}
}

// edit changes its bootstrap, before it starts.
func (b *bareEnvoy) edit(t *testing.T, change func(bootstrap map[string]any)) {
	t.Helper()
	path := filepath.Join(b.dir, "ads.json")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var bootstrap map[string]any
	if err := json.Unmarshal(content, &bootstrap); err != nil {
		t.Fatal(err)
	}
	change(bootstrap)
	if content, err = json.Marshal(bootstrap); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *bareEnvoy) start(t *testing.T) {
	t.Helper()
	p, err := envoy.Start(t.Context(), envoy.Binary{Path: b.binary}, envoy.ProcessConfig{
		Dir: b.dir, BootstrapPath: filepath.Join(b.dir, "ads.json"), LogLevel: "warning", Args: []string{"--use-dynamic-base-id"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.process = p
	t.Cleanup(func() {
		_ = p.Stop(context.Background()) // it may have been ended by the test
		if t.Failed() {
			for _, line := range p.Log().Lines() {
				t.Log(b.ID, line)
			}
		}
	})
}

// counter is one of Envoy's counters of a slot.
func (b *bareEnvoy) counter(t *testing.T, slot, name string) int64 {
	t.Helper()
	stats, err := b.Admin.Stats(t.Context(), envoy.SlotStats(slot))
	if err != nil {
		t.Fatal(err)
	}
	return int64(stats.Values[envoy.SlotStats(slot)+name])
}

// bareNode is what the tests read of such a node.
type bareNode struct {
	EnvoyVersion, EnvoyBuild, AgentVersion, Presence, Dialect, Chain, Serving string
	Labels                                                                    map[string]string
	Ledger                                                                    struct {
		State, Reason, Step string
		Final               bool
	}
}

func awaitNode(t *testing.T, f *fleet.Fleet, id, what string, holds func(bareNode) bool) bareNode {
	t.Helper()
	var last bareNode
	err := fleet.WaitFor(t.Context(), id+" "+what, adsLimit, func(ctx context.Context) error {
		last = bareNode{}
		if err := f.JSON(ctx, &last, "nodes", "show", id); err != nil {
			return fleet.NotYetf("%v", err)
		}
		if !holds(last) {
			return fleet.NotYetf("it is %+v", last)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// An Envoy without an agent connects over ADS, of either kind, takes part in rollouts wave by wave, and what it rejects is taken back, kept from it, and
// told in its own words.
//
// One of them does so by TLS, as the node in its certificate and as no other.
//
// It goes alone, as the others of Envoys without agents do: what such an Envoy lacks is told by how long it takes.
func TestEnvoyWithoutAgent(t *testing.T) {
	for kind, flags := range map[string][]string{"ads": nil, "delta": {"--delta"}} {
		t.Run(kind, func(t *testing.T) {
			if kind == "ads" {
				onlyInFull(t)
			}
			var f *fleet.Fleet
			if kind == "ads" {
				f = startFleet(t, 0)
			} else {
				f = startSecureFleet(t, 0)
			}
			publish(t, f, "./e2e/filters/stamp", "./filters/headers")
			b := startBare(t, f, "bare", f.Upstream(), flags...)
			n := awaitNode(t, f, "bare", "to connect", func(n bareNode) bool { return n.Presence == "connected" })
			version, err := envoy.Binary{Path: envoyBinary}.Version(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n.EnvoyVersion != version.Number.String() || n.EnvoyBuild != version.Build || n.Dialect != "ads" || n.AgentVersion != "" || n.Labels["env"] != "test" || n.Labels["cluster"] == "" {
				t.Errorf("the node is %+v, its Envoy is %+v", n, version)
			}
			if a, err := fleet.Ask(t.Context(), b.Listen, stamped("")); err == nil {
				t.Errorf("it answers before it was given a chain: %+v", a)
			}

			if f.Secure {
				refusedAsAnother(t, f, b.ID, flags...)
			}

			// It goes on waiting, longer than any timeout of the bootstrap.
			err = fleet.WaitFor(t.Context(), "Envoy to have been up for a while", adsLimit, func(ctx context.Context) error {
				stats, err := b.Admin.Stats(ctx, "server.uptime")
				if err != nil {
					return fleet.NotYetf("%v", err)
				}
				if up := stats.Values["server.uptime"]; up < 3 {
					return fleet.NotYetf("it is up for %d s", up)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			rollOut(t, f, "first", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)
			n = awaitNode(t, f, "bare", "to have loaded it", func(n bareNode) bool { return n.Ledger.State == "LOADED" && n.Serving == n.Chain && n.Chain != "" })
			if !strings.Contains(n.Ledger.Reason, "no agent") {
				t.Errorf("the ledger does not say what is not proved: %+v", n)
			}
			awaitStamp(t, b.Node, "1")
			// Any rejection, of whatever slot, would have had it listen without a chain, and answer 500.
			if got := b.counter(t, envoy.SlotName, "update_rejected"); got != 0 {
				t.Errorf("Envoy rejected %d offers", got)
			}

			load := fleet.StartLoad(t.Context(), map[string]string{"bare": b.Listen}, []fleet.Visitor{stamped("1", "2", "3")})
			defer load.Stop()
			second := write(t, f, "two.yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: two}
spec:
  filters:
  - {name: stamp, module: "%s", config: {value: "2"}}
  - {name: headers, module: "%s", config: {response: [{op: set, name: x-other, value: there}]}}
`, moduleRef(f, "stamp"), moduleRef(f, "headers")))
			mustRun(t, f, append([]string{"release", "create", "-f", second}, f.Server()...)...)
			rollOut(t, f, "second", "two", `[{nodes: 1, soak: 1s}, {percent: 100}]`)
			status, err := statusOf(t.Context(), f, "second")
			if err != nil {
				t.Fatal(err)
			}
			if len(status.Nodes) != 1 || !strings.Contains(status.Nodes[0].Reason, "without an agent") {
				t.Errorf("the rollout does not say that its node gets less: %+v", status.Nodes)
			}
			awaitStamp(t, b.Node, "2")

			// It serves now, so a new module may be asked for by an offer that is rejected: one.
			before := b.counter(t, envoy.PreloadSlotName, "update_rejected")
			if before != 1 {
				t.Errorf("Envoy rejected %d offers of a chain with one new module", before)
			}
			served := b.counter(t, envoy.SlotName, "config_reload")
			startRollout(t, f, "third", createRelease(t, f, "bad", "stamp", `{value: bad, refuse: true}`), `[{nodes: 1}, {percent: 100}]`)
			ended := awaitRollout(t, f, "third", "to be rolled back", phaseIs("RolledBack"))
			if !strings.Contains(fmt.Sprint(ended), "Unable to create Wasm") {
				t.Errorf("Envoy's words are nowhere: %+v", ended)
			}
			// Its module was there, so one offer was enough to tell; and the slot that serves never saw it. Envoy counts a rejection of one slot for both.
			if got := b.counter(t, envoy.PreloadSlotName, "update_rejected") - before; got != 1 {
				t.Errorf("it was offered %d times", got)
			}
			if got := b.counter(t, envoy.SlotName, "config_reload"); got != served {
				t.Errorf("the serving slot took a chain meanwhile: %d, before %d", got, served)
			}
			awaitStamp(t, b.Node, "2")

			// A module that is new and does not load gets the one offer more of a new module, and no third.
			before = b.counter(t, envoy.PreloadSlotName, "update_rejected")
			corrupt := releaseCorrupt(t, f)
			startRollout(t, f, "fourth", corrupt, `[{nodes: 1}, {percent: 100}]`)
			ended = awaitRollout(t, f, "fourth", "to be rolled back", phaseIs("RolledBack"))
			if !strings.Contains(fmt.Sprint(ended), "Unable to create Wasm") {
				t.Errorf("Envoy's words are nowhere: %+v", ended)
			}
			if got := b.counter(t, envoy.PreloadSlotName, "update_rejected") - before; got != 2 {
				t.Errorf("a new module that does not load was offered %d times", got)
			}
			if !strings.Contains(ended.Message, "rejected it at load") {
				t.Errorf("it came as far as the slot that serves: %s", ended.Message)
			}
			awaitStamp(t, b.Node, "2")
			if kind == "ads" { // what was refused is in nobody's way
				rollOut(t, f, "between", createRelease(t, f, "three", "stamp", `{value: "3"}`), `[{percent: 100}]`)
				awaitNode(t, f, "bare", "to have loaded another", func(n bareNode) bool { return n.Ledger.State == "LOADED" && n.Serving == n.Chain })
				rollOut(t, f, "back", "two", `[{percent: 100}]`)
				awaitNode(t, f, "bare", "to be back", func(n bareNode) bool { return n.Ledger.State == "LOADED" && n.Serving == n.Chain })
			}
			load.Stop()
			if failures := load.Failures(); len(failures) > 0 {
				t.Errorf("requests failed meanwhile: %q", failures)
			}

			if err := b.process.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			awaitNode(t, f, "bare", "to be gone", func(n bareNode) bool { return n.Presence != "connected" })
			b.start(t)
			awaitNode(t, f, "bare", "to have its chain again", func(n bareNode) bool {
				return n.Presence == "connected" && n.Ledger.State == "LOADED" && n.Serving == n.Chain
			})
			awaitStamp(t, b.Node, "2")
			if got := b.counter(t, envoy.SlotName, "update_rejected"); got != 0 {
				t.Errorf("Envoy, started anew, rejected %d offers", got)
			}

			// What was refused is not offered again: neither on another stream, nor to another process.
			startRollout(t, f, "fifth", corrupt, `[{nodes: 1}, {percent: 100}]`)
			ended = awaitRollout(t, f, "fifth", "to be rolled back", phaseIs("RolledBack"))
			if !strings.Contains(fmt.Sprint(ended), "Unable to create Wasm") {
				t.Errorf("Envoy's words are nowhere: %+v", ended)
			}
			if got := b.counter(t, envoy.PreloadSlotName, "update_rejected"); got != 0 {
				t.Errorf("what was refused was offered again %d times", got)
			}
			awaitStamp(t, b.Node, "2")
		})
	}
}

// releaseCorrupt publishes the filter stamp with a part of its code overwritten, which has the digest of what it is and which Envoy cannot compile, and gives a release of it.
func releaseCorrupt(t *testing.T, f *fleet.Fleet) string {
	t.Helper()
	module, err := os.ReadFile(filepath.Join(f.Dir, "dist", "stamp.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	const codeSection = 10 // https://webassembly.github.io/spec/core/binary/modules.html
	for at := 8; ; {       // behind magic and version
		id := module[at]
		size, n := binary.Uvarint(module[at+1:])
		at += 1 + n
		if id == codeSection {
			for i := range 64 {
				module[at+int(size)/2+i] = 0xff // no instruction
			}
			break
		}
		at += int(size)
	}
	path := write(t, f, "corrupt.wasm", string(module))
	mustRun(t, f, append([]string{"push", "--no-admission", path, moduleRef(f, "corrupt")}, f.Registry()...)...)
	release := write(t, f, "corrupt.yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: corrupt}
spec:
  filters:
  - {name: stamp, module: %q, config: {value: corrupt}}
`, moduleRef(f, "corrupt")))
	mustRun(t, f, append([]string{"release", "create", "-f", release}, f.Server()...)...)
	return "corrupt"
}

// refusedAsAnother has an Envoy with the certificate of one node say that it is another: it is told that it may not, and why, and is nobody.
func refusedAsAnother(t *testing.T, f *fleet.Fleet, id string, flags ...string) {
	t.Helper()
	identity, err := f.Identity(id)
	if err != nil {
		t.Fatal(err)
	}
	listen, admin, err := fleet.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	liar := bootstrappedAs(t, f, identity, envoyBinary, "liar", admin, append([]string{"--listen", listen, "--upstream", f.Upstream()}, flags...)...)
	liar.start(t)
	err = fleet.WaitFor(t.Context(), "the Envoy with another's certificate to be refused", adsLimit, func(context.Context) error {
		log := strings.Join(liar.process.Log().Lines(), "\n")
		// PERMISSION_DENIED is 7.
		if !strings.Contains(log, "closed: 7, node/liar: "+authority.ID("node", id)+" may not be the node \"liar\"") {
			return fleet.NotYetf("its log is\n%s", log)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := liar.process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list struct{ Nodes []struct{ ID string } }
	if err := f.JSON(t.Context(), &list, "nodes", "list"); err != nil {
		t.Fatal(err)
	}
	if len(list.Nodes) != 1 || list.Nodes[0].ID != id {
		t.Errorf("the nodes are %+v", list.Nodes)
	}
}
