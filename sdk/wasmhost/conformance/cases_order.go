package conformance

import (
	"strings"
	"time"
)

// orderCases are about which callbacks come, and in which order.
func orderCases() []testCase {
	local := call("send_local_response", 403, "no_way", "denied", headerList{"x-why", "because", "x-why", "again"}, -1)
	exchange := []step{
		post("x-a", "1"), body("one"), trailers("x-t", "1"), begin("x-b", "2"), upBody("two"), upTrailers("x-u", "2"),
	}
	cases := []testCase{
		{name: "order/plain request", guest: with(), steps: []step{get("x-a", "1"), answer("x-b", "2")}},
		{name: "order/bodies", guest: with(), steps: []step{
			post(), body("one"), lastBody("two"), begin(), upBody("three"), lastUpBody("four"),
		}},
		{name: "order/bodies and trailers", guest: with(), steps: exchange},
		{name: "order/trailers alone", guest: with(), steps: []step{
			post(), trailers("x-t", "1"), begin(), upTrailers("x-u", "2"),
		}},
		{name: "order/empty last frames", guest: with(), steps: []step{post(), lastBody(""), begin(), lastUpBody("")}},
		{name: "order/two requests", guest: with(), steps: []step{get(), answer(), get("x-a", "1"), answer(":status", "404")}},
		{name: "order/no callbacks at all", guest: guest{}, steps: exchange},
		{name: "order/no stream callbacks", guest: guest{callbacks: []callback{on("on_context_create"), on("on_done"), on("on_delete")}}, steps: exchange},
		{name: "order/no context create", guest: guest{callbacks: []callback{
			on("on_request_headers"), on("on_response_headers"), on("on_log"), on("on_done"), on("on_delete"),
		}}, steps: exchange},
		{name: "order/answer before the request's end", guest: with(), steps: []step{post(), body("one"), answer(":status", "418")}},

		{name: "order/client resets in the body", guest: with(), steps: []step{post(), body("one"), cancel()}},
		{name: "order/client resets before the answer", guest: with(), steps: []step{get(), cancel()}},
		{name: "order/client resets in the answer", guest: with(), steps: []step{get(), begin(), upBody("one"), cancel()}},
		{name: "order/upstream resets before the answer", guest: with(), steps: []step{get(), upReset()}},
		{name: "order/upstream resets in the answer", guest: with(), steps: []step{get(), begin(), upBody("one"), upReset()}},
		{name: "order/metadata", guest: with(), steps: []step{
			post(), metadata("x-m", "1"), lastBody("one"), begin(), upMetadata("x-n", "2"), lastUpBody("two"),
		}},
		{name: "order/remove", guest: with(), steps: []step{get(), answer(), remove()}},
		{name: "order/done is put off", guest: with(
			on("on_done", when(param(0), 1, call("done"), giveBack(0)), call("done")),
		), steps: []step{get(), answer(), remove()}},
		{name: "order/done is put off, then said", guest: with(
			on("on_done", when(param(0), 1, call("set_tick_period_milliseconds", 50), giveBack(0))),
			on("on_tick", call("set_tick_period_milliseconds", 0), call("done"), call("done")),
		), steps: []step{remove(), wait(100 * time.Millisecond)}},
	}

	// A local reply in each callback of a stream.
	for _, name := range []string{
		"on_request_headers", "on_request_body", "on_request_trailers", "on_response_headers", "on_response_body", "on_response_trailers",
	} {
		cases = append(cases, testCase{name: "local reply/in " + name, guest: with(on(name, local)), steps: exchange})
		if strings.HasPrefix(name, "on_request") { // twice in a response callback is more than Envoy can take: it reads freed memory
			cases = append(cases, testCase{
				name: "local reply/twice and paused in " + name, guest: with(on(name, local, local, giveBack(pause))), steps: exchange,
			})
		}
	}
	// The guest sees its own reply's way through the response callbacks.
	cases = append(cases,
		testCase{name: "local reply/read by the filter", guest: with(
			on("on_request_headers", local),
			on("on_response_headers", call("get_header_map_pairs", responseHeaders, pairsOut)),
			on("on_response_body", call("get_buffer_bytes", responseBody, 0, 100, bytesOut)),
		), steps: []step{get()}},
	)
	for _, r := range []struct {
		name  string
		reply statement
		steps []step
	}{
		{"empty", call("send_local_response", 204, "", "", "", -1), []step{get()}},
		{"no status", call("send_local_response", 0, "", "", "", -1), []step{get()}},
		{"gRPC status", call("send_local_response", 403, "d", "text", "", 7), []step{get("content-type", "application/grpc")}},
		{"gRPC by status code", call("send_local_response", 503, "d", "text %\xff", "", -1), []step{get("content-type", "application/grpc")}},
		{"gRPC status out of range", call("send_local_response", 200, "d", "text", "", 17), []step{get("content-type", "application/grpc")}},
		{"gRPC status for a plain request", call("send_local_response", 403, "d", "text", "", 7), []step{get()}},
		{"HEAD", call("send_local_response", 403, "d", "text", "", -1), []step{get(":method", "HEAD")}},
		{"own content type", call("send_local_response", 200, "d", "{}", headerList{"content-type", "application/json", "X-Upper", "U"}, -1), []step{get()}},
		{"own content length", call("send_local_response", 200, "d", "four", headerList{"content-length", "99"}, -1), []step{get()}},
		{"non-UTF-8", call("send_local_response", 200, "d\xff e", "\xff\x00", headerList{"x-bytes", "\xff"}, -1), []step{get()}},
		{"headers that are no map", call("send_local_response", 200, "d", "body", "\x05\x00\x00", -1), []step{get()}},
		{"bad details", call("send_local_response", 200, bad{}, "body", "", -1), []step{get(), answer()}},
		{"bad body", call("send_local_response", 200, "d", bad{}, "", -1), []step{get(), answer()}},
		{"bad headers", call("send_local_response", 200, "d", "body", bad{}, -1), []step{get(), answer()}},
	} {
		cases = append(cases, testCase{name: "local reply/" + r.name, guest: with(on("on_request_headers", r.reply)), steps: r.steps})
	}
	cases = append(cases, testCase{name: "local reply/on the plugin's context", guest: with(
		on("on_configure", call("send_local_response", 403, "", "", "", -1)),
	), steps: []step{get(), answer()}})

	// Pauses, which the answer of a callout ends.
	ask := call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-a"}, "", "", 9000, into("token"))
	resume := func(stream int) callback {
		return on("on_http_call_response", call("set_effective_context", variable("stream")), call("continue_stream", stream))
	}
	remember := on("on_context_create", when(param(1), 1, assign("stream", param(0))))
	for _, p := range []struct {
		callback string
		returns  int
		stream   int
		steps    []step
	}{
		{"on_request_headers", pause, streamRequest, []step{post(), body("one"), peer("a", nil, "", nil), lastBody("two"), answer()}},
		{"on_request_headers", pause, streamRequest, []step{post(), body("one"), trailers("x-t", "1"), peer("a", nil, "", nil), answer()}},
		{"on_request_headers", pause, streamRequest, []step{get(), peer("a", nil, "", nil), answer()}},
		{"on_request_headers", 2, streamRequest, []step{post(), body("one"), peer("a", nil, "", nil), lastBody("two"), answer()}},
		{"on_request_headers", 3, streamRequest, []step{post(), body("one"), peer("a", nil, "", nil), lastBody("two"), answer()}},
		{"on_request_headers", 4, streamRequest, []step{post(), lastBody("one"), peer("a", nil, "", nil), answer()}},
		{"on_request_headers", 99, streamRequest, []step{post(), lastBody("one"), peer("a", nil, "", nil), answer()}},
		{"on_request_body", pause, streamRequest, []step{post(), body("one"), body("two"), peer("a", nil, "", nil), lastBody("three"), answer()}},
		{"on_request_body", pause, streamRequest, []step{post(), lastBody("one"), peer("a", nil, "", nil), answer()}},
		{"on_request_body", pause, streamRequest, []step{post(), body("one"), trailers("x-t", "1"), answer()}},
		{"on_request_body", 2, streamRequest, []step{post(), lastBody("one"), peer("a", nil, "", nil), answer()}},
		{"on_request_body", 3, streamRequest, []step{post(), body("one"), lastBody("two"), peer("a", nil, "", nil), answer()}},
		{"on_request_trailers", pause, streamRequest, []step{post(), body("one"), trailers("x-t", "1"), peer("a", nil, "", nil), answer()}},
		{"on_response_headers", pause, streamResponse, []step{get(), begin(), upBody("one"), peer("a", nil, "", nil), lastUpBody("two")}},
		{"on_response_headers", pause, streamResponse, []step{get(), answer(), peer("a", nil, "", nil)}},
		{"on_response_headers", 2, streamResponse, []step{get(), begin(), lastUpBody("one"), peer("a", nil, "", nil)}},
		{"on_response_body", pause, streamResponse, []step{get(), begin(), upBody("one"), upBody("two"), peer("a", nil, "", nil), lastUpBody("three")}},
		{"on_response_body", pause, streamResponse, []step{get(), begin(), lastUpBody("one"), peer("a", nil, "", nil)}},
		{"on_response_body", 2, streamResponse, []step{get(), begin(), lastUpBody("one"), peer("a", nil, "", nil)}},
		{"on_response_trailers", pause, streamResponse, []step{get(), begin(), upBody("one"), upTrailers("x-u", "1"), peer("a", nil, "", nil)}},
	} {
		for _, stop := range []bool{false, true} {
			if stop && p.callback != "on_request_headers" && p.callback != "on_response_headers" {
				continue
			}
			name := "pause/" + p.callback + " returns " + num(p.returns).label() + ": " + p.steps[len(p.steps)-2].name
			if stop {
				name += ", stop allowed"
			}
			cases = append(cases, testCase{
				name: unique(cases, name), stopOnPause: stop,
				guest: with(remember, resume(p.stream), on(p.callback,
					when(variable("asked"), 0, assign("asked", 1), ask, giveBack(p.returns)),
				)),
				steps: p.steps,
			})
		}
	}
	// Pauses that the next callback ends.
	cases = append(cases,
		testCase{name: "pause/body until its end", guest: with(
			on("on_request_body",
				call("get_buffer_bytes", requestBody, 0, 100, bytesOut),
				when(param(2), 0, giveBack(pause))),
			on("on_response_body",
				call("get_buffer_bytes", responseBody, 0, 100, bytesOut),
				when(param(2), 0, giveBack(pause))),
		), steps: []step{post(), body("one"), body("two"), lastBody("three"), begin(), upBody("four"), lastUpBody("five")}},
		testCase{name: "pause/body until the trailers", guest: with(
			on("on_request_body", giveBack(pause)),
			on("on_request_trailers", call("get_buffer_bytes", requestBody, 0, 100, bytesOut)),
			on("on_response_body", giveBack(pause)),
			on("on_response_trailers", call("get_buffer_bytes", responseBody, 0, 100, bytesOut)),
		), steps: exchange},
		testCase{name: "pause/stop in headers until the body's end", stopOnPause: true, guest: with(
			on("on_request_headers", giveBack(pause)),
			on("on_request_body", when(param(2), 0, giveBack(pause)), call("replace_header_map_value", requestHeaders, "x-late", "1")),
			on("on_response_headers", giveBack(pause)),
			on("on_response_body", when(param(2), 0, giveBack(pause)), call("replace_header_map_value", responseHeaders, "x-late", "1")),
		), steps: []step{post(), body("one"), lastBody("two"), begin(), upBody("three"), lastUpBody("four")}},
		testCase{name: "pause/local reply while paused", guest: with(remember,
			on("on_request_headers", ask, giveBack(pause)),
			on("on_http_call_response", call("set_effective_context", variable("stream")), local),
		), steps: []step{get(), peer("a", nil, "", nil)}},
		testCase{name: "pause/local reply while the response is paused", guest: with(remember,
			on("on_response_headers", ask, giveBack(pause)),
			on("on_http_call_response", call("set_effective_context", variable("stream")), local),
		), steps: []step{get(), answer(), peer("a", nil, "", nil)}},
		testCase{name: "pause/closed while paused", guest: with(remember,
			on("on_request_headers", ask, giveBack(pause)),
			on("on_http_call_response", call("set_effective_context", variable("stream")), call("close_stream", streamRequest)),
		), steps: []step{get(), peer("a", nil, "", nil)}},
		testCase{name: "pause/response closed while paused", guest: with(remember,
			on("on_response_headers", ask, giveBack(pause)),
			on("on_http_call_response", call("set_effective_context", variable("stream")), call("close_stream", streamResponse)),
		), steps: []step{get(), answer(), peer("a", nil, "", nil)}},
		testCase{name: "pause/the client goes while paused", guest: with(remember,
			on("on_request_headers", ask, giveBack(pause)),
			on("on_http_call_response", call("set_effective_context", variable("stream")), call("continue_stream", streamRequest)),
		), steps: []step{get(), cancel(), peer("a", nil, "", nil)}},
		testCase{name: "pause/continued although it was not paused", guest: with(
			on("on_response_headers", call("continue_stream", streamRequest)),
		), steps: []step{get(), answer()}},
	)
	for _, stream := range []int{streamDownstream, 4, -1} {
		cases = append(cases, testCase{name: "stream types/" + num(stream).label(), guest: with(
			on("on_request_headers", call("continue_stream", stream), call("close_stream", stream)),
		), steps: []step{get(), answer()}})
	}
	cases = append(cases,
		testCase{name: "stream types/continue upstream", guest: with(
			on("on_request_headers", call("continue_stream", streamUpstream)),
		), steps: []step{get(), answer()}},
		testCase{name: "stream types/close the request", guest: with(
			on("on_request_headers", call("close_stream", streamRequest)),
		), steps: []step{get()}},
		testCase{name: "stream types/close the response", guest: with(
			on("on_response_headers", call("close_stream", streamResponse)),
		), steps: []step{get(), begin()}},
		testCase{name: "stream types/close on the plugin's context", guest: with(
			on("on_configure", call("close_stream", streamRequest), call("close_stream", streamResponse), call("continue_stream", streamRequest)),
		), steps: []step{get(), answer()}},
	)
	return cases
}

// unique numbers a name that is there already.
func unique(cases []testCase, name string) string {
	taken := func(s string) bool {
		for _, c := range cases {
			if c.name == s {
				return true
			}
		}
		return false
	}
	if !taken(name) {
		return name
	}
	for i := int64(2); ; i++ {
		if s := name + " (" + num(i).label() + ")"; !taken(s) {
			return s
		}
	}
}
