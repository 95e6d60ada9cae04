package e2e

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

// An Envoy whose own listener holds the slot is given a cluster and a second listener by releases, and filters, which its own listener runs.
func TestEnvoyWithASlotAndListenersFromReleases(t *testing.T) {
	onlyInFull(t)
	f := startFleet(t, 0)
	publish(t, f, "./e2e/filters/stamp")
	b := newBare(t, f, "both", f.Upstream(), "--delta")
	b.edit(t, func(bootstrap map[string]any) {
		ads := map[string]any{"ads": map[string]any{}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
		dynamic := bootstrap["dynamic_resources"].(map[string]any)
		dynamic["lds_config"], dynamic["cds_config"] = ads, ads
		node := bootstrap["node"].(map[string]any)
		said, ok := node["metadata"].(map[string]any)
		if !ok {
			said = map[string]any{}
			node["metadata"] = said
		}
		said["collections"], said["slot"] = []string{"envoy/clusters", "envoy/listeners"}, true
	})
	b.start(t)
	awaitNode(t, f, "both", "to connect", func(n bareNode) bool { return n.Presence == "connected" })
	extra, _, err := fleet.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(extra)
	if err != nil {
		t.Fatal(err)
	}
	release := func(name, stamp, answer string) string {
		t.Helper()
		text := fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: %s}
spec:
  filters:
  - {name: stamp, module: %q, config: {value: %q}}
  resources:
  - collection: envoy/clusters
    name: more
    spec:
      "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
      type: STATIC
      connectTimeout: 2s
      loadAssignment: {clusterName: more, endpoints: [{lbEndpoints: [{endpoint: {address: {socketAddress: {address: 127.0.0.1, portValue: %s}}}}]}]}
  - collection: envoy/listeners
    name: more
    spec:
      "@type": type.googleapis.com/envoy.config.listener.v3.Listener
      address: {socketAddress: {address: 127.0.0.1, portValue: %s}}
      filterChains:
      - filters:
        - name: envoy.filters.network.http_connection_manager
          typedConfig:
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
            statPrefix: more
            routeConfig: {virtualHosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: more}}]}]}
            httpFilters:
            - name: envoy.filters.http.router
              typedConfig: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`, name, moduleRef(f, "stamp"), stamp, answer, port)
		var created struct{ Status struct{ Hash string } }
		if err := f.JSON(t.Context(), &created, "release", "create", "-f", write(t, f, name+".yaml", text), "--reason", "test"); err != nil {
			t.Fatal(err)
		}
		return name + "@" + created.Status.Hash
	}
	loaded := func(n bareNode) bool { return n.Ledger.State == "LOADED" && n.Serving == n.Chain && n.Chain != "" }
	for i, stamp := range []string{"1", "2"} {
		from := fmt.Sprint("origin-", stamp)
		rollOut(t, f, fmt.Sprint("rollout-", i), release(fmt.Sprint("release-", i), stamp, origin(t, from)), `[{percent: 100}]`)
		awaitNode(t, f, "both", "to have loaded all of it", loaded)
		awaitStamp(t, b.Node, stamp)
		err := fleet.WaitFor(t.Context(), "the listener of the release to answer", adsLimit, func(ctx context.Context) error {
			if a, err := fleet.Ask(ctx, extra, cameFrom(from)); err != nil || a.Header.Get("X-Stamp") != "" {
				return fleet.NotYetf("%+v, %v", a, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
