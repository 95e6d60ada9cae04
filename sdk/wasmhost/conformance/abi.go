package conformance

// hostFunctions are the 39 host functions of the ABI's versions 0.2.0 and 0.2.1 with their types (proxy-wasm-cpp-host, exports.h), and
// after them the four that only version 0.1.0 has.
var hostFunctions = map[string]string{
	"proxy_log":                          "iii:i",
	"proxy_get_log_level":                "i:i",
	"proxy_get_status":                   "iii:i",
	"proxy_done":                         ":i",
	"proxy_set_effective_context":        "i:i",
	"proxy_set_tick_period_milliseconds": "i:i",
	"proxy_get_current_time_nanoseconds": "i:i",
	"proxy_get_property":                 "iiii:i",
	"proxy_set_property":                 "iiii:i",
	"proxy_get_buffer_bytes":             "iiiii:i",
	"proxy_get_buffer_status":            "iii:i",
	"proxy_set_buffer_bytes":             "iiiii:i",
	"proxy_get_header_map_size":          "ii:i",
	"proxy_get_header_map_pairs":         "iii:i",
	"proxy_set_header_map_pairs":         "iii:i",
	"proxy_get_header_map_value":         "iiiii:i",
	"proxy_add_header_map_value":         "iiiii:i",
	"proxy_replace_header_map_value":     "iiiii:i",
	"proxy_remove_header_map_value":      "iii:i",
	"proxy_continue_stream":              "i:i",
	"proxy_close_stream":                 "i:i",
	"proxy_send_local_response":          "iiiiiiii:i",
	"proxy_http_call":                    "iiiiiiiiii:i",
	"proxy_grpc_call":                    "iiiiiiiiiiii:i",
	"proxy_grpc_stream":                  "iiiiiiiii:i",
	"proxy_grpc_send":                    "iiii:i",
	"proxy_grpc_cancel":                  "i:i",
	"proxy_grpc_close":                   "i:i",
	"proxy_get_shared_data":              "iiiii:i",
	"proxy_set_shared_data":              "iiiii:i",
	"proxy_register_shared_queue":        "iii:i",
	"proxy_resolve_shared_queue":         "iiiii:i",
	"proxy_dequeue_shared_queue":         "iii:i",
	"proxy_enqueue_shared_queue":         "iii:i",
	"proxy_define_metric":                "iiii:i",
	"proxy_increment_metric":             "il:i",
	"proxy_record_metric":                "il:i",
	"proxy_get_metric":                   "ii:i",
	"proxy_call_foreign_function":        "iiiiii:i",
}

// oldHostFunctions are those that only modules of ABI 0.1.0 get.
var oldHostFunctions = map[string]string{
	"proxy_get_configuration": "ii:i",
	"proxy_continue_request":  ":i",
	"proxy_continue_response": ":i",
	"proxy_clear_route_cache": ":i",
}

// emscriptenFunctions are offered to modules from Emscripten.
var emscriptenFunctions = map[string]string{
	"pthread_equal":                   "ii:i",
	"emscripten_notify_memory_growth": "i",
}

