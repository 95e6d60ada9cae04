package conformance

// mapCases are about maps of headers.
func mapCases() []testCase {
	cases := []testCase{
		{name: "maps/read request headers", guest: with(
			on("on_request_headers",
				call("get_header_map_pairs", requestHeaders, pairsOut),
				call("get_header_map_size", requestHeaders, numberOut),
				call("get_header_map_value", requestHeaders, "x-a", bytesOut),
				call("get_header_map_value", requestHeaders, "X-A", bytesOut),
				call("get_header_map_value", requestHeaders, ":path", bytesOut),
				call("get_header_map_value", requestHeaders, "host", bytesOut),
				call("get_header_map_value", requestHeaders, "x-empty", bytesOut),
				call("get_header_map_value", requestHeaders, "x-absent", bytesOut),
				call("get_header_map_value", requestHeaders, "", bytesOut),
				call("get_header_map_value", requestHeaders, "x-bytes", bytesOut),
				call("get_header_map_value", requestHeaders, "x-\xff", bytesOut),
				call("get_header_map_value", requestHeaders, "accept", bytesOut),
			),
		), steps: []step{get(
			"x-a", "1", "x-a", "2", "x-empty", "", "x-bytes", "\xff\xfe", "accept", "x", "accept", "y",
		), answer()}},
		{name: "maps/bad pointers and types", guest: with(
			on("on_request_headers",
				call("get_header_map_value", requestHeaders, bad{}, bytesOut),
				call("get_header_map_value", requestHeaders, "x-a", badOut{}, badOut{}),
				call("get_header_map_value", requestHeaders, "x-a", badOut{}, numberOut),
				call("get_header_map_value", requestHeaders, "x-empty", badOut{}, badOut{}),
				call("get_header_map_value", 9, "x-a", bytesOut),
				call("get_header_map_value", -1, bad{}, bytesOut),
				call("get_header_map_pairs", requestHeaders, badOut{}, badOut{}),
				call("get_header_map_pairs", 9, pairsOut),
				call("get_header_map_pairs", -1, pairsOut),
				call("get_header_map_size", requestHeaders, badOut{}),
				call("get_header_map_size", 9, numberOut),
				call("set_header_map_pairs", requestHeaders, bad{}),
				call("set_header_map_pairs", 9, ""),
				call("add_header_map_value", requestHeaders, bad{}, "v"),
				call("add_header_map_value", requestHeaders, "x-n", bad{}),
				call("add_header_map_value", 9, "x-n", "v"),
				call("replace_header_map_value", requestHeaders, bad{}, "v"),
				call("replace_header_map_value", requestHeaders, "x-n", bad{}),
				call("replace_header_map_value", 9, "x-n", "v"),
				call("remove_header_map_value", requestHeaders, bad{}),
				call("remove_header_map_value", 9, "x-n"),
				call("get_header_map_pairs", requestHeaders, pairsOut),
			),
		), steps: []step{get("x-a", "1", "x-empty", ""), answer()}},
	}
	change := func(t int) []statement {
		return []statement{
			call("add_header_map_value", t, "x-new", "1"),
			call("add_header_map_value", t, "x-new", "2"),
			call("add_header_map_value", t, "X-Upper", "\xff"),
			call("add_header_map_value", t, "x-nothing", ""),
			call("add_header_map_value", t, "content-type", "a"),
			call("add_header_map_value", t, "content-type", "b"),
			call("replace_header_map_value", t, "x-a", "3"),
			call("replace_header_map_value", t, "x-absent", "4"),
			call("remove_header_map_value", t, "x-b"),
			call("remove_header_map_value", t, "x-never"),
			call("get_header_map_pairs", t, pairsOut),
			call("get_header_map_size", t, numberOut),
		}
	}
	exchange := []step{
		post("x-a", "1", "x-a", "2", "x-b", "1"), body("one"), trailers("x-a", "1", "x-b", "1"),
		begin("x-a", "1", "x-a", "2", "x-b", "1"), upBody("two"), upTrailers("x-a", "1", "x-b", "1"),
	}
	for _, m := range []struct {
		name     string
		callback string
		mapType  int
	}{
		{"request headers", "on_request_headers", requestHeaders},
		{"request trailers", "on_request_trailers", requestTrailers},
		{"response headers", "on_response_headers", responseHeaders},
		{"response trailers", "on_response_trailers", responseTrailers},
	} {
		pseudo := headerList{"x-only", "1", "x-only", "2", "", "no name", "x-\xff", "\xff"}
		switch m.mapType {
		case requestHeaders:
			pseudo = headerList{":method", "PUT", ":scheme", "http", ":authority", "$case-up", ":path", "/set", "x-forwarded-proto", "http", "x-only", "1", "X-Only", "2"}
		case responseHeaders:
			pseudo = headerList{":status", "201", "x-only", "1", "x-only", "2"}
		case requestTrailers, responseTrailers:
			pseudo = headerList{"x-only", "1", "x-only", "2"}
		}
		cases = append(cases,
			testCase{name: "maps/change " + m.name, guest: with(on(m.callback, change(m.mapType)...)), steps: exchange},
			testCase{name: "maps/set " + m.name, guest: with(on(m.callback,
				call("set_header_map_pairs", m.mapType, pseudo), call("get_header_map_pairs", m.mapType, pairsOut))), steps: exchange},
		)
	}
	// Serialised maps that are malformed are read as empty. A map that has become empty is filled again, so that the request goes on.
	for _, broken := range []struct{ name, bytes string }{
		{"no bytes", ""},
		{"one zero byte", "\x00"},
		{"three bytes", "\x01\x00\x00"},
		{"zero pairs", "\x00\x00\x00\x00"},
		{"zero pairs and a byte", "\x00\x00\x00\x00\x00"},
		{"one pair without sizes", "\x01\x00\x00\x00"},
		{"too many pairs", "\xff\xff\xff\xff"},
		{"no NUL after the name", "\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00axb\x00"},
		{"no NUL after the value", "\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00a\x00bx"},
		{"short value", "\x01\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00a\x00b\x00"},
		{"a byte too many", "\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00a\x00b\x00c"},
		{"huge sizes", "\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xffa\x00b\x00"},
	} {
		cases = append(cases, testCase{name: "maps/malformed: " + broken.name, guest: with(
			on("on_response_headers",
				call("set_header_map_pairs", responseHeaders, broken.bytes),
				call("get_header_map_pairs", responseHeaders, pairsOut),
				call("get_header_map_size", responseHeaders, numberOut),
				call("set_header_map_pairs", responseHeaders, headerList{":status", "200", "x-again", "1"})),
		), steps: []step{get(), answer("x-a", "1")}})
	}
	cases = append(cases,
		testCase{name: "maps/NUL and line ends in values", guest: with(on("on_request_headers",
			call("add_header_map_value", responseHeaders, "x-n", "a\x00b"),
			call("replace_header_map_value", requestHeaders, "x-t", "a\tb"),
			call("get_header_map_pairs", requestHeaders, pairsOut),
		)), steps: []step{get(), answer()}},
		testCase{name: "maps/trailers added at the body's end", guest: with(
			on("on_request_body", when(param(2), 1, call("add_header_map_value", requestTrailers, "x-t", "1"))),
			on("on_response_body", when(param(2), 1, call("add_header_map_value", responseTrailers, "x-u", "1"))),
		), steps: []step{post(), lastBody("one"), begin(), lastUpBody("two")}},
		testCase{name: "maps/trailers added before the body's end", guest: with(
			on("on_request_body", call("add_header_map_value", requestTrailers, "x-t", "1")),
			on("on_response_body", call("add_header_map_value", responseTrailers, "x-u", "1")),
		), steps: []step{post(), body("one"), trailers("x-t", "2"), begin(), upBody("two"), upTrailers("x-u", "2")}},
		testCase{name: "maps/headers changed after they have gone", guest: with(
			on("on_request_body", call("add_header_map_value", requestHeaders, "x-late", "1")),
			on("on_response_body", call("add_header_map_value", responseHeaders, "x-late", "1")),
		), steps: []step{post(), lastBody("one"), begin(), lastUpBody("two")}},
		testCase{name: "maps/path and method changed", guest: with(
			on("on_request_headers",
				call("replace_header_map_value", requestHeaders, ":path", "/other?x=%20"),
				call("replace_header_map_value", requestHeaders, ":method", "DELETE"),
				call("get_header_map_pairs", requestHeaders, pairsOut)),
			on("on_response_headers",
				call("replace_header_map_value", responseHeaders, ":status", "299"),
				call("get_header_map_pairs", responseHeaders, pairsOut)),
		), steps: []step{get(), answer()}},
	)
	return append(cases, phaseCases()...)
}

