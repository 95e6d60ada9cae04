package conformance

import "time"

// tickWait is long enough for a tick of 300 ms.
const tickWait = 350 * time.Millisecond

// bufferCases are about bodies and the configurations.
func bufferCases() []testCase {
	read := func(t int) []statement {
		return []statement{
			call("get_buffer_status", t, numberOut, numberOut),
			call("get_buffer_bytes", t, 0, 100, bytesOut),
			call("get_buffer_bytes", t, 0, 0, bytesOut),
			call("get_buffer_bytes", t, 1, 2, bytesOut),
			call("get_buffer_bytes", t, 3, 100, bytesOut),
			call("get_buffer_bytes", t, 4, 100, bytesOut),
			call("get_buffer_bytes", t, 100, 100, bytesOut),
			call("get_buffer_bytes", t, 1, -1, bytesOut),
			call("get_buffer_bytes", t, -1, -1, bytesOut),
			call("get_buffer_bytes", t, -1, 1, bytesOut),
			call("get_buffer_bytes", t, 0, 100, badOut{}, badOut{}),
			call("get_buffer_bytes", t, 0, 0, badOut{}, badOut{}),
			call("get_buffer_status", t, badOut{}, badOut{}),
			call("get_buffer_status", t, numberOut, badOut{}),
		}
	}
	var cases []testCase
	both := []step{post(), lastBody("four"), begin(), lastUpBody("four")}
	cases = append(cases,
		testCase{name: "buffers/read bodies", guest: with(on("on_request_body", read(requestBody)...), on("on_response_body", read(responseBody)...)), steps: both},
		testCase{name: "buffers/read configurations", config: "plug", vmConfig: "vmvm", guest: with(
			on("on_vm_start", append(read(vmConfiguration), read(pluginConfiguration)...)...),
			on("on_configure", append(read(vmConfiguration), read(pluginConfiguration)...)...),
		)},
		testCase{name: "buffers/non-UTF-8 configurations", config: "é\u2028", vmConfig: "é\u2028", guest: with(
			on("on_vm_start", call("get_buffer_bytes", vmConfiguration, 0, 100, bytesOut)),
			on("on_configure", call("get_buffer_bytes", pluginConfiguration, 0, 100, bytesOut)),
		)},
		testCase{name: "buffers/empty configurations", guest: with(
			on("on_vm_start", append(read(vmConfiguration), read(pluginConfiguration)...)...),
			on("on_configure", append(read(vmConfiguration), read(pluginConfiguration)...)...),
		)},
		testCase{name: "buffers/configurations cannot be changed", config: "plug", vmConfig: "vmvm", guest: with(
			on("on_configure",
				call("set_buffer_bytes", pluginConfiguration, 0, 4, "x"),
				call("set_buffer_bytes", vmConfiguration, 0, 4, "x"),
				call("get_buffer_bytes", pluginConfiguration, 0, 100, bytesOut),
				call("get_buffer_bytes", vmConfiguration, 0, 100, bytesOut)),
		)},
		testCase{name: "buffers/types", guest: with(on("on_request_body",
			call("get_buffer_bytes", 8, 0, 1, bytesOut), call("get_buffer_bytes", 9, 0, 1, bytesOut), call("get_buffer_bytes", -1, 0, 1, bytesOut),
			call("get_buffer_status", 9, numberOut, numberOut), call("set_buffer_bytes", 9, 0, 1, "x"),
			call("set_buffer_bytes", 9, 0, 1, bad{}), call("set_buffer_bytes", requestBody, 0, 1, bad{}),
			call("get_buffer_bytes", requestBody, 0, 100, bytesOut),
		)), steps: both},
		testCase{name: "buffers/empty frames", guest: with(on("on_request_body", read(requestBody)...), on("on_response_body", read(responseBody)...)),
			steps: []step{post(), body("x"), lastBody(""), begin(), upBody("x"), lastUpBody("")}},
	)
	for _, s := range []struct {
		name          string
		start, length int
		data          string
	}{
		{"all", 0, 4, "replaced"},
		{"all, to nothing", 0, 4, ""},
		{"more than all", 0, 100, "replaced"},
		{"the first two", 0, 2, "xyz"},
		{"prepend", 0, 0, "pre"},
		{"append", 4, 0, "post"},
		{"append far behind", 1000, 0, "post"},
		{"append with a length", 4, 10, "post"},
		{"the middle", 1, 2, "xyz"},
		{"negative start", -1, 0, "xyz"},
		{"negative length", 0, -1, "xyz"},
		{"bytes", 0, 4, "\x00\xff\x00"},
	} {
		set := func(t int) []statement {
			return []statement{
				call("set_buffer_bytes", t, s.start, s.length, s.data),
				call("get_buffer_bytes", t, 0, 100, bytesOut),
				call("get_buffer_status", t, numberOut, numberOut),
			}
		}
		cases = append(cases, testCase{name: "buffers/set: " + s.name, guest: with(
			on("on_request_body", set(requestBody)...), on("on_response_body", set(responseBody)...),
		), steps: both})
	}
	cases = append(cases,
		testCase{name: "buffers/set while buffering", guest: with(
			on("on_request_body",
				when(param(2), 0, giveBack(pause)),
				call("get_buffer_bytes", requestBody, 0, 100, bytesOut),
				call("set_buffer_bytes", requestBody, 0, 100, "instead")),
			on("on_response_body",
				when(param(2), 0, giveBack(pause)),
				call("get_buffer_bytes", responseBody, 0, 100, bytesOut),
				call("set_buffer_bytes", responseBody, 0, 100, "instead")),
		), steps: []step{post(), body("one"), lastBody("two"), begin(), upBody("three"), lastUpBody("four")}},
		testCase{name: "buffers/each piece replaced", guest: with(
			on("on_request_body", call("set_buffer_bytes", requestBody, 0, 100, "[piece]")),
			on("on_response_body", call("set_buffer_bytes", responseBody, 0, 100, "[piece]")),
		), steps: []step{post(), body("one"), lastBody("two"), begin(), upBody("three"), lastUpBody("four")}},
	)
	return cases
}
