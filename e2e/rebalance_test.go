package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// connections are those that a replica has, by its metrics; -1 where it does not say.
func (s *served) connections() int {
	resp, err := http.Get("http://" + s.http + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return -1
	}
	found := regexp.MustCompile(`(?m)^waft_connections (\d+)$`).FindSubmatch(text)
	if found == nil {
		return -1
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return -1
	}
	return n
}

// A replica that is stopped hands its nodes over without one of them missing what is delivered meanwhile, and one that comes back has its part of them again after
// a while, a few at a time.
func TestReplicasRebalance(t *testing.T) {
	const nodes, age = 9, "3s"
	_, endpoints := startMembers(t)
	var replicas []*served
	for i := range 3 {
		replicas = append(replicas, startReplica(t, endpoints, fmt.Sprint("r", i+1), "--connection-age", age))
	}
	leads := leader(t, replicas)
	wait(t, "all replicas serve", time.Minute, func() bool {
		return replicas[0].readiness() == http.StatusOK && replicas[1].readiness() == http.StatusOK && replicas[2].readiness() == http.StatusOK
	})
	at := balance(t, replicas[0].grpc, replicas[1].grpc, replicas[2].grpc)
	var all []*follower
	for i := range nodes {
		all = append(all, startFollower(t, at, fmt.Sprint("n", i+1), "x"))
	}
	client, err := api.Dial(api.ClientConfig{Address: at, Insecure: true, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deliver := func(name string) {
		t.Helper()
		reference := leads.http + "/filters/" + name + ":1"
		pushModule(t, reference, name)
		release := newRelease(t, client, name, replicasName+"/filters/"+name+":1")
		beginRollout(t, client, name, release, "x", &waftv1.Wave{Percent: 100})
		took := wait(t, name+" is delivered to all", time.Minute, func() bool {
			for _, n := range all {
				if n.has(release).IsZero() {
					return false
				}
			}
			return true
		})
		ended(t, client, name)
		t.Logf("%s was delivered in %v", name, took)
	}
	deliver("first")

	stopped := 0
	for replicas[stopped] == leads {
		stopped++
	}
	gone := replicas[stopped]
	if err := gone.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	deliver("while-it-stops")
	_, _ = gone.process.Process.Wait()
	deliver("while-it-is-away")

	back := startServe(t, gone.data, "back", "--etcd", endpoints[0]+","+endpoints[1]+","+endpoints[2], "--peer", "127.0.0.1:0",
		"--grpc", gone.grpc, "--http", gone.http, "--connection-age", age)
	took := wait(t, "the one that is back has connections of nodes again", time.Minute, func() bool { return back.connections() >= nodes/2 })
	t.Logf("after %v it has %d connections; the others %d and %d", took, back.connections(), replicas[(stopped+1)%3].connections(), replicas[(stopped+2)%3].connections())
	deliver("when-it-is-back")
	for _, n := range all {
		if back := n.wentBack(); len(back) > 0 {
			t.Errorf("%s was given older generations: %v", n.id, back)
		}
	}
}
