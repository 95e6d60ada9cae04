package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// wire is a way to an address over which nothing comes while it is cut: connections stay open, and new ones are taken, as in a network that has parted.
type wire struct {
	address string
	cut     atomic.Bool
	// without is who is cut off although the wire is not: the id of a member of etcd, which it says in each connection that it makes to another; empty: nobody.
	without atomic.Value
}

// sayer is how a member of etcd says which one it is.
var sayer = regexp.MustCompile(`(?i)\r\nX-Server-From: ([0-9a-f]+)\r\n`)

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended); _ = l.Close() })
	w := &wire{address: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(client, to, ended)
		}
	}()
	return w
}

// hold waits while the wire is cut, for all or for whoever has connected; false: the test has ended.
func (w *wire) hold(who *atomic.Value, ended <-chan struct{}) bool {
	for w.cut.Load() || who.Load() != nil && who.Load() == w.without.Load() {
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true
}

func (w *wire) pass(client net.Conn, to string, ended <-chan struct{}) {
	defer client.Close()
	var who atomic.Value // a string, once it has said so
	if !w.hold(&who, ended) {
		return
	}
	server, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			buffer := make([]byte, 32<<10)
			for {
				n, err := way[1].Read(buffer)
				if way[1] == client {
					if said := sayer.FindSubmatch(buffer[:n]); said != nil {
						who.Store(string(said[1]))
					}
				}
				if n > 0 && w.hold(&who, ended) {
					if _, err := way[0].Write(buffer[:n]); err != nil {
						break
					}
				}
				if err != nil {
					break
				}
			}
			_ = client.Close()
			_ = server.Close()
		})
	}
	both.Wait()
}

// part cuts a member of etcd off from the others: what they dial, and what it does. Clients reach it all the same.
func part(wires []*wire, at int, id uint64) (heal func()) {
	for _, w := range wires {
		w.without.Store(strconv.FormatUint(id, 16))
	}
	wires[at].cut.Store(true)
	return func() {
		wires[at].cut.Store(false)
		for _, w := range wires {
			w.without.Store("")
		}
	}
}

// readiness is the status of /readyz; 0 where there is no answer.
func (s *served) readiness() int {
	resp, err := http.Get("http://" + s.http + "/readyz")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// watchHealth says what a watch of a replica's health (grpc.health.v1) heard last: whether it serves. One that ends is begun again.
func watchHealth(t *testing.T, address string) func() bool {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serves atomic.Bool
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
			for err == nil {
				var heard *healthpb.HealthCheckResponse
				heard, err = watch.Recv()
				serves.Store(heard.GetStatus() == healthpb.HealthCheckResponse_SERVING) // one that has ended says nothing
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-over
		_ = conn.Close()
	})
	return serves.Load
}

