package conformance

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// startCases are about loading, starting and configuring a module.
func startCases() []testCase {
	lived := []step{get("x-a", "1"), answer("x-b", "2")}
	exports := func(names ...string) []callback {
		var out []callback
		for _, n := range names {
			out = append(out, on(n))
		}
		return out
	}
	cases := []testCase{
		{name: "start/_initialize", guest: guest{callbacks: exports("_initialize", "on_context_create", "on_request_headers")}, steps: lived},
		{name: "start/_initialize and main", guest: guest{callbacks: exports("_initialize", "main", "on_vm_start")}, steps: lived},
		{name: "start/_initialize and __main_void", guest: guest{callbacks: exports("_initialize", "__main_void", "on_vm_start")}, steps: lived},
		{name: "start/_initialize and both mains", guest: guest{callbacks: exports("_initialize", "main", "__main_void", "on_vm_start")}, steps: lived},
		{name: "start/_initialize and _start", guest: guest{callbacks: exports("_initialize", "_start", "on_vm_start")}, steps: lived},
		{name: "start/_start", guest: guest{callbacks: exports("_start", "on_vm_start")}, steps: lived},
		{name: "start/_start and main", guest: guest{callbacks: exports("_start", "main", "on_vm_start")}, steps: lived},
		{name: "start/main alone", guest: guest{callbacks: exports("main", "on_vm_start")}, steps: lived},
		{name: "start/allocator under its other name", guest: guest{malloc: "proxy_on_memory_allocate", callbacks: []callback{
			on("on_request_headers", call("get_header_map_value", requestHeaders, "x-a", bytesOut)),
		}}, steps: lived},
		{name: "start/no allocator", guest: guest{malloc: "none"}},
		{name: "start/no marker", guest: guest{abi: "none"}},
		{name: "start/unknown marker", guest: guest{abi: "0_3_0"}},
		{name: "start/no main module", guest: guest{}},
		{name: "start/on_vm_start is false", guest: with(on("on_vm_start", giveBack(0)))},
		{name: "start/on_configure is false", guest: with(on("on_configure", giveBack(0)))},
		{name: "start/validate_configuration is false", guest: with(on("validate_configuration", giveBack(0))), steps: lived},
		{name: "start/any other number is true", guest: with(on("on_vm_start", giveBack(2)), on("on_configure", giveBack(-1))), steps: lived},
		{name: "start/trap in _initialize", guest: guest{callbacks: []callback{on("_initialize", trap)}}},
		{name: "start/trap in main", guest: guest{callbacks: []callback{on("_initialize"), on("main", trap)}}},
		{name: "start/trap in _start", guest: guest{callbacks: []callback{on("_start", trap)}}},
		{name: "start/trap in on_context_create", guest: with(on("on_context_create", trap))},
		{name: "start/trap in on_vm_start", guest: with(on("on_vm_start", trap))},
		{name: "start/trap in on_configure", guest: with(on("on_configure", trap))},
		{name: "start/main is not zero", guest: guest{callbacks: []callback{on("_initialize"), on("main", giveBack(3)), on("on_vm_start")}}, steps: lived},
		{name: "start/a callback of another type", guest: guest{callbacks: []callback{{name: "proxy_on_request_headers", sig: "i:i"}}}},
		{name: "start/a callback without its result", guest: guest{callbacks: []callback{{name: "proxy_on_request_body", sig: "iii"}}}},
		{name: "start/on_done without its result", guest: guest{callbacks: []callback{{name: "proxy_on_done", sig: "i"}}}},
		{name: "start/headers of ABI 0.1.0 in 0.2.1", guest: guest{callbacks: []callback{{name: "proxy_on_request_headers", sig: "ii:i"}}}},

		{name: "start/an unknown import", guest: guest{imports: []importedFunc{{"env", "proxy_no_such_function", "i:i"}}}},
		{name: "start/an import of another type", guest: guest{imports: []importedFunc{{"env", "proxy_get_log_level", "ii:i"}}}},
		{name: "start/an unknown module", guest: guest{imports: []importedFunc{{"nowhere", "f", ""}}}},
		{name: "start/get_log_level in ABI 0.2.0", guest: guest{abi: "0_2_0", imports: []importedFunc{{"env", "proxy_get_log_level", "i:i"}}}},
		{name: "start/continue_request in ABI 0.2.0", guest: guest{abi: "0_2_0", imports: []importedFunc{{"env", "proxy_continue_request", ":i"}}}},
		{name: "start/continue_stream in ABI 0.1.0", guest: guest{abi: "0_1_0", imports: []importedFunc{{"env", "proxy_continue_stream", "i:i"}}}},
		{name: "start/WASI's own path_link", guest: guest{imports: []importedFunc{{"wasi_snapshot_preview1", "path_link", "iiiiiii:i"}}}},
		{name: "start/WASI's own path_symlink", guest: guest{imports: []importedFunc{{"wasi_snapshot_preview1", "path_symlink", "iiiii:i"}}}},
		{name: "start/an import twice", guest: guest{imports: []importedFunc{
			{"wasi_snapshot_preview1", "fd_write", "iiii:i"}, {"wasi_unstable", "fd_write", "iiii:i"},
		}}, steps: lived},
	}
	for _, name := range slices.Sorted(maps.Keys(wasiFunctions)) {
		cases = append(cases, testCase{name: "imports/" + name, guest: guest{imports: []importedFunc{
			{"wasi_snapshot_preview1", name, wasiFunctions[name]},
		}}})
	}

	// What a module may call while it starts, and while it allocates.
	inits := []string{"wasi.sched_yield", "wasi.fd_close", "wasi.fd_read", "wasi.fd_seek", "wasi.path_open", "wasi.proc_exit", "wasi.args_get", "wasi.args_sizes_get",
		"wasi.environ_get", "wasi.environ_sizes_get", "wasi.fd_prestat_get", "wasi.fd_prestat_dir_name", "wasi.clock_time_get", "wasi.random_get",
		"wasi.fd_fdstat_get", "wasi.fd_fdstat_set_flags", "wasi.fd_write", "wasi.poll_oneoff", "env.pthread_equal",
		"env.emscripten_notify_memory_growth", "get_current_time_nanoseconds", "get_property", "get_log_level", "set_tick_period_milliseconds",
		"get_shared_data", "define_metric",
	}
	for _, name := range slices.Sorted(maps.Keys(wasiFunctions)) {
		if !slices.Contains(inits, "wasi."+name) {
			inits = append(inits, "wasi."+name)
		}
	}
	for _, name := range inits {
		f := anyCall(name)
		since := ""
		if rest, ok := strings.CutPrefix(name, "wasi."); ok && !slices.Contains(firstWASI, rest) {
			since = "1.39"
		}
		cases = append(cases,
			testCase{name: "while starting/" + name, since: since, guest: guest{callbacks: []callback{on("_initialize", f, say("went on")), on("on_vm_start")}}},
			testCase{name: "while allocating/" + name, since: since, guest: guest{
				mallocBody: []statement{f},
				callbacks:  []callback{on("on_request_headers", call("get_header_map_value", requestHeaders, "x-a", bytesOut))},
			}, steps: lived},
		)
	}
	cases = append(cases,
		testCase{name: "while allocating/trap", guest: guest{mallocBody: []statement{trap}, callbacks: []callback{
			on("on_request_headers", call("get_header_map_value", requestHeaders, "x-a", bytesOut), say("went on")),
		}}, steps: lived},
		testCase{name: "while allocating/no memory", guest: guest{mallocBody: []statement{giveBack(0)}, callbacks: []callback{
			on("on_request_headers",
				call("get_header_map_value", requestHeaders, "x-a", bytesOut), call("get_header_map_pairs", requestHeaders, pairsOut), say("went on")),
		}}, steps: lived},
		testCase{name: "while allocating/an address outside", guest: guest{mallocBody: []statement{giveBack(badPointer)}, callbacks: []callback{
			on("on_request_headers",
				call("get_header_map_value", requestHeaders, "x-a", bytesOut), say("went on")),
		}}, steps: lived},
	)
	cases = append(cases,
		testCase{name: "reconfiguration/another configuration", config: "first", guest: with(on("on_configure",
			call("get_buffer_bytes", pluginConfiguration, 0, 100, bytesOut),
		)), steps: []step{get(), answer(), reconfigure("the second"), get(), answer()}},
		testCase{name: "reconfiguration/refused", config: "first", guest: with(on("on_configure",
			when(param(1), len("the second"), giveBack(0)),
		)), steps: []step{get(), answer(), reconfigure("the second"), wait(2 * time.Second), get(), answer()}},
		testCase{name: "reconfiguration/done is put off", config: "first", guest: with(
			on("on_done", when(param(0), 1, call("set_tick_period_milliseconds", 50), giveBack(0))),
			on("on_tick", call("set_tick_period_milliseconds", 0), call("done"), call("done")),
		), steps: []step{reconfigure("the second"), wait(100 * time.Millisecond), get(), answer()}},
		testCase{name: "Go/runtime", golang: true, alone: true, env: map[string]string{"LANG": "C", "EMPTY": ""}, config: "plugin", steps: []step{
			get(":path", "/headers", "x-a", "1", "x-a", "\xff"), answer(),
			get(":path", "/runtime"), answer(), get(":path", "/output"), answer(), get(":path", "/files"), answer(),
			post(":path", "/body"), body("one"), lastBody("two"), answer(),
		}},
		testCase{name: "Go/crashes", golang: true, alone: true, policy: policyReload, steps: []step{
			wait(afterBackoff), get(":path", "/panic"), wait(afterBackoff), get(":path", "/nil"), wait(afterBackoff), get(":path", "/exit"),
			wait(afterBackoff), get(":path", "/plain"), answer(),
		}},
	)
	return append(cases, oldABICases()...)
}

