package conformance

import (
	"bytes"
	"compress/zlib"
	"io"
	"time"
)

// stateCases are about what outlives a callback: shared data, queues, metrics, properties, time.
func stateCases() []testCase {
	once := func(name string, s ...statement) testCase {
		return testCase{name: name, guest: with(on("on_request_headers", s...)), steps: []step{get("x-a", "1"), answer("x-b", "2")}}
	}
	cases := []testCase{
		once("shared data/all",
			call("get_shared_data", "key", bytesOut, casOut),
			call("set_shared_data", "key", "value", 0),
			call("get_shared_data", "key", bytesOut, keptCAS),
			call("set_shared_data", "key", "wrong", 999),
			call("set_shared_data", "key", "right", variable("cas")),
			call("set_shared_data", "key", "stale", variable("cas")),
			call("get_shared_data", "key", bytesOut, casOut),
			call("set_shared_data", "key", "", 0),
			call("get_shared_data", "key", bytesOut, casOut),
			call("set_shared_data", "fresh", "x", 7),
			call("get_shared_data", "fresh", bytesOut, casOut),
			call("set_shared_data", "", "nameless", 0),
			call("get_shared_data", "", bytesOut, casOut),
			call("set_shared_data", "\xff\x00", "\x00\xff", 0),
			call("get_shared_data", "\xff\x00", bytesOut, casOut),
			call("get_shared_data", bad{}, bytesOut, casOut),
			call("get_shared_data", "key", badOut{}, badOut{}, casOut),
			call("get_shared_data", "fresh", badOut{}, badOut{}, casOut),
			call("get_shared_data", "fresh", bytesOut, badOut{}),
			call("set_shared_data", bad{}, "x", 0),
			call("set_shared_data", "key", bad{}, 0),
		),
		once("queues/all",
			call("resolve_shared_queue", "", "q", numberOut),
			call("register_shared_queue", "q", queueOut("q")),
			call("register_shared_queue", "q", queueOut("again")),
			when(variable("again"), variable("q"), say("the same token")),
			call("register_shared_queue", "", queueOut("nameless")),
			call("resolve_shared_queue", "", "q", queueOut("found")),
			when(variable("found"), variable("q"), say("the same token")),
			call("resolve_shared_queue", "no such vm", "q", numberOut),
			call("dequeue_shared_queue", variable("q"), bytesOut),
			call("dequeue_shared_queue", 0, bytesOut),
			call("dequeue_shared_queue", 99999, bytesOut),
			call("enqueue_shared_queue", variable("q"), "one"),
			call("enqueue_shared_queue", variable("q"), ""),
			call("enqueue_shared_queue", variable("q"), "\xff\x00"),
			call("enqueue_shared_queue", 99999, "x"),
			call("enqueue_shared_queue", 99999, bad{}),
			call("enqueue_shared_queue", variable("q"), bad{}),
			call("dequeue_shared_queue", variable("q"), bytesOut),
			call("dequeue_shared_queue", variable("q"), bytesOut),
			call("dequeue_shared_queue", variable("q"), bytesOut),
			call("dequeue_shared_queue", variable("q"), bytesOut),
			call("enqueue_shared_queue", variable("q"), "lost"),
			call("dequeue_shared_queue", variable("q"), badOut{}, badOut{}),
			call("dequeue_shared_queue", variable("q"), bytesOut),
			call("register_shared_queue", bad{}, numberOut),
			call("register_shared_queue", "other", badOut{}),
			call("resolve_shared_queue", bad{}, "q", numberOut),
			call("resolve_shared_queue", "", bad{}, numberOut),
			call("resolve_shared_queue", "", "q", badOut{}),
		),
		{name: "queues/ready", guest: with(
			on("on_request_headers",
				call("register_shared_queue", "q", queueOut("q")),
				call("enqueue_shared_queue", variable("q"), "one"),
				call("enqueue_shared_queue", variable("q"), "two")),
			on("on_queue_ready",
				when(param(1), variable("q"), say("the same token")),
				call("dequeue_shared_queue", param(1), bytesOut),
				call("dequeue_shared_queue", param(1), bytesOut)),
		), steps: []step{get(), answer()}},
		{name: "queues/no callback", guest: guest{callbacks: []callback{on("on_request_headers",
			call("register_shared_queue", "q", queueOut("q")), call("enqueue_shared_queue", variable("q"), "one"))}},
			steps: []step{get(), answer()}},
		{name: "queues/filled by the callback", guest: with(
			on("on_request_headers", call("register_shared_queue", "q", queueOut("q")), call("enqueue_shared_queue", variable("q"), "one")),
			on("on_queue_ready",
				call("dequeue_shared_queue", param(1), bytesOut),
				count("times"),
				when(variable("times"), 1, call("enqueue_shared_queue", variable("q"), "again"))),
		), steps: []step{get(), answer()}},

		once("metrics/counter",
			call("define_metric", 0, "$case_counter", into("id")),
			call("define_metric", 0, "$case_counter", into("same")),
			call("increment_metric", variable("id"), 2),
			call("increment_metric", variable("same"), 3),
			call("increment_metric", variable("id"), 0),
			call("increment_metric", variable("id"), -1),
			call("get_metric", variable("id"), number64),
			call("record_metric", variable("id"), 10),
			call("record_metric", variable("id"), 0),
			call("get_metric", variable("same"), number64),
			call("get_metric", variable("id"), badOut{}),
		),
		once("metrics/gauge",
			call("define_metric", 1, "$case_gauge", into("id")),
			call("increment_metric", variable("id"), 5),
			call("increment_metric", variable("id"), -2),
			call("increment_metric", variable("id"), 0),
			call("get_metric", variable("id"), number64),
			call("record_metric", variable("id"), 100),
			call("get_metric", variable("id"), number64),
			call("record_metric", variable("id"), 0),
			call("get_metric", variable("id"), number64),
		),
		once("metrics/gauge below zero",
			call("define_metric", 1, "$case_gauge", into("id")),
			call("increment_metric", variable("id"), -1),
			call("get_metric", variable("id"), number64),
		),
		once("metrics/histogram",
			call("define_metric", 2, "$case_histogram", into("id")),
			call("increment_metric", variable("id"), 1),
			call("record_metric", variable("id"), 7),
			call("get_metric", variable("id"), number64),
		),
		once("metrics/refused",
			call("define_metric", 3, "$case_x", numberOut),
			call("define_metric", -1, "$case_x", numberOut),
			call("define_metric", 0, bad{}, numberOut),
			call("define_metric", 0, "$case_bad_out", badOut{}),
			call("define_metric", 0, "$case_after", numberOut),
			call("increment_metric", 0, 1), call("increment_metric", 999, 1), call("increment_metric", 1000, 1), call("increment_metric", 1001, 1),
			call("increment_metric", 1002, 1), call("increment_metric", 3, 1),
			call("record_metric", 0, 1), call("record_metric", 999, 1), call("record_metric", 1001, 1), call("record_metric", 1002, 1), call("record_metric", 3, 1),
			call("get_metric", 0, number64), call("get_metric", 999, number64), call("get_metric", 1001, number64), call("get_metric", 1002, number64),
		),
		once("metrics/one name, three types",
			call("define_metric", 0, "$case_n", into("c")), call("define_metric", 1, "$case_n", into("g")), call("define_metric", 2, "$case_n", into("h")),
			call("define_metric", 0, "$case_m", into("c2")), call("define_metric", 1, "$case_m", into("g2")), call("define_metric", 2, "$case_m", into("h2")),
			call("increment_metric", variable("c"), 1), call("get_metric", variable("g"), number64), call("get_metric", variable("c"), number64),
		),
		{name: "metrics/outlive the request", guest: with(
			on("on_configure", call("define_metric", 0, "$case_r", into("id"))),
			on("on_request_headers", call("increment_metric", variable("id"), 1), call("get_metric", variable("id"), number64)),
		), steps: []step{get(), answer(), get(), answer()}},

		once("time/now", call("get_current_time_nanoseconds", out{kind: 'l', mute: true}), call("get_current_time_nanoseconds", badOut{})),
		once("log/levels",
			call("log", 0, "trace"), call("log", 1, "debug"), call("log", 2, "$mark info"), call("log", 3, "$mark warning"), call("log", 4, "$mark error"),
			call("log", 5, "$mark critical"), call("log", 6, "none"), call("log", -1, "none"), call("log", 2, bad{}), call("log", 2, ""),
			call("log", 6, bad{}), call("get_log_level", numberOut), call("get_log_level", badOut{}),
		),
		{name: "log/on every context", guest: guest{callbacks: []callback{
			on("_initialize"), on("on_context_create"), on("on_vm_start"), on("on_configure"), on("on_log"), on("on_done"), on("on_delete"),
		}}, steps: []step{get(), answer()}},
		once("context/effective",
			call("set_effective_context", 1), call("get_header_map_value", requestHeaders, "x-a", bytesOut), call("done"),
			call("set_effective_context", 2), call("get_header_map_value", requestHeaders, "x-a", bytesOut),
			call("set_effective_context", 3), call("set_effective_context", -1), call("set_effective_context", 0),
			call("get_header_map_value", requestHeaders, "x-a", bytesOut),
		),
		{name: "context/effective ends with the callback", guest: with(
			on("on_request_headers", call("set_effective_context", 1)),
			on("on_response_headers", call("get_header_map_value", responseHeaders, "x-b", bytesOut)),
		), steps: []step{get(), answer("x-b", "2")}},
		{name: "context/effective is another stream", guest: with(
			on("on_request_headers", when(variable("first"), 0, assign("first", param(0)), giveBack(pause)),
				call("set_effective_context", variable("first")),
				call("get_header_map_value", requestHeaders, "x-a", bytesOut)),
		), steps: []step{get("x-a", "1"), cancel(), get("x-a", "2"), answer()}},

		{name: "plugins/two in one VM", config: "first", second: "second", guest: with(
			on("on_configure", call("get_buffer_bytes", pluginConfiguration, 0, 100, bytesOut), call("get_property", "plugin_root_id", out{kind: 'b', mute: true})),
		), steps: []step{get(), answer(), toSecond(), get(), answer()}},
		{name: "plugins/a callout of each", config: "first", second: "second", guest: quiet(
			on("on_request_headers", call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-a"}, "", "", 9000, numberOut)),
			on("on_http_call_response", call("get_header_map_value", calloutHeaders, "x-p", bytesOut)),
		), steps: []step{get(), peer("a", []string{"x-p", "1"}, "", nil), answer(), toSecond(), get(), answer()}},
		{name: "plugins/one in the other's context", config: "first", second: "second", guest: with(
			on("on_configure", when(param(0), 2, call("set_effective_context", 1), call("get_buffer_bytes", pluginConfiguration, 0, 100, bytesOut))),
			on("on_request_headers",
				call("set_effective_context", 1), call("set_tick_period_milliseconds", 300)),
			on("on_tick", call("set_tick_period_milliseconds", 0)),
		), steps: []step{toSecond(), get(), answer(), wait(tickWait)}},
		{name: "plugins/a queue between them", config: "first", second: "second", guest: with(
			on("on_request_headers",
				when(variable("q"), 0, call("register_shared_queue", "q", queueOut("q")), giveBack(0)),
				call("enqueue_shared_queue", variable("q"), "from the second")),
			on("on_queue_ready", call("dequeue_shared_queue", param(1), bytesOut)),
		), steps: []step{get(), answer(), toSecond(), get(), answer()}},

		{name: "VMs/share data", config: "first", second: "second", apart: true, guest: with(on("on_request_headers",
			call("get_shared_data", "key", bytesOut, keptCAS),
			call("set_shared_data", "key", "old", 1000),
			call("set_shared_data", "key", "new", variable("cas")),
			call("get_shared_data", "key", bytesOut, casOut),
		)), steps: []step{get(), answer(), toSecond(), get(), answer()}},
		{name: "VMs/share queues", config: "first", second: "second", apart: true, guest: with(
			on("on_configure", call("get_buffer_bytes", pluginConfiguration, 0, 100, bytesOut)),
			on("on_request_headers",
				call("resolve_shared_queue", "", "q", queueOut("q")),
				when(variable("q"), 0, call("register_shared_queue", "q", queueOut("q")), giveBack(0)),
				call("enqueue_shared_queue", variable("q"), "across"),
			),
			on("on_queue_ready", call("dequeue_shared_queue", param(1), bytesOut)),
		), steps: []step{get(), answer(), toSecond(), get(), answer()}},
		{name: "VMs/the last to register a queue hears of it", config: "first", second: "second", apart: true, guest: with(
			on("on_request_headers",
				call("register_shared_queue", "q", queueOut("q")),
				call("enqueue_shared_queue", variable("q"), "item")),
			on("on_queue_ready", call("dequeue_shared_queue", param(1), bytesOut)),
		), steps: []step{get(), answer(), toSecond(), get(), answer()}},
		{name: "VMs/share metrics", config: "first", second: "second", apart: true, guest: with(on("on_request_headers",
			call("define_metric", 0, "$case_shared", into("id")), call("increment_metric", variable("id"), 1), call("get_metric", variable("id"), number64),
		)), steps: []step{get(), answer(), toSecond(), get(), answer()}},
		{name: "VMs/one crashes", config: "first", second: "second", apart: true, guest: with(on("on_request_headers",
			call("get_shared_data", "crashed", bytesOut, casOut),
			when(lastStatus{}, statusOK, giveBack(0)), // not the first
			call("set_shared_data", "crashed", "yes", 0),
			trap,
		)), steps: []step{get(), toSecond(), get(), answer()}},

		{name: "tick/three times", guest: with(
			on("on_request_headers", call("set_tick_period_milliseconds", 300)),
			on("on_tick", count("ticks"), when(variable("ticks"), 3, call("set_tick_period_milliseconds", 0))),
		), steps: []step{get(), wait(950 * time.Millisecond), wait(350 * time.Millisecond), answer()}},
		{name: "tick/changed and stopped", guest: with(
			on("on_request_headers",
				call("set_tick_period_milliseconds", 5000),
				call("set_tick_period_milliseconds", 300)),
			on("on_response_headers", call("set_tick_period_milliseconds", 0)),
		), steps: []step{get(), wait(450 * time.Millisecond), answer(), wait(350 * time.Millisecond)}},
		{name: "tick/no callback", guest: guest{callbacks: []callback{on("on_request_headers", call("set_tick_period_milliseconds", 10))}},
			steps: []step{get(), wait(50 * time.Millisecond), answer()}},
	}
	return append(cases, propertyCases()...)
}

// propertyCases are about properties and foreign functions.
func propertyCases() []testCase {
	var cases []testCase
	paths := []string{
		"", "nothing", "plugin_name", "plugin_root_id", "plugin_vm_id", "plugin_name\x00more", "node", "node\x00id", "node\x00cluster", "cluster_name", "route_name",
		"listener_direction", "listener_metadata", "cluster_metadata", "route_metadata", "upstream_host_metadata",
		"request", "request\x00path", "request\x00url_path", "request\x00host", "request\x00scheme", "request\x00method", "request\x00headers",
		"request\x00headers\x00x-a", "request\x00headers\x00x-absent", "request\x00referer", "request\x00useragent", "request\x00id",
		"request\x00protocol", "request\x00query", "request\x00size", "request\x00total_size", "request\x00nothing",
		"response", "response\x00code", "response\x00code_details", "response\x00flags", "response\x00grpc_status", "response\x00headers\x00x-b",
		"response\x00trailers", "response\x00size", "response\x00total_size", "response\x00backend_latency",
		"connection\x00mtls", "connection\x00requested_server_name", "connection\x00tls_version", "connection\x00termination_details",
		"connection\x00subject_local_certificate", "connection\x00transport_failure_reason",
		"source\x00address", "source\x00port_missing", "destination\x00address_missing",
		"upstream\x00address", "upstream\x00transport_failure_reason", "upstream\x00tls_version", "upstream\x00local_address", "upstream\x00request_attempt_count",
		"xds\x00cluster_name", "xds\x00route_name", "xds\x00virtual_host_name", "xds\x00listener_direction", "xds\x00cluster_metadata",
		"xds\x00listener_metadata", "xds\x00route_metadata", "xds\x00upstream_host_metadata", "xds\x00filter_chain_name", "xds\x00node\x00id",
		"metadata", "filter_state", "filter_state\x00nothing", "upstream_filter_state", "wasm.nothing", "request.path", "\xff",
	}
	var reads []statement
	for _, p := range paths {
		result := bytesOut
		switch p {
		case "request\x00headers":
			result = sortedOut
		case "response\x00backend_latency", "response\x00total_size": // a duration; with headers that the connection manager adds
			result = mutedBytes
		}
		reads = append(reads, call("get_property", p, result))
	}
	for _, name := range []string{"on_configure", "on_request_headers", "on_response_headers", "on_log"} {
		steps := []step{get("x-a", "1", "referer", "r", "user-agent", "u", ":path", "/p?q=1"), answer("x-b", "2")}
		cases = append(cases, testCase{name: "properties/read in " + name, guest: quiet(on(name, reads...)), steps: steps})
	}
	cases = append(cases,
		testCase{name: "properties/set and read", guest: quiet(
			on("on_request_headers",
				call("set_property", "mine", "value"),
				call("get_property", "mine", bytesOut),
				call("set_property", "mine", "again"),
				call("get_property", "mine", bytesOut),
				call("get_property", "wasm.mine", bytesOut),
				call("get_property", "filter_state\x00wasm.mine", bytesOut),
				call("set_property", "a\x00b", "nested"),
				call("get_property", "a\x00b", bytesOut),
				call("set_property", "", "nameless"),
				call("get_property", "", bytesOut),
				call("set_property", "empty", ""),
				call("get_property", "empty", bytesOut),
				call("set_property", "request\x00path", "shadow"),
				call("get_property", "request\x00path", bytesOut),
				call("set_property", "bytes\xff", "\x00\xff"),
				call("get_property", "bytes\xff", bytesOut),
				call("set_property", bad{}, "v"),
				call("set_property", "k", bad{}),
				call("get_property", bad{}, bytesOut),
				call("get_property", "mine", badOut{}, badOut{}),
				call("get_property", "empty", badOut{}, badOut{})),
			on("on_response_headers", call("get_property", "mine", bytesOut)),
			on("on_log", call("get_property", "mine", bytesOut), call("set_property", "mine", "late"), call("get_property", "mine", bytesOut)),
			on("on_delete", call("get_property", "mine", bytesOut)),
		), steps: []step{get(), answer()}},
		testCase{name: "properties/set on the plugin's context", guest: quiet(on("on_configure",
			call("set_property", "mine", "value"), call("get_property", "mine", bytesOut))), steps: []step{get(), answer()}},
		testCase{name: "properties/of a local reply", guest: quiet(
			on("on_request_headers", call("send_local_response", 403, "my_details", "no", "", -1)),
			on("on_log",
				call("get_property", "response\x00code", bytesOut), call("get_property", "response\x00code_details", bytesOut),
				call("get_property", "response\x00flags", bytesOut), call("get_property", "response\x00size", bytesOut)),
		), steps: []step{get()}},
		testCase{name: "properties/sizes", guest: quiet(on("on_log",
			call("get_property", "request\x00size", bytesOut), call("get_property", "response\x00size", bytesOut))),
			steps: []step{post(), lastBody("12345"), begin(), lastUpBody("123")}},
		testCase{name: "foreign/unknown", guest: with(on("on_request_headers",
			call("call_foreign_function", "no such function", "args", bytesOut),
			call("call_foreign_function", "", "", bytesOut),
			call("call_foreign_function", bad{}, "", bytesOut),
			call("call_foreign_function", "no such function", bad{}, bytesOut),
			call("call_foreign_function", "envoy_resolve_dns", "localhost", bytesOut),
		)), steps: []step{get(), answer()}},
		testCase{name: "foreign/clear_route_cache", guest: with(on("on_request_headers",
			call("call_foreign_function", "clear_route_cache", "", bytesOut),
			call("call_foreign_function", "clear_route_cache", "arguments", 0, 0),
		)), steps: []step{get(), answer()}},
		testCase{name: "foreign/clear_route_cache on the plugin's context", guest: with(on("on_configure",
			call("call_foreign_function", "clear_route_cache", "", bytesOut))), steps: []step{get(), answer()}},
		testCase{name: "foreign/compress", guest: quiet(on("on_request_headers",
			call("call_foreign_function", "compress", "hello hello hello", mutedBytes),
			call("call_foreign_function", "compress", "", mutedBytes),
			call("call_foreign_function", "compress", "no result wanted", 0, 0),
			call("call_foreign_function", "compress", "hello", badOut{}, badOut{}),
		)), steps: []step{get(), answer()}},
		testCase{name: "foreign/uncompress", guest: quiet(on("on_request_headers",
			call("call_foreign_function", "uncompress", compressed("hello"), bytesOut),
			call("call_foreign_function", "uncompress", compressed(""), bytesOut),
			call("call_foreign_function", "uncompress", compressed("hello"), 0, 0),
			call("call_foreign_function", "uncompress", "no zlib", bytesOut),
			call("call_foreign_function", "uncompress", "", bytesOut),
			call("call_foreign_function", "uncompress", compressed("hello")[:8], bytesOut),
		)), steps: []step{get(), answer()}},
	)
	var others []statement
	for _, name := range []string{"expr_create", "expr_evaluate", "expr_delete", "declare_property", "set_envoy_filter_state"} {
		others = append(others, call("call_foreign_function", name, "\xff\xff\xff", bytesOut))
	}
	cases = append(cases, testCase{name: "foreign/those that need Envoy", guest: quiet(on("on_request_headers", others...)), steps: []step{get(), answer()}})
	return cases
}

// compressed is a text in zlib's form.
func compressed(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, text) // into memory: never fails
	_ = w.Close()
	return b.String()
}
