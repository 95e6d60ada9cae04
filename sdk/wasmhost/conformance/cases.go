package conformance

// allCases are the cases of the suite, group by group.
func allCases() []testCase {
	var all []testCase
	for _, group := range [][]testCase{orderCases(), mapCases(), bufferCases(), calloutCases(), stateCases(), signatureCases(), wasiCases(), startCases(), failureCases(), networkCases()} {
		all = append(all, group...)
	}
	return all
}

// everyCallback exports all callbacks of an HTTP filter, each of which only says that it ran.
func everyCallback() []callback {
	var out []callback
	for _, name := range []string{
		"on_context_create", "on_vm_start", "validate_configuration", "on_configure", "on_tick", "on_queue_ready", "on_foreign_function",
		"on_done", "on_log", "on_delete", "on_new_connection", "on_downstream_data", "on_upstream_data", "on_downstream_connection_close",
		"on_upstream_connection_close", "on_request_headers", "on_request_body", "on_request_trailers", "on_request_metadata",
		"on_response_headers", "on_response_body", "on_response_trailers", "on_response_metadata", "on_http_call_response",
		"on_grpc_receive", "on_grpc_close", "on_grpc_receive_initial_metadata", "on_grpc_receive_trailing_metadata",
	} {
		out = append(out, on(name))
	}
	return out
}

// with is all callbacks, some of which do something.
func with(special ...callback) guest {
	all := everyCallback()
	for _, s := range special {
		found := false
		for i := range all {
			if all[i].name == s.name {
				all[i], found = s, true
			}
		}
		if !found {
			all = append(all, s)
		}
	}
	return guest{callbacks: all}
}

// quiet is with, for guests that read what is not always as long.
func quiet(special ...callback) guest {
	g := with(special...)
	g.quietMalloc = true
	return g
}
