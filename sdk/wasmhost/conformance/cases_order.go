package conformance

// orderCases are about which callbacks come, and in which order.
func orderCases() []testCase {
	return []testCase{
		{name: "order/plain request", guest: with(), steps: []step{get("x-a", "1"), answer("x-b", "2")}},
		{name: "order/bodies", guest: with(), steps: []step{
			post(), body("one"), lastBody("two"), begin(), upBody("three"), lastUpBody("four"),
		}},
		{name: "order/bodies and trailers", guest: with(), steps: []step{
			post(), body("one"), trailers("x-t", "1"), begin(), upBody("two"), upTrailers("x-u", "2"),
		}},
		{name: "order/trailers alone", guest: with(), steps: []step{
			post(), trailers("x-t", "1"), begin(), upTrailers("x-u", "2"),
		}},
		{name: "order/client resets in the body", guest: with(), steps: []step{post(), body("one"), cancel()}},
		{name: "order/client resets before the answer", guest: with(), steps: []step{get(), cancel()}},
		{name: "order/client resets in the answer", guest: with(), steps: []step{get(), begin(), upBody("one"), cancel()}},
		{name: "order/local reply in request headers", guest: with(
			on("on_request_headers", call("send_local_response", 403, "no way", "denied", headerList{"x-why", "because"}, -1)),
		), steps: []step{get()}},
		{name: "maps/request headers", guest: with(
			on("on_request_headers",
				call("get_header_map_pairs", requestHeaders, pairsOut),
				call("get_header_map_value", requestHeaders, "x-a", bytesOut),
				call("get_header_map_value", requestHeaders, "x-empty", bytesOut),
				call("get_header_map_value", requestHeaders, "x-absent", bytesOut),
				call("get_header_map_value", 99, "x-absent", bytesOut),
				call("get_header_map_value", requestHeaders, bad{}, bytesOut),
				call("get_header_map_value", requestHeaders, "x-a", badOut{}, badOut{}),
				call("get_header_map_size", requestHeaders, numberOut),
			),
		), steps: []step{get("x-a", "1", "x-a", "2", "x-empty", "", "x-bytes", "\xff\xfe"), answer()}},
		{name: "callout/answered", guest: quiet(
			on("on_request_headers",
				assign("stream", param(0)),
				call("http_call", "peer", headerList{":method", "GET", ":path", "/x", ":authority", "$case-a"}, "", "", 5000, into("token")),
				giveBack(pause)),
			on("on_http_call_response",
				call("get_header_map_pairs", calloutHeaders, pairsOut),
				call("get_buffer_bytes", calloutBody, 0, 100, bytesOut),
				call("set_effective_context", variable("stream")),
				call("continue_stream", streamRequest)),
		), steps: []step{get(), peer("a", []string{"x-p", "q"}, "hello", nil), answer()}},
	}
}
