package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// mostWithoutMachine is for how long nothing may be delivered when a machine goes that had both leaders: etcd elects first, and gives the lease of the replica that led all
// of its time anew (docs/cluster.md).
const mostWithoutMachine = 6 * time.Second

// The machine goes that has the replica which leads and the member of etcd which leads etcd, both at the same moment, while rollouts run and releases are created. Another replica
// goes on within seconds, the rollouts end, no node goes back, and what somebody was told is there is there.
func TestReplicasLoseTheMachineOfBothLeaders(t *testing.T) {
	onlyInFull(t)
	etcd, endpoints := startMembers(t)
	var replicas []*served
	var grpcs []string
	for i := range 3 {
		s := startReplica(t, endpoints, fmt.Sprintf("r%d", i+1))
		replicas, grpcs = append(replicas, s), append(grpcs, s.grpc)
	}
	front := balance(t, grpcs...)
	c, err := api.Dial(api.ClientConfig{Address: front, Insecure: true, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	byEnv := map[string][]*follower{}
	var nodes []*follower
	for i := range 6 {
		env := []string{"long", "machine"}[i%2]
		n := startFollower(t, front, fmt.Sprintf("n%d", i+1), env)
		nodes, byEnv[env] = append(nodes, n), append(byEnv[env], n)
	}
	wait(t, "all nodes are connected", time.Minute, func() bool {
		list, err := c.Nodes.ListNodes(t.Context(), &waftv1.ListNodesRequest{})
		return err == nil && len(list.GetNodes()) == len(nodes) && !slices.ContainsFunc(list.GetNodes(), func(n *waftv1.Node) bool { return n.GetPresence() != "connected" })
	})
	empty := func(name string) (*waftv1.Release, error) { // also called by the one who writes, who may not end the test
		document, err := api.DecodeDocument([]byte(fmt.Sprintf("apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec: {filters: []}\n", name)))
		if err != nil {
			return nil, err
		}
		return c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: document.(*waftv1.Release), Reason: "test"})
	}
	hashes := map[string]string{}
	for env := range byEnv {
		created, err := empty(env)
		if err != nil {
			t.Fatal(err)
		}
		hashes[env] = env + "@" + created.GetStatus().GetHash()
	}
	beginRollout(t, c, "long", hashes["long"], "long", &waftv1.Wave{Nodes: 1, Soak: "5s"}, &waftv1.Wave{Percent: 60, Soak: "5s"}, &waftv1.Wave{Percent: 100})

	// Somebody writes all the time, and notes what was acknowledged.
	var mu sync.Mutex
	told := map[string]string{}
	acknowledged := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(told)
	}
	enough := whileTested(t, func(i int) {
		name := fmt.Sprintf("w%d", i)
		if created, err := empty(name); err == nil {
			mu.Lock()
			told[name] = created.GetStatus().GetHash()
			mu.Unlock()
		} else {
			time.Sleep(20 * time.Millisecond)
		}
	})
	wait(t, "releases are being created", time.Minute, func() bool { return acknowledged() >= 10 })

	held := measureHeldBack(t)
	first := leader(t, replicas)
	raft, _ := raftLeader(t, endpoints)
	if r, err := c.Rollouts.GetRollout(t.Context(), &waftv1.GetRolloutRequest{Name: "long"}); err != nil || model.RolloutPhase(r.GetStatus().GetPhase()).Ended() {
		t.Fatalf("no rollout runs that another replica could go on with: %v, %v", r.GetStatus(), err)
	}
	for _, p := range []*exec.Cmd{etcd[raft], first.process} { // neither has time to hand anything over
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	before := acknowledged()
	taken := held.begin()
	beginRollout(t, c, "machine", hashes["machine"], "machine", &waftv1.Wave{Percent: 100})
	wait(t, "its release is delivered", time.Minute, func() bool {
		return !slices.ContainsFunc(byEnv["machine"], func(n *follower) bool { return n.has(hashes["machine"]).IsZero() })
	})
	took := taken()
	t.Logf("with the loss of the machine of both leaders a release was delivered after %v", took)
	if took.counted() > mostWithoutMachine {
		t.Errorf("with the loss of the machine of both leaders nothing was delivered for %v, and %v is the most", took, mostWithoutMachine)
	}
	wait(t, "releases are created again", time.Minute, func() bool { return acknowledged() > before+10 })
	enough()
	ended(t, c, "machine")
	ended(t, c, "long")
	for name, hash := range told {
		found, err := c.Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: name})
		if err != nil || found.GetStatus().GetHash() != hash {
			t.Errorf("release %s, whose creation was acknowledged, is %v, %v", name, found.GetStatus().GetHash(), err)
		}
	}
	t.Logf("%d releases were acknowledged, %d of them before the machine went", len(told), before)
	for env, of := range byEnv {
		for _, n := range of {
			if back := n.wentBack(); len(back) > 0 || n.has(hashes[env]).IsZero() {
				t.Errorf("node %s: older generations %v; given its release: %v", n.id, back, !n.has(hashes[env]).IsZero())
			}
		}
	}
}

// whileTested does something again and again, counted from 0, until what it gives is called, or the test ends, also where it fails on the way.
func whileTested(t *testing.T, do func(i int)) (enough func()) {
	stop, over := make(chan struct{}), make(chan struct{})
	enough = sync.OnceFunc(func() { close(stop); <-over })
	t.Cleanup(enough)
	go func() {
		defer close(over)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				do(i)
			}
		}
	}()
	return enough
}
