package conformance

import (
	"slices"
	"time"
)

// afterBackoff is longer than the time that Envoy lets pass between two starts of a VM, with what it adds by chance.
const afterBackoff = reloadBackoff*3/2 + 200*time.Millisecond

// failureCases are about crashes, failure policies and restricted capabilities.
func failureCases() []testCase {
	var cases []testCase
	exchange := []step{post("x-a", "1"), body("one"), trailers("x-t", "1"), begin("x-b", "2"), upBody("two"), upTrailers("x-u", "2")}
	crashing := []string{
		"on_context_create", "on_request_headers", "on_request_body", "on_request_trailers", "on_response_headers", "on_response_body",
		"on_response_trailers", "on_log", "on_done", "on_delete",
	}
	for _, policy := range []string{policyClosed, policyOpen, policyReload} {
		// The first stream has context 2, in each VM.
		traps := when(param(0), 2, trap)
		for _, name := range crashing {
			c := testCase{name: "crash/" + policy + " in " + name, policy: policy, guest: with(on(name, traps))}
			switch {
			case policy != policyReload:
				c.steps = slices.Concat(exchange, []step{get("x-again", "1"), answer()})
			case slices.Contains([]string{"on_request_headers", "on_response_body", "on_log"}, name):
				// The fresh VM crashes as well, and may not start again at once.
				c.steps = slices.Concat([]step{wait(afterBackoff)}, exchange, []step{
					get("x-again", "1"), answer(), get("x-again", "2"), answer(), wait(afterBackoff), get("x-again", "3"), answer(),
				})
			default:
				continue
			}
			cases = append(cases, c)
		}
		cases = append(cases,
			testCase{name: "crash/" + policy + " in on_tick", policy: policy, guest: with(
				on("on_request_headers", when(variable("begun"), 0, assign("begun", 1), call("set_tick_period_milliseconds", 300))),
				on("on_tick", trap),
			), steps: []step{wait(afterBackoff), get(), answer(), wait(tickWait), get(), answer()}},
			testCase{name: "crash/" + policy + " in on_http_call_response", policy: policy, guest: quiet(
				on("on_request_headers",
					call("http_call", clusterPeer, headerList{":method", "GET", ":path", "/", ":authority", "$case-a"}, "", "", 9000, numberOut), giveBack(pause)),
				on("on_http_call_response", trap),
			), steps: []step{get(), peer("a", nil, "", nil), cancel()}},
		)
	}
	minimal := []string{"proxy_log", "proxy_on_request_headers", "proxy_on_context_create", "proxy_on_response_headers"}
	cases = append(cases,
		testCase{name: "crash/division by zero", guest: with(on("on_request_headers", raw{0x41, 1, 0x41, 0, 0x6e, opDrop})), steps: []step{get()}},
		testCase{name: "crash/memory out of bounds", guest: with(on("on_request_headers", raw{0x41, 0x7f, 0x28, 0, 0, opDrop})), steps: []step{get()}},
		testCase{name: "crash/after a local reply", guest: with(on("on_request_headers", call("send_local_response", 403, "", "no", "", -1), trap)), steps: []step{get()}},
		testCase{name: "crash/of a stream beside another", guest: with(
			on("on_request_headers", when(param(0), 3, trap), giveBack(pause))), steps: []step{get(), get()}},

		testCase{name: "capabilities/few", capabilities: minimal, guest: with(on("on_request_headers",
			call("get_header_map_value", requestHeaders, "x-a", bytesOut),
			call("get_current_time_nanoseconds", numberOut),
			call("send_local_response", 403, "", "", "", -1),
			call("done"), call("set_tick_period_milliseconds", 10),
			call("wasi.fd_write", 1, 2048, 0, 2048), call("wasi.random_get", 2048, 8), call("wasi.sched_yield"), call("wasi.proc_exit", 0),
			pthreadEqual{1, 1},
		)), steps: exchange},
		testCase{name: "capabilities/WASI too", capabilities: append(slices.Clone(minimal), "fd_write", "sched_yield"), guest: with(on("on_request_headers",
			call("wasi.fd_write", 1, 2048, 0, 2048), call("wasi.random_get", 2048, 8), call("wasi.sched_yield"),
		)), steps: exchange},
		testCase{name: "capabilities/no callbacks", capabilities: []string{"proxy_log"}, guest: with(), steps: exchange},
		testCase{name: "capabilities/names that do not exist", capabilities: append(slices.Clone(minimal), "no such name"), guest: with(), steps: exchange},
		testCase{name: "capabilities/malloc is never restricted", capabilities: append(slices.Clone(minimal), "proxy_get_header_map_value"), guest: with(
			on("on_request_headers", call("get_header_map_value", requestHeaders, "x-a", bytesOut))), steps: exchange},
	)
	return cases
}
