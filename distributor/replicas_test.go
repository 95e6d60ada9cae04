package distributor_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// replica starts one of several distributors over one etcd.
func replica(t *testing.T, etcd *etcdtest.Cluster, name string) *replicaServer {
	t.Helper()
	data := t.TempDir()
	return &replicaServer{data: data, server: start(t, distributor.Config{Data: data, Insecure: true, Etcd: store.External{Endpoints: etcd.Endpoints}, Peer: "127.0.0.1:0", Replica: name})}
}

type replicaServer struct {
	*server
	data string
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// seesToTheStore waits until a process shows how much room its store has, which whoever leads looks for.
func seesToTheStore(t *testing.T, s *server) {
	t.Helper()
	eventually(t, "it shows the room of its store", func() bool {
		_, text, _ := get(t, "http://"+s.HTTP+"/metrics")
		return strings.Contains(text, "\nwaft_store_bytes ") && !strings.Contains(text, "\nwaft_store_bytes 0\n") && strings.Contains(text, "\nwaft_store_full 0\n")
	})
}

// Whoever leads sees to the store: a single distributor to its own, and here, the one of several that leads.
func TestStoreIsSeenTo(t *testing.T) {
	seesToTheStore(t, start(t, distributor.Config{Data: t.TempDir(), Insecure: true}))
}

// leads says whether a replica says of itself that it leads.
func leads(t *testing.T, s *replicaServer) bool {
	t.Helper()
	resp, err := http.Get("http://" + s.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "\nwaft_leader 1\n")
}

// Every replica serves sinks and calls, whoever leads; what one was told, all know; and when the leader stops, the next one goes on.
func TestReplicas(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	first := replica(t, etcd, "first")
	second := replica(t, etcd, "second")
	if !leads(t, first) || leads(t, second) {
		t.Fatal("the first replica does not lead, or not alone")
	}
	seesToTheStore(t, first.server)

	// A module is pushed to the follower, and a release of it is created there; both are the leader's to keep.
	wasm := module("replicas")
	push(t, second.HTTP+"/filters/f:1.0.0", wasm, schema)
	created, err := second.client(t).Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{
		Release: release(t, document("one", second.HTTP+"/filters/f:1.0.0", "{issuer: a}")), Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := first.client(t).Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: created.GetMetadata().GetName()})
	if err != nil || found.GetStatus().GetHash() != created.GetStatus().GetHash() {
		t.Fatalf("the leader has %v (%v)", found, err)
	}
	var refused *model.Error
	_, err = second.client(t).Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: "none"})
	if !errors.As(err, &refused) || !errors.Is(err, model.ErrNotFound) {
		t.Fatalf("an error that comes by a follower is %v", err)
	}

	// A node at the follower: its collections and its reports.
	agent(t, second.server, "n1")
	c := second.client(t)
	if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "r1"},
		Spec:     &waftv1.RolloutSpec{Release: "one", Waves: []*waftv1.Wave{{Percent: 100}}},
	}, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if ended := follow(t, c, "r1"); ended.GetStatus().GetPhase() != string(model.RolloutDone) {
		t.Fatalf("the rollout ended as %s: %s", ended.GetStatus().GetPhase(), ended.GetStatus().GetMessage())
	}
	if status, body, _ := get(t, "http://"+second.HTTP+"/v1/nodes/n1"); status != http.StatusOK || !strings.Contains(body, `"state":"SERVING"`) {
		t.Fatalf("the node is %d %s", status, body)
	}

	// Its row says who vouches for it.
	state, err := store.Connect(store.External{Endpoints: etcd.Endpoints}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	st, err := store.Open(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := st.ListNodes(t.Context(), "", 10); err != nil || len(rows) != 1 || rows[0].Replica != "second" {
		t.Fatalf("the rows are %+v (%v)", rows, err)
	}

	// The follower has a copy of the module before the leader goes.
	served := func() bool {
		status, _, _ := get(t, fmt.Sprintf("http://%s/v2/waft/modules/blobs/%s", second.HTTP, digestOf(wasm)))
		return status == http.StatusOK
	}
	hex := strings.TrimPrefix(digestOf(wasm), "sha256:")
	eventually(t, "the follower has the module", func() bool {
		found, err := filepath.Glob(filepath.Join(second.data, "modules", "blobs", "sha256", hex))
		return err == nil && len(found) > 0
	})
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	eventually(t, "the second replica leads", func() bool { return leads(t, second) })
	t.Logf("the second replica led %v after the first had stopped", time.Since(begun))
	if !served() {
		t.Error("the module has gone with the leader")
	}
	if _, err := c.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: "one"}); err != nil {
		t.Fatal(err)
	}
}
