package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// othersBootstrap has everything of its own: listener, route, cluster, statistics, filters around the slot, if it has one.
func othersBootstrap(t testing.TB, config Config, listen, upstream, accessLog, slots string) string {
	t.Helper()
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	path := filepath.Join(t.TempDir(), "others.yaml")
	text := fmt.Sprintf(`
node: {id: theirs, cluster: theirs}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}
static_resources:
  clusters:
  - name: shop
    load_assignment: {cluster_name: shop, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]}
  listeners:
  - name: ingress
    address: {socket_address: {address: 127.0.0.1, port_value: %s}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in.gress
%s
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: shop}}]}]
          http_filters:
          - name: envoy.filters.http.buffer
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 4096}
%s
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`, port(config.Admin), port(upstream), port(listen), accessLog, slots)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// slotEntry is an HTTP filter as docs/run-an-agent.md has it.
func slotEntry(config Config, slot, typeURL string) string {
	return fmt.Sprintf(`          - name: %s
            config_discovery:
              config_source: {path_config_source: {path: %s}, resource_api_version: V3, initial_fetch_timeout: 0s}
              type_urls: [type.googleapis.com/%s]
`, slot, filepath.Join(config.StateDir, slotsFolder, envoy.SlotFileName(slot)), typeURL)
}

// countDenied is an access log as docs/run-an-agent.md has it.
const countDenied = `          access_log:
          - name: envoy.access_loggers.stats
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config
              stats_scope: {prefix: waft}
              counters: [{stat: {name: requests}, value_fixed: 1}]
          - name: envoy.access_loggers.stats
            filter:
              or_filter:
                filters:
                - status_code_filter: {comparison: {op: EQ, value: {default_value: 401, runtime_key: unused}}}
                - status_code_filter: {comparison: {op: EQ, value: {default_value: 403, runtime_key: unused}}}
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config
              stats_scope: {prefix: waft}
              counters: [{stat: {name: denied}, value_fixed: 1}]`

// An Envoy whose listener, routes and clusters come from others: the first chain is there before Envoy starts, later ones are swapped, what is
// refused changes nothing, and its own statistics are read.
func TestOnlyTheSlotIsOursOnEveryEnvoy(t *testing.T) {
	t.Parallel()
	envoytest.EachVersion(t, func(t *testing.T, number envoy.Number) {
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("x-shop", "open") }))
		defer upstream.Close()
		s := newSource(t, "n1")
		config := configFor(t, s, number)
		listen := config.Listen
		config.Beside, config.SlotOnly, config.StatPrefix = true, true, "in.gress"
		config.EnvoyArgs, config.Listen, config.DirectResponse = nil, "", nil
		config.EnvoyLog = filepath.Join(t.TempDir(), "envoy.log")
		slots := slotEntry(config, envoy.SlotName, "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig")
		if !number.HasFilterChain() {
			config.Slots = []string{"one"}
			slots = slotEntry(config, envoy.FilterSlotName("one"), "envoy.extensions.filters.http.wasm.v3.Wasm")
		}
		start := func(bootstrap string) *envoy.Process {
			t.Helper()
			process, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: filepath.Dir(config.EnvoyLog), BootstrapPath: bootstrap, LogLevel: "warning"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = process.Kill() })
			if err := process.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			return process
		}
		agent := run(t, config)
		plain, other := s.module(guest), s.module(otherGuest)

		// Theirs, before they have put the slot in.
		process := start(othersBootstrap(t, config, listen, upstream.Listener.Addr().String(), "", ""))
		answers(t, listen, "x-shop", "open")
		first := s.give(filterOf("one", plain, "first"))
		envoytest.Eventually(t, "the agent says what is missing", func(context.Context) error {
			if r := s.lastStanding(); r.GetHash() != first || !strings.Contains(r.GetReason(), "has no slot named waft") {
				return fmt.Errorf("the last report is %v", r)
			}
			return nil
		})
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}

		// With it. Envoy can be started once the first chain is there.
		envoytest.Eventually(t, "the first chain is in the slot", func(context.Context) error {
			files, err := filepath.Glob(filepath.Join(config.StateDir, slotsFolder, "waft*.json"))
			for _, file := range files {
				if content, err := os.ReadFile(file); err == nil && strings.Contains(string(content), first) {
					return nil
				}
			}
			return errors.Join(err, fmt.Errorf("not in %q", files))
		})
		accessLog := ""
		if number.CountsDenied() {
			accessLog = countDenied
		}
		bootstrap := othersBootstrap(t, config, listen, upstream.Listener.Addr().String(), accessLog, slots)
		process = start(bootstrap)
		s.await(first, waftv1.ChainState_SERVING)
		answers(t, listen, "x-one", "first")
		answers(t, listen, "x-shop", "open")

		load := visit(t, listen)
		second := s.give(filterOf("one", other, "second"))
		s.await(second, waftv1.ChainState_SERVING)
		answers(t, listen, "x-one-flavour", "other")
		bad := s.give(filterOf("one", plain, "refuse"))
		s.awaitServing(bad, waftv1.ChainState_REJECTED, second)
		envoytest.Eventually(t, "its requests are counted", func(context.Context) error {
			if got := s.statistics(); got.GetHash() != second || got.GetRequests() < 10 || got.GetSeenByFilters() < 10 || got.GetDeniedKnown() != number.CountsDenied() {
				return fmt.Errorf("statistics %v", got)
			}
			return nil
		})
		load.stop()
		if load.failed.Load() > 0 || load.sent.Load() == 0 {
			t.Errorf("%d of %d requests failed, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
		}
		if _, err := os.Stat(filepath.Join(config.StateDir, envoyFolder, "bootstrap.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the agent wrote a bootstrap: %v", err)
		}

		took := s.statistics().GetHealth()

		// It comes back without anybody's help.
		agent.stop()
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}
		start(bootstrap)
		answers(t, listen, "x-one-flavour", "other")
		s.mu.Lock()
		s.reports = nil
		s.mu.Unlock()
		run(t, config)
		envoytest.Eventually(t, "the next agent finds what serves", func(context.Context) error {
			if r := s.lastStanding(); r.GetHash() != bad || r.GetServingHash() != second {
				return fmt.Errorf("the last report is %v", r)
			}
			return nil
		})
		envoytest.Eventually(t, "it knows what Envoy took before the chain", func(context.Context) error {
			got := s.statistics()
			if h := got.GetHealth(); got.GetHash() != second || h.GetMemoryBefore() == 0 || h.GetMemoryBefore() != took.GetMemoryBefore() || h.GetVmsBefore() != took.GetVmsBefore() {
				return fmt.Errorf("statistics %v; before it said %v", got, took)
			}
			return nil
		})
	})
}
