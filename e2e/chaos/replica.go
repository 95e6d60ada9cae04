package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/loopback"
)

// scheduleReplicas is how many distributors there are over an etcd of its own: one leads, and the other one takes over.
const scheduleReplicas = 2

// replica is one distributor, with all that is its own.
type replica struct {
	unit       *unit
	grpc, http string
	// data is its folder, on disk; clock is what it reads.
	data  string
	disk  *disk
	clock *clock
}

// startReplica starts a distributor over the etcd at these endpoints, or with one in its process where there are none.
func (m *machines) startReplica(ctx context.Context, name string, endpoints []string) error {
	d := &replica{data: filepath.Join(m.dir, name), clock: newClock(m.dir, name, m.programs.Fixed)}
	m.replicas = append(m.replicas, d)
	var err error
	if d.grpc, d.http, err = fleet.FreePorts(); err != nil {
		return err
	}
	d.disk = ownDisk(ctx, m.dir, name, distributorDisk, d.data)
	serve := []string{m.programs.Waft, "serve", "--insecure", "--data", d.data, "--grpc", d.grpc, "--http", d.http, "--plain-http", m.registryAt}
	if len(endpoints) > 0 {
		peer, err := loopback.Free()
		if err != nil {
			return err
		}
		serve = append(serve, "--etcd", strings.Join(endpoints, ","), "--peer", peer, "--replica", name)
	}
	d.unit = startUnit(m.dir, name, d.disk.on(d.clock.on(serve...)...)...)
	return nil
}

// leader is the distributor that leads. Where none says so in time it is the first one.
func (m *machines) leader(ctx context.Context) *replica {
	if len(m.replicas) == 1 {
		return m.replicas[0]
	}
	const patience = 5 * time.Second
	for deadline := time.Now().Add(patience); ctx.Err() == nil && time.Now().Before(deadline); pause(ctx, restartPause) {
		for _, d := range m.replicas {
			if d.leads(ctx) {
				return d
			}
		}
	}
	return m.replicas[0]
}

// leads says whether a distributor says of itself that it leads.
func (d *replica) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.http+"/metrics", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxMetrics))
	return err == nil && strings.Contains(string(text), "\nwaft_leader 1\n")
}

// maxMetrics bounds what is read of a distributor's metrics, in bytes.
const maxMetrics = 8 << 20

// jump sets the clocks of all distributors, as those of machines that go by the same time.
func (m *machines) jump(ctx context.Context, by time.Duration) (ahead time.Duration, err error) {
	for _, d := range m.replicas {
		if ahead, err = d.clock.jump(ctx, by); err != nil {
			return ahead, err
		}
	}
	return ahead, nil
}

// addresses are where the distributors serve.
func (m *machines) addresses() (grpc, http []string) {
	for _, d := range m.replicas {
		grpc, http = append(grpc, d.grpc), append(http, d.http)
	}
	return grpc, http
}

// replicaName is that of a distributor, by its number from 0; alone it needs none.
func replicaName(i, of int) string {
	if of == 1 {
		return "distributor"
	}
	return fmt.Sprintf("distributor-%d", i+1)
}