// Replicas that do not reach the one that leads send their clients to it; one that leads and is cut off from etcd, while clients still reach it, leads no more; a
// member of etcd that the others cannot reach does not matter. Nothing of it stops deliveries for more than 5 s. When the network is whole again, so is the cluster.
func TestReplicasSurvivePartitions(t *testing.T) {
	etcd, endpoints := startMembersBehind(t, newWire)
	var replicas []*served
	wires := map[*served][]*wire{}
	peers := map[*served]*wire{}
	for i := range 3 {
		var own []*wire
		var through []string
		for _, e := range endpoints {
			w := newWire(t, strings.TrimPrefix(e, "http://"))
			own, through = append(own, w), append(through, "http://"+w.address)
		}
		s, peer := startReplicaBehind(t, through, fmt.Sprintf("r%d", i+1))
		replicas, wires[s], peers[s] = append(replicas, s), own, peer
	}
	front := balanceReady(t, replicas)
	c, err := api.Dial(api.ClientConfig{Address: front, Insecure: true, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	byEnv := map[string][]*follower{}
	envs := []string{"link", "replica", "member", "raft", "healed", "pinned"}
	for i := range 18 {
		env, at := envs[i%len(envs)], front
		if env == "pinned" {
			at = replicas[i/len(envs)].grpc // one at each replica, whatever becomes of that meanwhile
		}
		byEnv[env] = append(byEnv[env], startFollower(t, at, fmt.Sprintf("n%d", i+1), env))
	}
	releases, digests := map[string]string{}, []string{}
	for _, env := range envs {
		digests = append(digests, pushModule(t, replicas[0].http+"/filters/"+env+":1.0.0", env))
		releases[env] = newRelease(t, c, env, replicasName+"/filters/"+env+":1.0.0")
	}
	wait(t, "every replica has every module", time.Minute, func() bool {
		for _, s := range replicas {
			for _, digest := range digests {
				if _, err := os.Stat(filepath.Join(s.data, "modules", "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))); err != nil {
					return false
				}
			}
		}
		return true
	})
	held := measureHeldBack(t)
	deliver := func(env string) {
		t.Helper()
		taken := held.begin()
		beginRollout(t, c, env, releases[env], env, &waftv1.Wave{Percent: 100})
		wait(t, "its release is delivered", time.Minute, func() bool {
			return !slices.ContainsFunc(byEnv[env], func(n *follower) bool { return n.has(releases[env]).IsZero() })
		})
		took := taken()
		t.Logf("%s: a release was delivered after %v", env, took)
		if took.counted() > mostWithout {
			t.Errorf("%s: nothing was delivered for %v, and %v is the most", env, took, mostWithout)
		}
		ended(t, c, env)
	}

	checks := map[*served]func() bool{}
	for _, s := range replicas {
		checks[s] = watchHealth(t, s.grpc)
	}
	for _, s := range replicas { // who has heard nothing yet has not heard that one does not serve
		wait(t, "who watches a replica's health hears that it serves", time.Minute, checks[s])
	}
	first := leader(t, replicas)
	// The others do not reach the one that leads, and etcd hears of all of them: their clients go to it.
	peers[first].cut.Store(true)
	deliver("link")
	for _, s := range replicas {
		if ready := s.readiness() == http.StatusOK; ready != (s == first) {
			t.Errorf("while only the one that leads can serve, is one ready that leads: %v; it is ready: %v", s == first, ready)
		}
		wait(t, "who watches a replica's health hears the same", time.Minute, func() bool { return checks[s]() == (s == first) })
	}
	peers[first].cut.Store(false)
	for _, s := range replicas {
		wait(t, "every replica serves again", time.Minute, func() bool { return s.readiness() == http.StatusOK && checks[s]() })
	}

	for _, w := range wires[first] {
		w.cut.Store(true)
	}
	deliver("replica")
	// Its lease has ended where it counts, in etcd, and by its own clock it does soon; what it wrote meanwhile is fenced off.
	wait(t, "the one that is cut off says that it does not lead", time.Minute, func() bool { return !first.leads() })
	wait(t, "the one that is cut off says that it is not ready", time.Minute, func() bool { return first.readiness() == http.StatusServiceUnavailable && !checks[first]() })

	leads, ids := raftLeader(t, endpoints)
	heal := part(etcd, (leads+1)%3, ids[(leads+1)%3])
	deliver("member")
	heal()
	leads, _ = raftLeader(t, endpoints)
	heal = part(etcd, leads, ids[leads])
	deliver("raft")
	raftLeader(t, slices.Delete(slices.Clone(endpoints), leads, leads+1)) // one of those that are left
	heal()
	for _, w := range wires[first] {
		w.cut.Store(false)
	}
	wait(t, "the one that was cut off is there again", time.Minute, func() bool { return first.readiness() == http.StatusOK })
	deliver("healed")
	// Those that know one replica only come again when they do: by then they have failed to often enough to make long pauses.
	beginRollout(t, c, "pinned", releases["pinned"], "pinned", &waftv1.Wave{Percent: 100})
	ended(t, c, "pinned")
	for env, of := range byEnv {
		for _, n := range of {
			if back := n.wentBack(); len(back) > 0 || n.has(releases[env]).IsZero() {
				t.Errorf("node %s: %v, given its release: %v", n.id, back, !n.has(releases[env]).IsZero())
			}
		}
	}
}
