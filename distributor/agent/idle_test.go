package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// A request that Envoy ends since nothing moves is stuck, though it has an answer: Envoy says so under the name that health is read from, and counts it among those that have begun.
func TestIdleTimeoutsOfEnvoyAreStuck(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections, and nobody ever answers on them
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	envoytest.EachVersion(t, func(t *testing.T, number envoy.Number) {
		process, admin := envoytest.Start(t, envoytest.Binary(t, number), envoy.BootstrapConfig{
			NodeID: "n1", Cluster: "c", Number: number, Default: []envoy.WasmFilter{}, Inline: true, Upstream: silent.Addr().String(), StreamIdleTimeout: 200 * time.Millisecond,
		})
		if err := process.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		listeners, err := admin.Listeners(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := envoytest.Get(t.Context(), listeners[envoy.DefaultStatPrefix], "/")
		if err != nil || answer.StatusCode != http.StatusRequestTimeout && answer.StatusCode != http.StatusGatewayTimeout {
			t.Fatalf("%v, %v", answer, err)
		}
		envoytest.Eventually(t, "the request is counted", func(ctx context.Context) error {
			stats, err := admin.Stats(ctx, statsOfAllThat(envoy.DefaultStatPrefix))
			if err != nil {
				return err
			}
			o := observe(stats, envoy.DefaultStatPrefix)
			o.at, o.epoch = time.Now(), 1
			if stuck := new(patience).stuck(o, true); stuck != 1 || o.requests != 1 || o.health.begun != 1 {
				return fmt.Errorf("%d requests are stuck, of %d that have begun and %d that are completed", stuck, o.health.begun, o.requests)
			}
			return nil
		})
	})
}
