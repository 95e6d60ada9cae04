package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waft-project/waft/demo/fleet"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
)

// A module that comes with its release, out of no registry, is served by a real Envoy beside an agent, which fetches it by its digest; and a sink that fetches
// nothing is sent its bytes, with the digest that the release has.
func TestInlineModule(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 1)
	out := buildFilter(t, f, "./e2e/filters/stamp", "1.0.0")
	document := write(t, f, "inline.yaml", `apiVersion: waft.dev/v1
kind: Release
metadata: {name: inline}
spec:
  filters:
  - {name: stamp, config: {value: inline}}
`)
	var created struct {
		Status struct {
			Hash    string
			Modules []struct {
				Inline bool
				Module struct{ Digest, Reference string }
			}
		}
	}
	if err := f.JSON(t.Context(), &created, "release", "create", "-f", document, "--inline", "stamp="+filepath.Join(out, "stamp.wasm")); err != nil {
		t.Fatal(err)
	}
	if len(created.Status.Modules) != 1 || !created.Status.Modules[0].Inline {
		t.Fatalf("it is %+v", created.Status)
	}
	digest := created.Status.Modules[0].Module.Digest

	conn, err := grpc.NewClient(f.GRPC(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var mu sync.Mutex
	var got *waftv1.Filter
	sink, err := mcp.NewSink(mcp.SinkConfig{Conn: conn, Node: "plain", Labels: map[string]string{"env": "test"}, Collections: []string{model.CollectionFilters},
		Apply: func(_ context.Context, u mcp.Update) error {
			for _, r := range u.Resources {
				filter := &waftv1.Filter{}
				if err := mcp.Body(r, filter); err != nil {
					return err
				}
				mu.Lock()
				got = filter
				mu.Unlock()
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = sink.Run(ctx) }()
	defer func() { cancel(); <-done }()

	rollout := write(t, f, "rollout.yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: inline}
spec:
  release: inline@%s
  target: {selector: env=test, includeUnreported: true}
  waves: [{percent: 100}]
`, created.Status.Hash))
	mustRun(t, f, append([]string{"rollout", "start", "-f", rollout, "--reason", "test", "--follow"}, f.Server()...)...)
	awaitStamp(t, f.Nodes()[0], "inline")
	if err := fleet.WaitFor(t.Context(), "the plain sink has the module", rolloutLimit, func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if got == nil {
			return fleet.NotYetf("it has no filter")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if have := fmt.Sprintf("sha256:%x", sha256.Sum256(got.GetInline())); have != digest || got.GetModule().GetDigest() != digest {
		t.Errorf("the sink has %d bytes with %s; the release has %s", len(got.GetInline()), have, digest)
	}
}