// probe calls what reads and changes maps and buffers, for every type.
func probe() []statement {
	var out []statement
	for t := requestHeaders; t <= calloutTrailers+1; t++ {
		out = append(out,
			call("get_header_map_size", t, numberOut),
			call("get_header_map_pairs", t, pairsOut),
			call("get_header_map_value", t, "x-a", bytesOut),
			call("get_header_map_value", t, "x-absent", bytesOut),
			call("add_header_map_value", t, "x-probe", "1"),
			call("replace_header_map_value", t, "x-probe", "2"),
			call("remove_header_map_value", t, "x-probe"),
		)
	}
	for t := requestBody; t <= pluginConfiguration+1; t++ {
		out = append(out,
			call("get_buffer_status", t, numberOut, numberOut),
			call("get_buffer_bytes", t, 0, 100, bytesOut),
			call("set_buffer_bytes", t, 1, 0, "probe"),
		)
	}
	return out
}

// phaseCases call everything that depends on the phase in every callback.
func phaseCases() []testCase {
	var cases []testCase
	exchange := []step{
		post("x-a", "1"), body("one"), trailers("x-a", "2"), begin("x-a", "3"), upBody("two"), upTrailers("x-a", "4"),
	}
	add := func(name string, g guest, steps []step) {
		g.quietMalloc = true
		cases = append(cases, testCase{name: "phases/" + name, guest: g, vmConfig: "vm config", config: "plugin config", steps: steps})
	}
	for _, name := range []string{
		"on_context_create", "on_vm_start", "on_configure", "on_request_headers", "on_request_body", "on_request_trailers",
		"on_response_headers", "on_response_body", "on_response_trailers", "on_log", "on_done", "on_delete",
	} {
		steps := exchange
		if name == "on_vm_start" || name == "on_configure" {
			steps = nil
		}
		add(name, with(on(name, probe()...)), steps)
	}
	callout := call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-a"}, "", "", 9000, into("token"))
	add("on_http_call_response", with(
		on("on_request_headers", callout),
		on("on_http_call_response", probe()...),
	), []step{get(), peer("a", []string{"x-a", "5"}, "callout", []string{"x-a", "6"}), answer()})
	add("on_http_call_response on the stream", with(
		on("on_request_headers", assign("stream", param(0)), callout, giveBack(pause)),
		on("on_http_call_response", append(append([]statement{call("set_effective_context", variable("stream"))}, probe()...),
			call("continue_stream", streamRequest))...),
	), []step{get("x-a", "1"), peer("a", []string{"x-a", "5"}, "callout", nil), answer()})
	add("on_http_call_response on the stream's paused body", with(
		on("on_request_body", assign("stream", param(0)), when(variable("asked"), 0, assign("asked", 1), callout), giveBack(pause)),
		on("on_http_call_response", append(append([]statement{call("set_effective_context", variable("stream"))}, probe()...),
			call("continue_stream", streamRequest))...),
	), []step{post("x-a", "1"), body("one"), lastBody("two"), peer("a", []string{"x-a", "5"}, "callout", nil), answer()})
	add("on_http_call_response on the stream's paused response", with(
		on("on_response_headers", assign("stream", param(0)), callout, giveBack(pause)),
		on("on_http_call_response", append(append([]statement{call("set_effective_context", variable("stream"))}, probe()...),
			call("continue_stream", streamResponse))...),
	), []step{get("x-a", "1"), answer("x-a", "3"), peer("a", []string{"x-a", "5"}, "callout", nil)})
	add("on_tick", with(
		on("on_request_headers", call("set_tick_period_milliseconds", 300)),
		on("on_tick", append([]statement{call("set_tick_period_milliseconds", 0)}, probe()...)...),
	), []step{get(), answer(), wait(tickWait)})
	return cases
}
