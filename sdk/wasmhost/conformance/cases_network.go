package conformance

// networkCases are about filters of TCP connections.
func networkCases() []testCase {
	var cases []testCase
	add := func(name string, g guest, steps ...step) {
		cases = append(cases, testCase{name: "network/" + name, network: true, guest: g, steps: steps})
	}
	add("both ways", with(), connect(), send("one"), upSend("two"), send("three"), upSend("four"), closeClient())
	add("the client half-closes", with(), connect(), send("one"), send("two"), halfClose(), upSend("three"), upSend("four"), upHalfClose())
	add("the upstream half-closes", with(), connect(), send("one"), upSend("two"), upHalfClose(), send("three"), send("four"), halfClose())
	add("the upstream closes", with(), connect(), send("one"), upSend("two"), upClose())
	add("the client closes at once", with(), connect(), closeClient())
	add("nothing is said", with(), connect(), halfClose(), upHalfClose())
	add("no callbacks", guest{}, connect(), send("one"), upSend("two"), closeClient())
	add("two connections", with(), connect(), send("one"), closeClient())
	for _, t := range []struct {
		callback string
		buffer   int
	}{{"on_downstream_data", downstreamData}, {"on_upstream_data", upstreamData}} {
		for _, s := range []struct {
			name          string
			start, length int
			data          string
		}{
			{"all", 0, 100, "replaced"}, {"nothing left", 0, 100, ""}, {"the first two", 0, 2, "x"}, {"prepend", 0, 0, "pre"}, {"append", 100, 0, "post"},
			{"the middle", 1, 1, "x"},
		} {
			add(t.callback+" sets: "+s.name, with(on(t.callback,
				call("get_buffer_status", t.buffer, numberOut, numberOut),
				call("get_buffer_bytes", t.buffer, 0, 100, bytesOut),
				call("set_buffer_bytes", t.buffer, s.start, s.length, s.data),
				call("get_buffer_bytes", t.buffer, 0, 100, bytesOut),
			)), connect(), send("one"), upSend("two"), closeClient())
		}
		add(t.callback+" pauses until the second", with(on(t.callback,
			call("get_buffer_bytes", t.buffer, 0, 100, bytesOut),
			count("seen"), when(variable("seen"), 1, giveBack(pause)),
		)), connect(), send("one"), upSend("two"), send("three"), upSend("four"), closeClient())
		add(t.callback+" pauses for ever", with(on(t.callback, giveBack(pause))), connect(), send("one"), upSend("two"), send("three"), closeClient())
		add(t.callback+" closes downstream", with(on(t.callback, call("close_stream", streamDownstream))), connect(), send("one"), upSend("two"))
		add(t.callback+" closes upstream", with(on(t.callback, call("close_stream", streamUpstream))), connect(), send("one"), upSend("two"))
		add(t.callback+" sends a local response", with(on(t.callback, call("send_local_response", 403, "", "no", "", -1))),
			connect(), send("one"), upSend("two"), closeClient())
	}
	ask := call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-a"}, "", "", 9000, numberOut)
	remember := on("on_context_create", when(param(1), 1, assign("stream", param(0))))
	resume := func(stream int) callback {
		return on("on_http_call_response", call("set_effective_context", variable("stream")), call("continue_stream", stream))
	}
	for _, stream := range []int{streamRequest, streamResponse, streamDownstream, streamUpstream} {
		add("continue "+num(stream).label()+" after a pause in on_new_connection", quiet(remember, on("on_new_connection", ask, giveBack(pause)), resume(stream)),
			connect(), send("one"), peer("a", nil, "", nil), send("two"), closeClient())
		add("continue "+num(stream).label()+" after a pause in on_downstream_data", quiet(remember, resume(stream),
			on("on_downstream_data", when(variable("asked"), 0, assign("asked", 1), ask, giveBack(pause)))),
			connect(), send("one"), peer("a", nil, "", nil), send("two"), closeClient())
		add("continue "+num(stream).label()+" after a pause in on_upstream_data", quiet(remember, resume(stream),
			on("on_upstream_data", when(variable("asked"), 0, assign("asked", 1), ask, giveBack(pause)))),
			connect(), send("one"), upSend("two"), peer("a", nil, "", nil), upSend("three"), closeClient())
	}
	add("close from a callout", quiet(remember, on("on_new_connection", ask), on("on_http_call_response",
		call("set_effective_context", variable("stream")), call("close_stream", streamDownstream))), connect(), send("one"), peer("a", nil, "", nil))
	for _, name := range []string{
		"on_new_connection", "on_downstream_data", "on_upstream_data", "on_downstream_connection_close", "on_upstream_connection_close", "on_log", "on_done", "on_delete",
	} {
		c := testCase{name: "network/everything in " + name, network: true, guest: quiet(on(name, probe()...)), config: "plugin config", vmConfig: "vm config",
			steps: []step{connect(), send("one"), upSend("two"), upSend("three"), upHalfClose(), closeClient()}}
		cases = append(cases, c)
		cases = append(cases, testCase{name: "network/crash in " + name, network: true, guest: with(on(name, trap)),
			steps: []step{connect(), send("one"), upSend("two"), upSend("three"), upHalfClose(), closeClient()}})
	}
	var reads []statement
	for _, p := range []string{
		"request\x00path", "response\x00code", "connection\x00mtls", "connection\x00requested_server_name", "connection\x00termination_details",
		"source\x00nothing", "upstream\x00address", "upstream\x00nothing", "upstream\x00transport_failure_reason", "plugin_name", "node\x00id",
		"xds\x00cluster_name", "xds\x00route_name", "cluster_name", "route_name", "request\x00protocol", "request\x00size", "response\x00size",
		"filter_state\x00nothing", "listener_direction", "connection\x00tls_version",
	} {
		reads = append(reads, call("get_property", p, bytesOut))
	}
	reads = append(reads, call("set_property", "mine", "value"), call("get_property", "mine", bytesOut))
	for _, name := range []string{"on_new_connection", "on_downstream_data", "on_upstream_data", "on_downstream_connection_close", "on_log"} {
		add("properties in "+name, quiet(on(name, reads...)), connect(), send("one"), upSend("two"), closeClient())
	}
	return cases
}
