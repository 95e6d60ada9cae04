package distributor_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// At a replica that does not lead a sink is sent an inline module as bytes, too, and one that says that it fetches is not: what it says reaches the one that leads. So does
// who acts, where no policy says that.
func TestInlineModuleByAFollower(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	replica(t, etcd, "first")
	follower := replica(t, etcd, "second")
	c := follower.client(t)
	plain := sink(t, follower.GRPC, "plain")
	fetching := sinkBy(t, follower.GRPC, insecure.NewCredentials(), mcp.SinkConfig{Node: "fetching", FetchesModules: true})
	wasm := loadable("by a follower")
	created, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, inlineDocument("inline", encodedModule(wasm), ""))})
	if err != nil {
		t.Fatal(err)
	}
	if by := created.GetStatus().GetCreatedBy(); by != "Zoë 100%" {
		t.Errorf("the release is by %q", by)
	}
	agent(t, follower.server, "agent")
	if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Reason: "go", Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "first"}, Spec: &waftv1.RolloutSpec{Release: "inline", Waves: []*waftv1.Wave{{Percent: 100}}, Target: &waftv1.Target{Selector: "env=prod", IncludeUnreported: true}},
	}}); err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		updates <-chan mcp.Update
		want    []byte
	}{"a sink": {plain, wasm}, "one that fetches": {fetching, nil}} {
		f := &waftv1.Filter{}
		if err := mcp.Body(until(t, tc.updates, model.CollectionFilters, some)[0], f); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.GetInline(), tc.want) || f.GetModule().GetDigest() != digestOf(wasm) {
			t.Errorf("%s has %d bytes of %v", what, len(f.GetInline()), f.GetModule())
		}
	}
}

// A replica that starts while another one leads sweeps its own registry of what no release in etcd names, and of nothing else: not of what a node could go back to, and
// of nothing at all when it is started with another etcd, empty or not, or with one that does not answer.
func TestReplicasSweepTheirOwn(t *testing.T) {
	etcd, other := etcdtest.Start(t, 1), etcdtest.Start(t, 1)
	data := t.TempDir()
	startWith := func(etcd *etcdtest.Cluster, data, name string) *replicaServer {
		t.Helper()
		return &replicaServer{data: data, server: start(t, distributor.Config{
			Data: data, Insecure: true, Etcd: store.External{Endpoints: etcd.Endpoints}, Peer: "127.0.0.1:0", Replica: name, Names: []string{"waft.example:7071"},
		})}
	}
	create := func(s *replicaServer, name, module string) (repository string) {
		t.Helper()
		r, err := s.client(t).Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, inlineDocument(name, encodedModule(loadable(module)), ""))})
		if err != nil {
			t.Fatal(err)
		}
		_, repository, _ = strings.Cut(r.GetSpec().GetFilters()[0].GetModule(), "/")
		return repository
	}
	// age is as if two days had passed since all that was kept.
	age := func() {
		t.Helper()
		old := time.Now().Add(-48 * time.Hour)
		if err := filepath.WalkDir(filepath.Join(data, "registry"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "link" {
				err = os.Chtimes(path, old, old)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	// has says whether the registry in the folder has an image itself; a replica would ask the others for it.
	has := func(repository string) bool {
		t.Helper()
		name, digest, _ := strings.Cut(repository, "@sha256:")
		_, err := os.Stat(filepath.Join(data, "registry", "docker", "registry", "v2", "repositories", filepath.FromSlash(name), "_manifests", "revisions", "sha256", digest, "link"))
		return err == nil
	}
	stop := func(s *replicaServer) {
		t.Helper()
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}

	first := startWith(etcd, data, "first")
	before, now := create(first, "edge", "before"), create(first, "edge", "now")
	unneeded := "inline/global/unneeded@" + pushUntagged(t, first.HTTP+"/inline/global/unneeded", loadable("unneeded"))
	stop(first)
	age()
	for what, repository := range map[string]string{"the release of before": before, "the release of now": now, "what no release names": unneeded} {
		if !has(repository) {
			t.Fatalf("%s is not in the registry of the replica that led", what)
		}
	}

	// Another etcd, which has nothing yet; and then a release of its own.
	for i, what := range []string{"an empty etcd", "an etcd with other releases"} {
		s := startWith(other, data, "astray")
		if !has(before) || !has(now) || !has(unneeded) {
			t.Errorf("%s has a replica sweep what another etcd's releases may need", what)
		}
		if i == 0 {
			create(s, "other", "other")
		}
		stop(s)
		age()
	}
	// Nobody can say any more which of both needs what, so it is for a person to say.
	second := startWith(etcd, t.TempDir(), "second")
	first = startWith(etcd, data, "first")
	if leads(t, first) || !leads(t, second) {
		t.Fatal("the replica that was started later leads")
	}
	if !has(unneeded) {
		t.Error("a replica that was used with two etcds is swept")
	}
	stop(first)
	if err := os.Remove(filepath.Join(data, "registry", "stores")); err != nil {
		t.Fatal(err)
	}

	first = startWith(etcd, data, "first")
	if leads(t, first) {
		t.Fatal("the replica that was started later leads")
	}
	if has(unneeded) {
		t.Error("what no release names stays in the registry of a replica that does not lead")
	}
	if !has(before) || !has(now) {
		t.Errorf("it is swept of what releases name: that of before is there: %v, that of now: %v", has(before), has(now))
	}
}
