package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
)

// waftSays runs the program, and gives what it says; want is whether it is to succeed.
func waftSays(t *testing.T, want bool, args ...string) string {
	t.Helper()
	text, err := exec.Command(waftBinary, args...).CombinedOutput()
	if (err == nil) != want {
		t.Fatalf("waft %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return string(text)
}

// dial is a client of a distributor.
func (s *served) dial(t *testing.T) *api.Client {
	t.Helper()
	c, err := api.Dial(api.ClientConfig{Address: s.grpc, Insecure: true, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// goesOn shows that a distributor knows what the backup holds and nothing later, serves what was pushed before, and rolls out to the node that it knows, which was
// there all the time.
func (s *served) goesOn(t *testing.T, node *follower, name, first, later, digest string) {
	t.Helper()
	c := s.dial(t)
	wait(t, "the rollout of before the backup is known", time.Minute, func() bool {
		r, err := c.Rollouts.GetRollout(t.Context(), &waftv1.GetRolloutRequest{Name: "first"})
		return err == nil && r.GetStatus().GetPhase() == string(model.RolloutDone)
	})
	if _, err := c.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: first}); err != nil {
		t.Error(err)
	}
	if _, err := c.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: later}); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a release of after the backup: %v", err)
	}
	n, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: "n1"})
	if err != nil || len(n.GetReleases()) != 1 {
		t.Fatalf("node n1: %v, %v", n, err)
	}
	waftSays(t, true, "audit", "verify", "--insecure", "--server", s.grpc)

	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(s.http + "/filters/first:1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := client.Resolve(t.Context(), ref)
	if err != nil || string(artifact.Module.Digest) != digest {
		t.Errorf("what was pushed before the backup: %v, %v; want %s", artifact.Module.Digest, err, digest)
	}

	if ref, err = registry.ParseReference(s.http + "/partial/tmp:pins"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resolve(t.Context(), ref); err != nil {
		t.Error(err)
	}

	wait(t, "the node connects again", time.Minute, func() bool {
		n, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: node.id})
		return err == nil && n.GetPresence() == "connected"
	})
	if node.runs() == "" {
		t.Error("the node serves nothing any more")
	}
	pushModule(t, s.http+"/filters/"+name+":1.0.0", name)
	release := newRelease(t, c, name, replicasName+"/filters/"+name+":1.0.0")
	beginRollout(t, c, name, release, "prod", &waftv1.Wave{Percent: 100})
	ended(t, c, name)
	if node.has(release).IsZero() {
		t.Errorf("the node was not given %s", release)
	}
}

// What a distributor knew when a backup was made of it, another one goes on with: with the store embedded in it, or over an etcd of three members. A node that knows one
// address serves on meanwhile, and connects again.
func TestBackupIsRestored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, data := filepath.Join(dir, "waft.tar"), filepath.Join(dir, "restored")
	was := startServe(t, filepath.Join(dir, "data"), "was")
	c := was.dial(t)
	n := startFollower(t, was.grpc, "n1", "prod")
	digest := pushModule(t, was.http+"/filters/first:1.0.0", "first")
	pushModule(t, was.http+"/partial/tmp:pins", "names") // as the folders that a backup leaves out
	first := newRelease(t, c, "first", replicasName+"/filters/first:1.0.0")
	beginRollout(t, c, "first", first, "prod", &waftv1.Wave{Percent: 100})
	ended(t, c, "first")
	if n.has(first).IsZero() {
		t.Fatal("the node has not been given the release")
	}

	waftSays(t, true, "backup", file, "--insecure", "--server", was.grpc)
	pushModule(t, was.http+"/filters/later:1.0.0", "later")
	later := newRelease(t, c, "later", replicasName+"/filters/later:1.0.0")
	kill(was.process)

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string][]byte{
		"cut short": whole[:len(whole)/2],
		"changed":   bytes.Replace(whole, []byte("\x01xfirst"), []byte("\x01xFirst"), 1), // in the module
	} {
		if bytes.Equal(text, whole) {
			t.Fatalf("%s: it is as it was", what)
		}
		bad := filepath.Join(dir, "bad.tar")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if said := waftSays(t, false, "restore", bad, "--data", data); !strings.Contains(said, "the backup") {
			t.Errorf("%s: %s", what, said)
		}
		for _, folder := range []string{"etcd", "registry", "modules", "restoring"} {
			if _, err := os.Stat(filepath.Join(data, folder)); err == nil {
				t.Errorf("%s: %s is there", what, folder)
			}
		}
	}

	waftSays(t, true, "restore", file, "--data", data)
	if said := waftSays(t, false, "restore", file, "--data", data); !strings.Contains(said, "holds etcd already") {
		t.Errorf("restored twice: %s", said)
	}
	again := startServe(t, data, "again", "--grpc", was.grpc)
	again.goesOn(t, n, "second", first, later, digest)
	kill(again.process)

	// The same file, into a cluster.
	_, endpoints := startMembers(t)
	etcd := []string{"--etcd", strings.Join(endpoints, ",")}
	wait(t, "etcd takes it", time.Minute, func() bool {
		return exec.Command(waftBinary, append([]string{"restore", file, "--data", filepath.Join(dir, "r1")}, etcd...)...).Run() == nil
	})
	if said := waftSays(t, false, append([]string{"restore", file, "--data", filepath.Join(dir, "r2")}, etcd...)...); !strings.Contains(said, "not empty") {
		t.Errorf("restored twice: %s", said)
	}
	flags := append(etcd, "--peer", "127.0.0.1:0")
	r1 := startServe(t, filepath.Join(dir, "r1"), "r1", append(slices.Clone(flags), "--grpc", was.grpc)...)
	startServe(t, filepath.Join(dir, "r3"), "r3", flags...)
	r1.goesOn(t, n, "third", first, later, digest)
	if emptied := n.wasEmptied(); emptied > 0 {
		t.Errorf("the node was told %d times to serve nothing", emptied)
	}
}
