package main

import (
	"encoding/json"
	"net"
	"strconv"
)

// object is a JSON object of Envoy's configuration.
type object = map[string]any

// extension is a filter with its configuration.
func extension(name, typ string, config object) object {
	config["@type"] = "type.googleapis.com/" + typ
	return object{"name": name, "typed_config": config}
}

// bootstrap is the configuration of an Envoy that answers each request by itself, with three bytes. Under /seen it tells the
// request header that the filters add, for a look at whether they do.
//
// callout is the address of a server that filters can send requests to, as the cluster of that name; empty for none.
func bootstrap(port int, filters []any, callout string) ([]byte, error) {
	answer := object{"status": 200, "body": object{"inline_string": "ok\n"}}
	routes := []any{
		object{
			"match": object{"prefix": "/seen"}, "direct_response": answer,
			"response_headers_to_add": []any{object{"header": object{"key": "x-seen", "value": "%REQ(x-bench)%"}}},
		},
		object{"match": object{"prefix": "/"}, "direct_response": answer},
	}
	router := extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", object{})
	manager := extension("envoy.filters.network.http_connection_manager",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", object{
			"stat_prefix": "bench", "codec_type": "HTTP1",
			"route_config": object{"virtual_hosts": []any{object{"name": "bench", "domains": []any{"*"}, "routes": routes}}},
			"http_filters": append(append([]any{}, filters...), router),
		})
	clusters := []any{}
	if callout != "" {
		cluster, err := calloutCluster(callout)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, cluster)
	}
	return json.Marshal(object{
		// As in the bootstraps that waft makes: what compiling took is given back.
		"memory_allocator_manager": object{"bytes_to_release": 64 << 20, "memory_release_interval": "1s"},
		"admin":                    object{"address": socketAddress(0)},
		"static_resources": object{"clusters": clusters, "listeners": []any{object{
			"address": socketAddress(port), "filter_chains": []any{object{"filters": []any{manager}}},
		}}},
	})
}

// calloutCluster is a cluster of one server.
func calloutCluster(address string) (object, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	endpoint := object{"endpoint": object{"address": socketAddress(number)}}
	return object{
		"name": calloutName, "connect_timeout": "1s", "load_assignment": object{
			"cluster_name": calloutName, "endpoints": []any{object{"lb_endpoints": []any{endpoint}}},
		},
	}, nil
}

func socketAddress(port int) object {
	return object{"socket_address": object{"address": "127.0.0.1", "port_value": port}}
}

// headerMutation is Envoy's own filter that adds headers.
func headerMutation() object {
	add := []any{object{"append": object{"header": object{"key": "x-bench", "value": headerValue}}}}
	return extension("envoy.filters.http.header_mutation", "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation", object{
		"mutations": object{"request_mutations": add, "response_mutations": add},
	})
}

// luaHeaders is the same in Lua.
func luaHeaders() object {
	return extension("envoy.filters.http.lua", "envoy.extensions.filters.http.lua.v3.Lua", object{
		"default_source_code": object{"inline_string": `local value = "` + headerValue + `"
function envoy_on_request(h) h:headers():add("x-bench", value) end
function envoy_on_response(h) h:headers():add("x-bench", value) end`},
	})
}

// wasmFilter is a filter of a module.
func wasmFilter(name, path, config string) object {
	return extension("envoy.filters.http.wasm", "envoy.extensions.filters.http.wasm.v3.Wasm", object{
		"config": object{
			"name": name, "root_id": name,
			"configuration": object{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config},
			"vm_config":     object{"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": object{"local": object{"filename": path}}},
		},
	})
}
