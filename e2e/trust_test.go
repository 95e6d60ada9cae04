package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

// keyPair writes a key, and gives the files of both halves.
func keyPair(t *testing.T, f *fleet.Fleet, name string) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	private = write(t, f, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return private, write(t, f, name+".pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})))
}

// putPolicy writes a trust policy by one key, whole or not at all, and gives its path.
func putPolicy(t *testing.T, f *fleet.Fleet, name, public, rest string) string {
	t.Helper()
	key, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	part := write(t, f, name+".part", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: TrustPolicy
metadata: {name: %s}
spec:
  keys: [{name: release, publicKey: %q}]
  rules:
  - {name: filters, repositories: ["*/filters/*"], signatures: {keys: [release], named: true}}
%s`, name, key, rest))
	path := filepath.Join(f.Dir, name+".yaml")
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
	return path
}

const signedReleases = "  releases: [{name: all, releases: [\"*\"], signatures: {keys: [release]}}]\n  requiredLayers: [global]\n"

// Nodes with policies of their own and a distributor without one: the nodes take what is signed, modules and releases; what is not they
// refuse, and serve on. Then the distributor gets a policy, too.
func TestPain15UnsignedIsRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := t.Context()
	key, public := keyPair(t, f, "release")
	f.AgentFlags = []string{"--trust-policy", putPolicy(t, f, "node", public, signedReleases)}
	for _, start := range []func(context.Context) error{f.StartUpstream, f.StartServe} {
		if err := start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.StartAgent("n1", "env=test"); err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	out := buildFilter(t, f, "./e2e/filters/stamp", "1.0.0")
	module := filepath.Join(out, "stamp.wasm")
	push := func(flags ...string) {
		t.Helper()
		mustRun(t, f, append([]string{"push", "--plain-http", f.HTTP(), module, moduleRef(f, "stamp")}, flags...)...)
	}
	atRegistry := append(f.Server(), "--registry", f.HTTP(), "--plain-http", f.HTTP())
	sign := func(release string) {
		t.Helper()
		mustRun(t, f, append([]string{"release", "sign", release, "--key", key}, atRegistry...)...)
	}
	rolledBack := func(name, release, word string) {
		t.Helper()
		startRollout(t, f, name, release, `[{percent: 100}]`)
		ended := awaitRollout(t, f, name, "to end", func(s rolloutStatus) bool {
			return s.Phase == "RolledBack" || s.Phase == "Aborted" || s.Phase == "Done"
		})
		if text := fmt.Sprintf("%+v", ended); ended.Phase != "RolledBack" || !strings.Contains(text, word) {
			t.Errorf("%s: want it rolled back because of %q, and it is %s", name, word, text)
		}
	}
	node := f.Nodes()[0]

	// Signed, all of it.
	push("--sign-key", key)
	first := createRelease(t, f, "stamps", "stamp", `{value: first}`)
	sign(first)
	mustRun(t, f, append([]string{"release", "verify", first, "--key", public}, atRegistry...)...)
	mustRun(t, f, append([]string{"release", "verify", first, "--policy", filepath.Join(f.Dir, "node.yaml")}, atRegistry...)...)
	rollOut(t, f, "first", first, `[{percent: 100}]`)
	awaitStamp(t, node, "first")

	// Another configuration of the same module, which nobody has signed.
	load := fleet.StartLoad(ctx, f.Listeners(), []fleet.Visitor{stamped("first", "second", "third")})
	defer load.Stop()
	second := createRelease(t, f, "stamps", "stamp", `{value: second}`)
	mustFail(t, f, []string{"no valid signature"}, append([]string{"release", "verify", second, "--key", public}, atRegistry...)...)
	before, err := f.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rolledBack("unsigned", second, "policy node, rule all: 1 of the keys release must have signed it")
	after, err := f.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after["n1"].Attempts() != before["n1"].Attempts() {
		t.Error("Envoy was offered a release that the node does not trust")
	}
	awaitStamp(t, node, "first")
	sign(second)
	rollOut(t, f, "second", second, `[{percent: 100}]`)
	awaitStamp(t, node, "second")

	// The distributor gets a policy of its own. What it refuses goes into no release.
	f.ServeFlags = []string{"--trust-policy", putPolicy(t, f, "serve", public, signedReleases)}
	f.Serve().Stop()
	if err := f.StartServe(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	buildFilter(t, f, "./e2e/filters/stamp", "1.0.1")
	mustFail(t, f, []string{"policy serve", "must have signed it"}, "push", "--plain-http", f.HTTP(), module, moduleRef(f, "stamp"), "--policy", filepath.Join(f.Dir, "serve.yaml"))
	push()
	document := filepath.Join(f.Dir, "stamps.yaml")
	create := append([]string{"release", "create", "-f", document}, f.Server()...)
	mustFail(t, f, []string{"spec.filters[0].module", "filter stamp", moduleRef(f, "stamp"), "policy serve, rule filters", "must have signed it"}, create...)
	mustRun(t, f, "sign", "--plain-http", f.HTTP(), moduleRef(f, "stamp"), "--key", key)
	third := createRelease(t, f, "stamps", "stamp", `{value: third}`)
	mustFail(t, f, []string{"spec.release", "waft release sign"}, append([]string{"rollout", "start", "-f", rolloutDocument(t, f, "third", third, `[{percent: 100}]`)}, f.Server()...)...)
	sign(third)
	rollOut(t, f, "third", third, `[{percent: 100}]`)
	awaitStamp(t, node, "third")

	// Its module is revoked: the distributor reads that on SIGHUP; the node finds it by itself, and serves on.
	var shown struct {
		Status struct {
			Modules []struct{ Module struct{ Digest string } }
		}
	}
	if err := f.JSON(ctx, &shown, "release", "show", third); err != nil {
		t.Fatal(err)
	}
	revoked := fmt.Sprintf("%s  revoked: {digests: [%q]}\n", signedReleases, shown.Status.Modules[0].Module.Digest)
	putPolicy(t, f, "serve", public, revoked)
	if err := syscall.Kill(f.Serve().PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	err = fleet.WaitFor(ctx, "the distributor to know", rolloutLimit, func(ctx context.Context) error {
		_, err := f.Command(ctx, nil, create...)
		if err == nil || !strings.Contains(err.Error(), "is revoked") {
			return fleet.NotYetf("create: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	putPolicy(t, f, "node", public, revoked)
	err = fleet.WaitFor(ctx, "the node to say so", rolloutLimit, func(ctx context.Context) error {
		text, err := f.Command(ctx, nil, append([]string{"nodes", "show", "n1"}, f.Server()...)...)
		if err != nil {
			return err
		}
		for _, word := range []string{"degraded", "trust", "is revoked"} {
			if !strings.Contains(string(text), word) {
				return fleet.NotYetf("no %q in %s", word, text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitStamp(t, node, "third")
	load.Stop()
	if failures := load.Failures(); len(failures) > 0 {
		t.Errorf("requests failed: %q", failures)
	}
}