// wasiFunctions are WASI's, with the types of Envoy's host; 18 of them up to Envoy 1.38, all of them from 1.39 on. Its path_link and
// path_symlink have a parameter less than WASI's.
var wasiFunctions = map[string]string{
	"fd_write": "iiii:i", "fd_read": "iiii:i", "fd_seek": "ilii:i", "fd_close": "i:i", "fd_fdstat_get": "ii:i",
	"fd_fdstat_set_flags": "ii:i", "fd_prestat_get": "ii:i", "fd_prestat_dir_name": "iii:i", "path_open": "iiiiillii:i",
	"environ_get": "ii:i", "environ_sizes_get": "ii:i", "args_get": "ii:i", "args_sizes_get": "ii:i", "clock_time_get": "ili:i",
	"random_get": "ii:i", "proc_exit": "i", "sched_yield": ":i", "poll_oneoff": "iiii:i",

	"fd_fdstat_set_rights": "ill:i", "clock_res_get": "ii:i", "fd_advise": "illi:i", "fd_allocate": "ill:i", "fd_datasync": "i:i",
	"fd_filestat_get": "ii:i", "fd_filestat_set_size": "il:i", "fd_filestat_set_times": "illi:i", "fd_pread": "iiili:i",
	"fd_pwrite": "iiili:i", "fd_readdir": "iiili:i", "fd_renumber": "ii:i", "fd_sync": "i:i", "fd_tell": "ii:i",
	"path_create_directory": "iii:i", "path_filestat_get": "iiiii:i", "path_filestat_set_times": "iiiilli:i", "path_link": "iiiiii:i",
	"path_readlink": "iiiiii:i", "path_remove_directory": "iii:i", "path_rename": "iiiiii:i", "path_symlink": "iiii:i",
	"path_unlink_file": "iii:i", "sock_accept": "iii:i", "sock_recv": "iiiiii:i", "sock_send": "iiiii:i", "sock_shutdown": "ii:i",
}

// callbacks are the functions that the host calls, with their types. Those of headers have one parameter less in ABI 0.1.0.
var callbacks = map[string]string{
	"proxy_on_context_create":                 "ii",
	"proxy_on_vm_start":                       "ii:i",
	"proxy_validate_configuration":            "ii:i",
	"proxy_on_configure":                      "ii:i",
	"proxy_on_tick":                           "i",
	"proxy_on_queue_ready":                    "ii",
	"proxy_on_foreign_function":               "iii",
	"proxy_on_done":                           "i:i",
	"proxy_on_log":                            "i",
	"proxy_on_delete":                         "i",
	"proxy_on_new_connection":                 "i:i",
	"proxy_on_downstream_data":                "iii:i",
	"proxy_on_upstream_data":                  "iii:i",
	"proxy_on_downstream_connection_close":    "ii",
	"proxy_on_upstream_connection_close":      "ii",
	"proxy_on_request_headers":                "iii:i",
	"proxy_on_request_body":                   "iii:i",
	"proxy_on_request_trailers":               "ii:i",
	"proxy_on_request_metadata":               "ii:i",
	"proxy_on_response_headers":               "iii:i",
	"proxy_on_response_body":                  "iii:i",
	"proxy_on_response_trailers":              "ii:i",
	"proxy_on_response_metadata":              "ii:i",
	"proxy_on_http_call_response":             "iiiii",
	"proxy_on_grpc_receive":                   "iii",
	"proxy_on_grpc_close":                     "iii",
	"proxy_on_grpc_receive_initial_metadata":  "iii",
	"proxy_on_grpc_receive_trailing_metadata": "iii",
}

// lifecycle are the functions besides that the host calls to start a module.
var lifecycle = map[string]string{
	"_initialize": "", "_start": "", "main": "ii:i", "__main_void": ":i",
}

// yes are the callbacks whose result is a boolean; a guest of the suite returns true from them unless a case says otherwise.
var yes = map[string]bool{
	"proxy_on_vm_start": true, "proxy_on_configure": true, "proxy_validate_configuration": true, "proxy_on_done": true,
}

// statusOK is what a host function returns that did what it was asked.
const statusOK = 0

// Types of maps, buffers and streams (proxy-wasm-cpp-host, common.h).
const (
	requestHeaders       = 0
	requestTrailers      = 1
	responseHeaders      = 2
	responseTrailers     = 3
	grpcInitialMetadata  = 4
	grpcTrailingMetadata = 5
	calloutHeaders       = 6
	calloutTrailers      = 7

	requestBody         = 0
	responseBody        = 1
	downstreamData      = 2
	upstreamData        = 3
	calloutBody         = 4
	grpcMessage         = 5
	vmConfiguration     = 6
	pluginConfiguration = 7

	streamRequest    = 0
	streamResponse   = 1
	streamDownstream = 2
	streamUpstream   = 3
)

// pause is what a callback returns to hold its stream.
const pause = 1
