package e2e

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the driver of its configuration
	"github.com/sirupsen/logrus"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/registry"
)

// A release's artifact is deleted from its registry amid a rollout, by the registry's own API, and the distributor loses its copy. Whoever has the module goes on; the
// node that has not says so in the registry's words, in the ledger and in the rollout. The wave is not begun with a part of its nodes: the rollout goes back at the wave's
// deadline, names the node and the cause, and no request fails. Pushed again, it is rolled out.
func TestArtifactDeletedAmidARollout(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	other := deletingRegistry(t)
	f := newFleet(t)
	f.ServeFlags = []string{"--plain-http", other}
	f.AgentFlags = []string{"--leave-envoy"}
	started(t, f, 0)
	for id, zone := range map[string]string{"first": "a", "has": "b", "lacks": "b"} {
		if _, err := f.StartAgent(id, "env=test", "zone="+zone); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	node := func(id string) *fleet.Node {
		return f.Nodes()[slices.IndexFunc(f.Nodes(), func(n *fleet.Node) bool { return n.ID == id })]
	}
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "one", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)

	// The same filter in other bytes, elsewhere.
	stamp, err := os.ReadFile(filepath.Join(f.Dir, "dist", "stamp.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	module := append(stamp, 0, 4, 3, 'n', 'e', 'w')
	gone := pushTo(t, other, "filters/stamp:2", module)
	two := write(t, f, "two.yaml", `apiVersion: waft.dev/v1
kind: Release
metadata: {name: two}
spec: {filters: [{name: stamp, module: "`+other+`/filters/stamp:2", config: {value: "2"}}]}
`)
	mustRun(t, f, append([]string{"release", "create", "-f", two}, f.Server()...)...)
	load := fleet.StartLoad(t.Context(), f.Listeners(), []fleet.Visitor{stamped("1", "2")})
	defer load.Stop()

	node("lacks").Agent.Kill() // its Envoy serves on, and it fetches nothing ahead
	startRollout(t, f, "second", "two", `[{selector: zone=a, soak: 10m}, {percent: 100, deadline: 15s}]`)
	awaitRollout(t, f, "second", "to soak", phaseIs("Soaking"))
	copied := func(dir string) (paths []string) {
		err := filepath.WalkDir(filepath.Join(f.Dir, dir), func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && strings.Contains(path, registry.DigestOf(module).Hex()) && !strings.HasSuffix(path, ".part") {
				paths = append(paths, path)
			}
			return nil // files come and go
		})
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	if err := fleet.WaitFor(t.Context(), "the next node to have the module", rolloutLimit, func(context.Context) error {
		if len(copied("has")) == 0 {
			return fleet.NotYetf("it has not")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}

	deleteArtifact(t, other, "filters/stamp", gone, module)
	lost := copied("serve")
	if len(lost) == 0 {
		t.Fatal("the distributor has no copy to lose")
	}
	for _, path := range lost {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.RestartAgent(node("lacks")); err != nil {
		t.Fatal(err)
	}
	words := other + "/filters/stamp"
	if err := fleet.WaitFor(t.Context(), "the node to say what it cannot fetch", rolloutLimit, func(ctx context.Context) error {
		var shown struct{ Unfetched map[string]string }
		if err := f.JSON(ctx, &shown, "nodes", "show", "lacks"); err != nil {
			return err
		}
		if reason := shown.Unfetched[string(registry.DigestOf(module))]; !strings.Contains(reason, words) || !strings.Contains(reason, "not found") {
			return fleet.NotYetf("it says %q", shown.Unfetched)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustRun(t, f, append([]string{"rollout", "promote", "second", "--reason", "test"}, f.Server()...)...)
	ended := awaitRollout(t, f, "second", "to be rolled back", phaseIs("RolledBack"))
	t.Log(ended.Message)
	for _, word := range []string{"not fetched by the deadline of 15s", "lacks", words, "not found", "push the same bytes again"} {
		if !strings.Contains(ended.Message, word) {
			t.Errorf("its message does not say %q: %s", word, ended.Message)
		}
	}
	for id, want := range map[string]string{"first": "RolledBack", "has": "Waiting", "lacks": "Failed"} { // the one that has it was never moved
		found := false
		for _, n := range ended.Nodes {
			if n.Node != id {
				continue
			}
			found = true
			if n.State != want || id == "lacks" && !strings.Contains(n.Reason, words) {
				t.Errorf("%+v is not %s, or not for the reason", n, want)
			}
		}
		if !found {
			t.Errorf("of %s it says nothing: %+v", id, ended.Nodes)
		}
	}
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "1")
	}

	// What it says is what helps.
	pushTo(t, other, "filters/stamp:2", module)
	rollOut(t, f, "third", "two", `[{selector: zone=a}, {percent: 100}]`)
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "2")
	}
	load.Stop()
	if sent, failed := load.Total(fleet.Everything); sent == 0 || failed != 0 {
		t.Errorf("%d of %d requests failed: %q", failed, sent, load.Failures())
	}
}

// deletingRegistry is a registry in this process from which things can be deleted; its address.
func deletingRegistry(t *testing.T) string {
	t.Helper()
	logrus.SetOutput(io.Discard) // it logs nowhere else
	server := httptest.NewServer(handlers.NewApp(t.Context(), &configuration.Configuration{Storage: configuration.Storage{
		"filesystem": configuration.Parameters{"rootdirectory": t.TempDir()},
		"delete":     configuration.Parameters{"enabled": true},
	}}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// pushTo publishes a module in a registry without TLS, and gives the artifact's digest.
func pushTo(t *testing.T, host, name string, wasm []byte) registry.Digest {
	t.Helper()
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := client.Push(t.Context(), ref, registry.ModuleBytes(wasm), nil)
	if err != nil {
		t.Fatal(err)
	}
	return pushed.Digest
}

// deleteArtifact deletes an artifact and its module by the API of the distribution specification.
func deleteArtifact(t *testing.T, host, repository string, artifact registry.Digest, module []byte) {
	t.Helper()
	for _, path := range []string{"manifests/" + string(artifact), "blobs/" + string(registry.DigestOf(module))} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+host+"/v2/"+repository+"/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close() // not read
		if response.StatusCode != http.StatusAccepted {
			t.Fatalf("DELETE %s: %s", path, response.Status)
		}
	}
}
