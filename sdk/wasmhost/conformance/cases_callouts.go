package conformance

import "time"

// calloutCases are about HTTP callouts.
func calloutCases() []testCase {
	ask := func(peer string, more ...any) statement {
		args := []any{clusterPeer, headerList{":method", "GET", ":path", "/x", ":authority", "$case-" + peer}, "", "", 9000, into("token")}
		copy(args, more)
		return call("http_call", args...)
	}
	read := on("on_http_call_response",
		call("get_header_map_pairs", calloutHeaders, pairsOut),
		call("get_header_map_value", calloutHeaders, ":status", bytesOut),
		call("get_header_map_value", calloutHeaders, "x-absent", bytesOut),
		call("get_header_map_size", calloutTrailers, numberOut),
		call("get_header_map_pairs", calloutTrailers, pairsOut),
		call("get_header_map_value", calloutTrailers, "x-t", bytesOut),
		call("get_buffer_status", calloutBody, numberOut, numberOut),
		call("get_buffer_bytes", calloutBody, 0, 100, bytesOut),
		call("get_buffer_bytes", calloutBody, 2, 2, bytesOut),
		call("set_buffer_bytes", calloutBody, 0, 1, "x"),
		call("add_header_map_value", calloutHeaders, "x-n", "1"),
		call("get_status", numberOut, bytesOut),
	)
	full := headerList{
		":method", "POST", ":path", "/x?y", ":authority", "$case-a", "x-a", "1", "x-a", "2", "x-empty", "", "x-bytes", "\xff",
	}
	cases := []testCase{
		{name: "callouts/answered", guest: quiet(on("on_request_headers", ask("a")), read),
			steps: []step{get(), answer(), peer("a", []string{"x-p", "1", "x-p", "2"}, "hello", nil)}},
		{name: "callouts/answered with trailers", guest: quiet(on("on_request_headers", ask("a")), read),
			steps: []step{get(), peer("a", nil, "hello", []string{"x-t", "1", "x-t", "2"}), answer()}},
		{name: "callouts/answered without a body", guest: quiet(on("on_request_headers", ask("a")), read),
			steps: []step{get(), peer("a", []string{":status", "404"}, "", nil), answer()}},
		{name: "callouts/body and trailers sent", guest: quiet(on("on_request_headers",
			call("http_call", clusterPeer, full, "body\x00\xff", headerList{"x-t", "1", "x-t", "2"}, 9000, numberOut)), read),
			steps: []step{get(), peer("a", nil, "", nil), answer()}},
		{name: "callouts/reset", guest: quiet(on("on_request_headers", ask("a")), read),
			steps: []step{get(), peerReset("a"), answer()}},
		{name: "callouts/reset in the body", guest: quiet(on("on_request_headers", ask("a")), read),
			steps: []step{get(), peerHeaders("a"), peerData("a", "hel"), peerReset("a"), answer()}},
		{name: "callouts/timed out", guest: quiet(
			on("on_request_headers", call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/x", ":authority", "$case-a"}, "", "", 200, numberOut)),
			read), steps: []step{get(), wait(250 * time.Millisecond), answer()}},
		{name: "callouts/timed out in the body", guest: quiet(
			on("on_request_headers", call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/x", ":authority", "$case-a"}, "", "", 400, numberOut)),
			read), steps: []step{get(), peerHeaders("a"), peerData("a", "hel"), wait(450 * time.Millisecond), answer()}},
		{name: "callouts/nobody listens", guest: quiet(on("on_request_headers", ask("a", clusterDead)), read), steps: []step{get(), answer()}},
		{name: "callouts/nobody listens, paused", guest: quiet(
			on("on_request_headers", assign("stream", param(0)), ask("a", clusterDead), giveBack(pause)),
			on("on_http_call_response", call("set_effective_context", variable("stream")), call("continue_stream", streamRequest)),
		), steps: []step{get(), answer()}},
		{name: "callouts/refused", guest: quiet(on("on_request_headers",
			ask("a", "nowhere"),
			ask("a", ""),
			ask("a", "\xff"),
			ask("a", clusterPeer, headerList{":path", "/x", ":authority", "$case-a"}),
			ask("a", clusterPeer, headerList{":method", "GET", ":authority", "$case-a"}),
			ask("a", clusterPeer, headerList{":method", "GET", ":path", "/x"}),
			ask("a", clusterPeer, headerList{}),
			ask("a", clusterPeer, ""),
			ask("a", bad{}),
			ask("a", clusterPeer, bad{}),
			ask("a", clusterPeer, full, bad{}),
			ask("a", clusterPeer, full, "", bad{}),
			ask("a", clusterPeer, full, "", "", -1),
			ask("a", clusterPeer, full, "", "", 9000, badOut{}),
		)), steps: []step{get(), answer()}},
		{name: "callouts/no timeout", guest: quiet(on("on_request_headers", ask("a", clusterPeer, full, "", "", 0)), read),
			steps: []step{get(), peer("a", nil, "x", nil), answer()}},
		{name: "callouts/host header", guest: quiet(on("on_request_headers",
			ask("a", clusterPeer, headerList{":method", "GET", ":path", "/x", "host", "$case-a", "Upper", "1"})), read),
			steps: []step{get(), peer("a", nil, "x", nil), answer()}},
		{name: "callouts/two at once", guest: quiet(on("on_request_headers", ask("a"), ask("b")), read),
			steps: []step{get(), peer("b", nil, "second", nil), peer("a", nil, "first", nil), answer()}},
		{name: "callouts/one after the other", guest: quiet(on("on_request_headers", ask("a")),
			on("on_http_call_response", when(variable("asked"), 0, assign("asked", 1), ask("b")))),
			steps: []step{get(), peer("a", nil, "", nil), peer("b", nil, "", nil), answer()}},
		{name: "callouts/from on_configure", guest: quiet(on("on_configure", ask("a", clusterPeer, full, "", "", 0)), read),
			steps: []step{get(), answer()}},
		{name: "callouts/from on_tick", guest: quiet(
			on("on_request_headers", call("set_tick_period_milliseconds", 300)),
			on("on_tick", call("set_tick_period_milliseconds", 0), ask("a")), read),
			steps: []step{get(), wait(tickWait), peer("a", nil, "x", nil), answer()}},
		{name: "callouts/the stream has gone", guest: quiet(on("on_request_headers", assign("stream", param(0)), ask("a")),
			on("on_http_call_response", call("set_effective_context", variable("stream")), call("continue_stream", streamRequest))),
			steps: []step{get(), cancel(), peer("a", nil, "x", nil)}},
		{name: "callouts/from on_log, on_done and on_delete", guest: quiet(
			on("on_log", ask("a")), on("on_done", ask("b")), on("on_delete", ask("c")), read),
			steps: []step{get(), answer(), peer("a", nil, "x", nil), peer("b", nil, "y", nil), peer("c", nil, "z", nil)}},
		{name: "callouts/no callback for the answer", guest: guest{callbacks: []callback{on("on_request_headers", ask("a"))}},
			steps: []step{get(), peer("a", nil, "x", nil), answer()}},
		{name: "callouts/unknown contexts", guest: with(on("on_request_headers",
			call("set_effective_context", 99),
			call("set_effective_context", 0),
			call("set_effective_context", 1),
			call("get_header_map_value", requestHeaders, ":path", bytesOut),
			call("set_effective_context", param(0)),
			call("get_header_map_value", requestHeaders, ":path", bytesOut),
			call("get_status", numberOut, bytesOut),
			call("get_status", badOut{}, bytesOut),
			call("get_status", numberOut, badOut{}, badOut{}),
		)), steps: []step{get(), answer()}},
	}
	for _, name := range []string{"on_request_body", "on_request_trailers", "on_response_headers", "on_response_body", "on_response_trailers"} {
		cases = append(cases, testCase{name: "callouts/from " + name, guest: quiet(on(name, ask("a"))), steps: []step{
			post(), body("one"), trailers("x-t", "1"), begin(), upBody("two"), upTrailers("x-u", "2"), peer("a", nil, "x", nil),
		}})
	}
	return append(cases, grpcCases()...)
}

// service is a GrpcService (envoy.config.core.v3) that names a cluster.
func service(cluster string) string {
	name := "\x0a" + string(rune(len(cluster))) + cluster
	return "\x0a" + string(rune(len(name))) + name
}

// grpcCases are about gRPC callouts.
func grpcCases() []testCase {
	const grpcType = "application/grpc"
	unary := func(more ...any) statement {
		args := []any{service(clusterPeer), "$case-g.Service", "Method", headerList{"x-m", "1", "x-m", "2"}, "request\x00\xff", 9000, into("token")}
		copy(args, more)
		return call("grpc_call", args...)
	}
	stream := func(more ...any) statement {
		args := []any{service(clusterPeer), "$case-g.Service", "Method", headerList{"x-m", "1", "x-m", "2"}, into("token")}
		copy(args, more)
		return call("grpc_stream", args...)
	}
	reads := []callback{
		on("on_grpc_receive_initial_metadata",
			call("get_header_map_pairs", grpcInitialMetadata, pairsOut),
			call("get_header_map_value", grpcInitialMetadata, "x-i", bytesOut),
			call("get_header_map_size", grpcInitialMetadata, numberOut)),
		on("on_grpc_receive",
			call("get_buffer_status", grpcMessage, numberOut, numberOut),
			call("get_buffer_bytes", grpcMessage, 0, 100, bytesOut)),
		on("on_grpc_receive_trailing_metadata",
			call("get_header_map_pairs", grpcTrailingMetadata, pairsOut),
			call("get_header_map_value", grpcTrailingMetadata, "grpc-status", bytesOut)),
		on("on_grpc_close", call("get_status", numberOut, bytesOut)),
	}
	g := func(special ...callback) guest { return quiet(append(special, reads...)...) }
	ok := func(extra ...string) step {
		return peerTrailers("g", append([]string{"grpc-status", "0"}, extra...)...)
	}
	headers := peerHeaders("g", "content-type", grpcType, "x-i", "1", "x-i", "2")
	only := func(status ...string) step {
		return peer("g", append([]string{":status", "200", "content-type", grpcType}, status...), "", nil)
	}
	onRequest := func(s ...statement) guest { return g(on("on_request_headers", s...)) }
	cases := []testCase{
		{name: "grpc/unary", guest: onRequest(unary()), steps: []step{get(), headers, peerData("g", framed("reply")), ok("x-t", "1"), answer()}},
		{name: "grpc/unary, empty message", guest: onRequest(unary(service(clusterPeer), "$case-g.Service", "Method", "", "")),
			steps: []step{get(), headers, peerData("g", framed("")), ok(), answer()}},
		{name: "grpc/unary fails", guest: onRequest(unary()), steps: []step{
			get(), headers, peerTrailers("g", "grpc-status", "7", "grpc-message", "not%20you"), answer(),
		}},
		{name: "grpc/unary fails at once", guest: onRequest(unary()), steps: []step{get(), only("grpc-status", "5", "grpc-message", "nothing"), answer()}},
		{name: "grpc/unary without a message", guest: onRequest(unary()), steps: []step{get(), headers, ok(), answer()}},
		{name: "grpc/unary is not gRPC", guest: onRequest(unary()), steps: []step{get(), peer("g", []string{":status", "404"}, "", nil), answer()}},
		{name: "grpc/unary is reset", guest: onRequest(unary()), steps: []step{get(), peerReset("g"), answer()}},
		{name: "grpc/unary is reset after headers", guest: onRequest(unary()), steps: []step{get(), headers, peerReset("g"), answer()}},
		{name: "grpc/unary times out", guest: onRequest(unary(service(clusterPeer), "$case-g.Service", "Method", "", "m", 300)),
			steps: []step{get(), wait(tickWait), answer()}},
		{name: "grpc/unary, nobody listens", guest: onRequest(unary(service(clusterDead))), steps: []step{get(), answer()}},
		{name: "grpc/unary, no such cluster", guest: onRequest(unary(service("none"))), steps: []step{get(), answer()}},
		{name: "grpc/unary, bad pointers", guest: onRequest(
			unary(bad{}), unary(service(clusterPeer), bad{}), unary(service(clusterPeer), "s", bad{}),
			unary(service(clusterPeer), "s", "m", bad{}), unary(service(clusterPeer), "s", "m", "", bad{}),
		), steps: []step{get(), answer()}},
		{name: "grpc/unary, a service that does not parse", guest: onRequest(unary("\xff\xff\xff")), steps: []step{get(), answer()}},
		{name: "grpc/unary, an empty service", alone: true, guest: onRequest(unary("")), steps: []step{get(), answer()}},
		{name: "grpc/unary cancelled", guest: g(on("on_request_headers", unary()),
			on("on_response_headers", call("grpc_cancel", variable("token")), call("grpc_cancel", variable("token")))),
			steps: []step{get(), answer()}},
		{name: "grpc/unary closed", guest: g(on("on_request_headers", unary()),
			on("on_response_headers", call("grpc_close", variable("token")), call("grpc_close", variable("token")))),
			steps: []step{get(), answer()}},
		{name: "grpc/unary takes no more messages", guest: onRequest(unary(), call("grpc_send", variable("token"), "more", 0)),
			steps: []step{get(), headers, peerData("g", framed("reply")), ok(), answer()}},
		{name: "grpc/unary on_configure", guest: g(on("on_configure", unary(service(clusterDead)))), steps: []step{get(), answer()}},

		{name: "grpc/stream", guest: g(on("on_request_headers",
			stream(), call("grpc_send", variable("token"), "one", 0), call("grpc_send", variable("token"), "", 0), call("grpc_send", variable("token"), "last\xff", 1)),
		), steps: []step{
			get(), headers, peerData("g", framed("first")), peerData("g", framed("")+framed("third")), ok("x-t", "1"), answer(),
		}},
		{name: "grpc/stream, the guest ends it", guest: g(on("on_request_headers", stream(), call("grpc_send", variable("token"), "one", 0)),
			on("on_response_headers", call("grpc_close", variable("token")), call("grpc_close", variable("token"))),
		), steps: []step{get(), headers, answer(), peerData("g", framed("late")), ok()}},
		{name: "grpc/stream, the server ends it", guest: g(on("on_request_headers", stream()),
			on("on_response_headers", call("grpc_send", variable("token"), "late", 0), call("grpc_close", variable("token")), call("grpc_close", variable("token"))),
		), steps: []step{get(), headers, ok(), answer()}},
		{name: "grpc/stream cancelled", guest: g(on("on_request_headers", stream(), call("grpc_send", variable("token"), "one", 0)),
			on("on_response_headers", call("grpc_cancel", variable("token")), call("grpc_cancel", variable("token")), call("grpc_send", variable("token"), "x", 0)),
		), steps: []step{get(), headers, answer()}},
		{name: "grpc/stream fails", guest: onRequest(stream()), steps: []step{
			get(), headers, peerTrailers("g", "grpc-status", "13", "grpc-message", "bad\xff"), answer(),
		}},
		{name: "grpc/stream fails at once", guest: onRequest(stream()), steps: []step{get(), only("grpc-status", "16", "grpc-message", "who"), answer()}},
		{name: "grpc/stream is not gRPC", guest: onRequest(stream()), steps: []step{get(), peer("g", []string{":status", "500"}, "", nil), answer()}},
		{name: "grpc/stream is reset", guest: onRequest(stream()), steps: []step{get(), peerReset("g"), answer()}},
		{name: "grpc/stream is reset after headers", guest: onRequest(stream()), steps: []step{get(), headers, peerReset("g"), answer()}},
		{name: "grpc/stream, nobody listens", guest: onRequest(stream(service(clusterDead))), steps: []step{get(), answer()}},
		{name: "grpc/stream, no such cluster", guest: onRequest(stream(service("none"))), steps: []step{get(), answer()}},
		{name: "grpc/stream, bad pointers", guest: onRequest(
			stream(bad{}), stream(service(clusterPeer), bad{}), stream(service(clusterPeer), "s", bad{}), stream(service(clusterPeer), "s", "m", bad{}),
		), steps: []step{get(), answer()}},
		{name: "grpc/stream, a service that does not parse", guest: onRequest(stream("\xff\xff\xff")), steps: []step{get(), answer()}},
		{name: "grpc/stream, an empty service", alone: true, guest: onRequest(stream("")), steps: []step{get(), answer()}},
		{name: "grpc/unknown tokens", guest: onRequest(
			call("grpc_send", 0, "x", 0), call("grpc_send", 1, "x", 0), call("grpc_send", 2, "x", 0), call("grpc_send", 3, "x", 0),
			call("grpc_send", 4, "x", 0), call("grpc_send", 2, bad{}, 0),
			call("grpc_cancel", 0), call("grpc_cancel", 1), call("grpc_cancel", 2), call("grpc_cancel", 3), call("grpc_cancel", 4),
			call("grpc_close", 0), call("grpc_close", 1), call("grpc_close", 2), call("grpc_close", 3), call("grpc_close", 4),
		), steps: []step{get(), answer()}},
		{name: "grpc/tokens", guest: g(on("on_request_headers",
			unary(), stream(service(clusterPeer), "$case-h"), unary(service(clusterPeer), "$case-i"), stream(service(clusterPeer), "$case-j"),
			call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-k"}, "", "", 9000, numberOut),
		)), steps: []step{get(), answer()}},
		{name: "grpc/the stream has gone", guest: onRequest(stream(), call("grpc_send", variable("token"), "one", 0)),
			steps: []step{get(), cancel(), headers, peerData("g", framed("late")), ok()}},
		{name: "grpc/no callbacks", guest: guest{quietMalloc: true, callbacks: []callback{on("on_request_headers", stream(), unary(service(clusterDead)))}},
			steps: []step{get(), headers, peerData("g", framed("reply")), ok(), answer()}},
	}
	return cases
}
