package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// object is a JSON object of Envoy's configuration.
type object map[string]any

const typePrefix = "type.googleapis.com/"

func typed(name string, o object) object {
	o["@type"] = typePrefix + name
	return o
}

// Names of clusters.
const (
	clusterPeer = "peer" // the HTTP/2 server of the suite
	clusterDead = "dead" // refuses every connection
)

// node is the node's identity, which properties show.
const (
	nodeID      = "conformance-node"
	nodeCluster = "conformance-cluster"
)

// bootstrap is Envoy's static configuration: listeners come from a file, so that one that is refused does not stop Envoy.
func bootstrap(listeners string, peer, dead net.Addr, tcp map[string]net.Addr) ([]byte, error) {
	clusters := []object{cluster(clusterPeer, peer, true), cluster(clusterDead, dead, true)}
	for name, addr := range tcp {
		clusters = append(clusters, cluster(name, addr, false))
	}
	return json.Marshal(object{
		"node":  object{"id": nodeID, "cluster": nodeCluster},
		"admin": object{"address": socket("127.0.0.1", 0)},
		"dynamic_resources": object{"lds_config": object{
			"resource_api_version": "V3",
			"path_config_source":   object{"path": listeners},
		}},
		"static_resources": object{"clusters": clusters},
	})
}

func socket(host string, port int) object {
	return object{"socket_address": object{"address": host, "port_value": port}}
}

func cluster(name string, addr net.Addr, http2 bool) object {
	host, port, _ := net.SplitHostPort(addr.String())
	n, _ := strconv.Atoi(port)
	c := object{
		"name": name, "type": "STATIC", "connect_timeout": "2s",
		"load_assignment": object{"cluster_name": name, "endpoints": []object{{
			"lb_endpoints": []object{{"endpoint": object{"address": socket(host, n)}}},
		}}},
	}
	if http2 {
		const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
		c["typed_extension_protocol_options"] = object{options: typed(options, object{
			"explicit_http_config": object{"http2_protocol_options": object{"allow_metadata": true}},
		})}
	}
	return c
}

// listenerName names the listener of one plugin of a case.
func listenerName(id, plugin int) string { return fmt.Sprintf("case-%d-%d", id, plugin) }

// tcpCluster names the upstream of a network filter.
func tcpCluster(id int) string { return "tcp-" + strconv.Itoa(id) }

// The names that a plugin has in both hosts.
func pluginName(id, plugin int) string { return fmt.Sprintf("plugin-%d-%d", id, plugin) }
func rootID(id, plugin int) string     { return fmt.Sprintf("root-%d-%d", id, plugin) }
func vmID(id int) string               { return "vm-" + strconv.Itoa(id) }

// listeners is the file of the listeners of some cases.
func listeners(version, dir string, cases map[int]testCase) ([]byte, error) {
	var resources []object
	for _, id := range slices.Sorted(maps.Keys(cases)) {
		c := cases[id]
		for plugin := range c.pluginCount() {
			resources = append(resources, typed("envoy.config.listener.v3.Listener", object{
				"name": listenerName(id, plugin), "address": socket("127.0.0.1", 0),
				"filter_chains": []object{{"filters": networkFilters(dir, id, plugin, c)}},
			}))
		}
	}
	return json.Marshal(object{"version_info": version, "resources": resources})
}

func networkFilters(dir string, id, n int, c testCase) []object {
	config := plugin(dir, id, n, c)
	if c.network {
		return []object{
			{"name": "wasm", "typed_config": typed("envoy.extensions.filters.network.wasm.v3.Wasm", object{"config": config})},
			{"name": "tcp", "typed_config": typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", object{
				"stat_prefix": "tcp", "cluster": tcpCluster(id),
			})},
		}
	}
	return []object{{"name": "http", "typed_config": typed(
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", object{
			"stat_prefix": "http", "codec_type": "HTTP2", "stream_idle_timeout": "0s", "drain_timeout": "0.1s",
			"http2_protocol_options": object{"allow_metadata": true},
			"route_config": object{"name": "routes", "virtual_hosts": []object{{
				"name": "host", "domains": []string{"*"},
				"routes": []object{{"name": "route", "match": object{"prefix": "/"}, "route": object{"cluster": clusterPeer, "timeout": "0s"}}},
			}}},
			"http_filters": []object{
				{"name": "wasm", "typed_config": typed("envoy.extensions.filters.http.wasm.v3.Wasm", object{"config": config})},
				{"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", object{
					"suppress_envoy_headers": true, // one of them is a duration, which has one digit or more
				})},
			},
		})}}
}

// plugin is Envoy's PluginConfig of a case.
func plugin(dir string, id, n int, c testCase) object {
	vm := object{
		"vm_id": vmID(id), "runtime": "envoy.wasm.runtime.v8",
		"code": object{"local": object{"filename": modulePath(dir, id, n)}},
	}
	if c.vmConfig != "" {
		vm["configuration"] = text(c.vmConfig)
	}
	if env := c.environment(id); env != nil {
		vm["environment_variables"] = object{"key_values": env}
	}
	policy := c.policy
	if policy == "" {
		policy = policyClosed
	}
	p := object{"name": pluginName(id, n), "root_id": rootID(id, n), "vm_config": vm, "failure_policy": policy}
	if policy == policyReload {
		p["reload_config"] = object{"backoff": object{"base_interval": fmt.Sprintf("%.3fs", reloadBackoff.Seconds())}}
	}
	if config := c.pluginConfig(n); config != "" {
		p["configuration"] = text(config)
	}
	if c.stopOnPause {
		p["allow_on_headers_stop_iteration"] = true
	}
	if c.capabilities != nil {
		allowed := object{}
		for _, name := range c.capabilities {
			allowed[name] = object{}
		}
		p["capability_restriction_config"] = object{"allowed_capabilities": allowed}
	}
	return p
}

// modulePath is the file of a plugin's module. Modules stand in files of their own, because an older Envoy takes many seconds to read a
// configuration that holds megabytes.
func modulePath(dir string, id, plugin int) string {
	return filepath.Join(dir, fmt.Sprintf("module-%d-%d.wasm", id, plugin))
}

// writeModules writes the modules of some cases.
func writeModules(dir string, cases map[int]testCase) error {
	for id, c := range cases {
		for plugin := range c.pluginCount() {
			module, err := c.module(id, plugin)
			if err != nil {
				return err
			}
			if err := os.WriteFile(modulePath(dir, id, plugin), module, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

func text(s string) object {
	return typed("google.protobuf.StringValue", object{"value": s})
}
