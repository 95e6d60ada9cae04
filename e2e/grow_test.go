package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// standing is a member of etcd as who runs etcd by itself has it.
type standing struct {
	process            *exec.Cmd
	name, client, peer string
}

// startStanding starts etcd with that folder; initial are the members of the cluster that it joins, empty where it has been a member before.
func startStanding(t *testing.T, name, dir, peer string, initial []string) *standing {
	t.Helper()
	client := etcdtest.FreeURL(t)
	m := &standing{name: name, client: client.String(), peer: peer}
	args := []string{
		"--name", name, "--data-dir", dir, "--log-level", "error", "--listen-client-urls", m.client, "--advertise-client-urls", m.client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--max-request-bytes", "8388608", "--quota-backend-bytes", "2147483648",
	}
	if initial == nil {
		initial = []string{name + "=" + peer}
	}
	// The first one has its data, and reads neither; without it, it ends, and does not begin an empty cluster.
	args = append(args, "--initial-cluster-state", "existing", "--initial-cluster", strings.Join(initial, ","))
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), etcdVariable+"=1")
	m.process = spawn(t, cmd, "etcd-"+name)
	return m
}

// The member of etcd that is in a `waft serve` goes on as one that stands by itself, with the same data, and is grown to three members while distributors over it are written to and read. Then
// any of them may go, and the first one does.
func TestEmbeddedMemberIsGrownIntoACluster(t *testing.T) {
	onlyInFull(t)
	dir := t.TempDir()
	was := startServe(t, filepath.Join(dir, "data"), "was")
	n := startFollower(t, was.grpc, "n1", "prod")
	pushModule(t, was.http+"/filters/first:1.0.0", "first")
	first := newRelease(t, was.dial(t), "first", replicasName+"/filters/first:1.0.0")
	beginRollout(t, was.dial(t), "first", first, "prod", &waftv1.Wave{Percent: 100})
	ended(t, was.dial(t), "first")

	// The one outage: a restart.
	if err := was.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = was.process.Wait()
	if err := os.Rename(filepath.Join(dir, "data", "etcd"), filepath.Join(dir, "waft")); err != nil {
		t.Fatal(err)
	}
	peer := func() string { u := etcdtest.FreeURL(t); return u.String() }
	empty, gone := startStanding(t, "waft", filepath.Join(dir, "elsewhere"), peer(), nil), make(chan error, 1)
	go func() { gone <- empty.process.Wait() }()
	select {
	case err := <-gone:
		if err == nil {
			t.Fatal("where no data is, etcd ended as if all were well")
		}
	case <-time.After(time.Minute):
		t.Fatal("where no data is, etcd began an empty cluster")
	}
	members := []*standing{startStanding(t, "waft", filepath.Join(dir, "waft"), peer(), nil)}
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{members[0].client}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	// admin does something to the cluster, again until it is done: etcd says when it is too early.
	admin := func(what string, do func(ctx context.Context) error) {
		t.Helper()
		var last error
		defer func() {
			if t.Failed() {
				t.Log(what, last)
			}
		}()
		wait(t, what, time.Minute, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			last = do(ctx)
			return last == nil
		})
	}
	admin("the member says where others reach it", func(ctx context.Context) error {
		list, err := etcd.MemberList(ctx)
		if err != nil {
			return err
		}
		_, err = etcd.MemberUpdate(ctx, list.Members[0].ID, []string{members[0].peer})
		return err
	})
	r1 := startServe(t, filepath.Join(dir, "data"), "r1", "--etcd", members[0].client, "--peer", "127.0.0.1:0", "--grpc", was.grpc, "--http", was.http)
	if _, err := r1.dial(t).Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: first}); err != nil {
		t.Fatal(err)
	}

	// From here on somebody writes and reads without a pause.
	c := r1.dial(t)
	told, failed := make(chan string, 1<<16), make(chan error, 1<<16)
	enough := whileTested(t, func(i int) {
		name := fmt.Sprintf("w%d", i)
		if err := createEmpty(t.Context(), c, name); err != nil {
			failed <- err
			return
		}
		told <- name
		if _, err := c.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: name}); err != nil {
			failed <- err
		}
	})
	written := func(what string) {
		t.Helper()
		before := len(told)
		wait(t, "releases are created "+what, time.Minute, func() bool { return len(told) > before+3 })
	}
	written("over one member")
	for _, name := range []string{"m2", "m3"} {
		at := peer()
		var id uint64
		admin("a member is added", func(ctx context.Context) error {
			added, err := etcd.MemberAddAsLearner(ctx, []string{at}) // it has no vote until it has all data: two members without one of them write nothing
			if err == nil {
				id = added.Member.ID
			}
			return err
		})
		initial := []string{name + "=" + at}
		for _, m := range members {
			initial = append(initial, m.name+"="+m.peer)
		}
		members = append(members, startStanding(t, name, filepath.Join(dir, name), at, initial))
		admin("the new member has a vote", func(ctx context.Context) error {
			_, err := etcd.MemberPromote(ctx, id)
			return err
		})
		written("with " + name)
	}
	enough()
	for len(failed) > 0 {
		t.Errorf("while etcd was grown: %v", <-failed)
	}

	// Now there may be another replica, and the first machine may go, with the member that was embedded.
	endpoints := []string{members[0].client, members[1].client, members[2].client}
	r2 := startReplica(t, endpoints, "r2")
	kill(r1.process)
	kill(members[0].process)
	c2 := r2.dial(t)
	wait(t, "the other replica leads", time.Minute, r2.leads)
	wait(t, "the releases of before are there", time.Minute, func() bool {
		_, err := c2.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: first})
		return err == nil
	})
	for len(told) > 0 {
		if _, err := c2.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: <-told}); err != nil {
			t.Errorf("a release whose creation was acknowledged: %v", err)
		}
	}
	waftSays(t, true, "audit", "verify", "--insecure", "--server", r2.grpc)
	if emptied := n.wasEmptied(); emptied > 0 || n.runs() == "" {
		t.Errorf("the node was told %d times to serve nothing, and serves %q", emptied, n.runs())
	}
}

// createEmpty creates a release of nothing.
func createEmpty(ctx context.Context, c *api.Client, name string) error {
	document, err := api.DecodeDocument(fmt.Appendf(nil, "apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec: {filters: []}\n", name))
	if err != nil {
		return err
	}
	_, err = c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: document.(*waftv1.Release), Reason: "test"})
	return err
}