// firstWASI are the WASI functions of every version.
var firstWASI = strings.Fields(`fd_write fd_read fd_seek fd_close fd_fdstat_get fd_fdstat_set_flags fd_prestat_get fd_prestat_dir_name path_open
	environ_get environ_sizes_get args_get args_sizes_get clock_time_get random_get proc_exit sched_yield poll_oneoff`)

// anyCall calls a function with arguments that do no harm.
func anyCall(name string) statement {
	c := call(name, zeros(name)...).(hostCall)
	return c
}

// zeros are as many arguments as a function has parameters: addresses where nothing lies.
func zeros(name string) []any {
	sig := hostFunctions["proxy_"+name]
	if rest, ok := strings.CutPrefix(name, "wasi."); ok {
		sig = wasiFunctions[rest]
	} else if rest, ok := strings.CutPrefix(name, "env."); ok {
		sig = emscriptenFunctions[rest]
	}
	params, _ := signature(sig)
	var args []any
	for range params {
		args = append(args, 2048)
	}
	return args
}

// oldABICases are about ABI 0.1.0 and 0.2.0.
func oldABICases() []testCase {
	exchange := []step{post("x-a", "1"), body("one"), trailers("x-t", "1"), begin("x-b", "2"), upBody("two"), upTrailers("x-u", "2")}
	every := func(abi string, special ...callback) guest {
		g := with(special...)
		g.abi = abi
		return g
	}
	return []testCase{
		{name: "ABI/0.1.0", guest: every("0_1_0"), steps: exchange},
		{name: "ABI/0.2.0", guest: every("0_2_0"), steps: exchange},
		{name: "ABI/0.1.0 functions", config: "plugin config", vmConfig: "vm config", guest: every("0_1_0",
			on("on_vm_start", call("get_configuration", bytesOut)),
			on("on_configure", call("get_configuration", bytesOut), call("get_configuration", badOut{}, badOut{})),
			on("on_request_headers",
				call("get_configuration", bytesOut), call("clear_route_cache"),
				call("get_header_map_value", requestHeaders, "x-absent", bytesOut), call("get_header_map_value", requestHeaders, "x-a", bytesOut)),
		), steps: exchange},
		{name: "ABI/0.1.0 continues", guest: every("0_1_0",
			on("on_context_create", when(param(1), 1, assign("stream", param(0)))),
			on("on_request_headers", call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-a"}, "", "", 9000, numberOut), giveBack(pause)),
			on("on_response_headers", call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-b"}, "", "", 9000, numberOut), giveBack(pause)),
			on("on_http_call_response", call("set_effective_context", variable("stream")), count("answers"),
				when(variable("answers"), 1, call("continue_request")), when(variable("answers"), 2, call("continue_response"))),
		), steps: []step{get(), peer("a", nil, "", nil), answer(), peer("b", nil, "", nil)}},
	}
}
