package wasmhost

import (
	"fmt"
	"strconv"
	"strings"
)

// CrossingKind says in which direction the border between host and guest was crossed.
type CrossingKind int

// The kinds of crossings.
const (
	// CallbackBegins: the host calls an export of the guest; the guest has not run yet.
	CallbackBegins CrossingKind = iota
	// CallbackEnds: the guest has returned from it, or has crashed in it.
	CallbackEnds
	// HostCallEnds: the guest has called a host function, which has done its work.
	HostCallEnds
)

// Crossing is one call over the border between host and guest. It is valid during the call of the observer that it is given to.
type Crossing struct {
	Kind CrossingKind
	// Function is the name of the export, or of the host function without its module. The guest's allocator is "malloc".
	Function string
	// Args are the arguments.
	Args []uint64
	// Result is what came back; 0 while a callback begins, and where there is no result.
	Result uint64

	in *instance
}

// observe tells the VM's observer.
func (in *instance) observe(kind CrossingKind, function string, args []uint64, result uint64) {
	in.vm.cfg.Observe(&Crossing{Kind: kind, Function: function, Args: args, Result: result, in: in})
}

// observed runs a host function and tells the VM's observer.
func (in *instance) observed(f hostFunction, stack []uint64) {
	args := append([]uint64(nil), stack[:len(f.typ().params)]...)
	f.call(in, stack)
	var result uint64
	if len(f.typ().results) > 0 {
		result = stack[0]
	}
	in.observe(HostCallEnds, f.name, args, result)
}

// Given is how many bytes the host is about to put into memory that it takes from the guest's allocator: what the guest has
// to collect later. It is 0 for every crossing but the begin of malloc.
func (c *Crossing) Given() int {
	if c.Kind == CallbackBegins && c.Function == "malloc" {
		return int(uint32(c.Args[0]))
	}
	return 0
}

// Memory is the size of the guest's memory at the moment, in bytes.
func (c *Crossing) Memory() int64 { return int64(c.in.mem.Size()) }

// maxShownBytes is how much of one value String shows, in bytes.
const maxShownBytes = 256

// String writes the crossing on one line, with the contents of the guest's memory that arguments point to. Of a proxy-wasm host
// function it names maps, buffers and status, and shows what the guest got; ids and times, which differ from run to run, are left
// out. Everything else is shown as numbers.
func (c *Crossing) String() string {
	if c.Kind != HostCallEnds {
		form, ok := callbackForms[c.Function]
		if c.Kind == CallbackEnds {
			if result, ok := callbackResults[c.Function]; ok {
				return c.Function + " = " + result(c.Result)
			}
			return c.Function
		}
		if !ok {
			return c.Function + "(" + numbers(c.Args) + ")"
		}
		shown, _ := c.render(form)
		return c.Function + "(" + shown + ")"
	}
	form, ok := hostForms[c.Function]
	if !ok {
		return fmt.Sprintf("%s(%s) = %d", c.Function, numbers(c.Args), c.Result)
	}
	shown, got := c.render(form)
	line := c.Function + "(" + shown + ") = " + Status(c.Result).String()
	if got != "" && Status(c.Result) == StatusOK {
		line += " " + got
	}
	return line
}

// render shows what goes in, and what came out.
func (c *Crossing) render(form string) (in, out string) {
	var ins, outs []string
	args := c.Args
	next := func() uint64 {
		if len(args) == 0 {
			return 0
		}
		a := args[0]
		args = args[1:]
		return a
	}
	for _, kind := range strings.Fields(form) {
		switch kind {
		case "_":
			next()
		case "n":
			ins = append(ins, strconv.FormatInt(int64(int32(next())), 10))
		case "end":
			ins = append(ins, "end="+strconv.FormatBool(next() != 0))
		case "size", "headers", "trailers":
			ins = append(ins, kind+"="+strconv.FormatUint(uint64(uint32(next())), 10))
		case "map":
			ins = append(ins, nameOr(mapNames, next()))
		case "buffer":
			ins = append(ins, nameOr(bufferNames, next()))
		case "stream":
			ins = append(ins, nameOr([]string{"request", "response", "downstream", "upstream"}, next()))
		case "level":
			ins = append(ins, LogLevel(next()).String())
		case "metric":
			ins = append(ins, MetricType(next()).String())
		case "text":
			ins = append(ins, c.text(next(), next()))
		case "pairs":
			ins = append(ins, c.pairs(next(), next()))
		case "text!":
			outs = append(outs, c.text(c.pointed(next()), c.pointed(next())))
		case "pairs!":
			outs = append(outs, c.pairs(c.pointed(next()), c.pointed(next())))
		case "n!":
			outs = append(outs, strconv.FormatUint(c.pointed(next()), 10))
		}
	}
	return strings.Join(ins, ", "), strings.Join(outs, " ")
}

// pointed is the number that a pointer of the guest's leads to.
func (c *Crossing) pointed(ptr uint64) uint64 {
	v, _ := c.in.mem.ReadUint32Le(uint32(ptr))
	return uint64(v)
}

func (c *Crossing) text(ptr, size uint64) string {
	b, ok := c.in.read(ptr, size)
	if !ok {
		return "out of bounds"
	}
	if len(b) > maxShownBytes {
		return fmt.Sprintf("%q and %d bytes more", b[:maxShownBytes], len(b)-maxShownBytes)
	}
	return strconv.Quote(string(b))
}

func (c *Crossing) pairs(ptr, size uint64) string {
	b, ok := c.in.read(ptr, size)
	if !ok {
		return "out of bounds"
	}
	var shown []string
	for _, h := range parsePairs(b) {
		shown = append(shown, h.Name+": "+strconv.Quote(h.Value))
	}
	return "{" + strings.Join(shown, ", ") + "}"
}

func nameOr(names []string, index uint64) string {
	if i := uint32(index); int(i) < len(names) {
		return names[i]
	}
	return strconv.FormatUint(uint64(uint32(index)), 10)
}

func numbers(args []uint64) string {
	shown := make([]string, len(args))
	for i, a := range args {
		shown[i] = strconv.FormatUint(uint64(uint32(a)), 10)
	}
	return strings.Join(shown, ", ")
}

var (
	mapNames = []string{
		"request headers", "request trailers", "response headers", "response trailers", "gRPC initial metadata",
		"gRPC trailing metadata", "callout headers", "callout trailers",
	}
	bufferNames = []string{
		"request body", "response body", "downstream data", "upstream data", "callout body", "gRPC message", "VM configuration",
		"plugin configuration", "call data",
	}
)

// hostForms say what the arguments of host functions are. "_" is left out: an id that the host chose, a time, or a pointer to one. A
// name with "!" is a pointer to what the guest gets; text and pairs are a pointer and a size each.
var hostForms = map[string]string{
	"proxy_log":                          "level text",
	"proxy_get_log_level":                "n!",
	"proxy_get_status":                   "n! text!",
	"proxy_done":                         "",
	"proxy_set_effective_context":        "_",
	"proxy_set_tick_period_milliseconds": "n",
	"proxy_get_current_time_nanoseconds": "_",
	"proxy_get_property":                 "text text!",
	"proxy_set_property":                 "text text",
	"proxy_get_configuration":            "text!",
	"proxy_get_buffer_bytes":             "buffer n n text!",
	"proxy_get_buffer_status":            "buffer n! _",
	"proxy_set_buffer_bytes":             "buffer n n text",
	"proxy_get_header_map_size":          "map n!",
	"proxy_get_header_map_pairs":         "map pairs!",
	"proxy_set_header_map_pairs":         "map pairs",
	"proxy_get_header_map_value":         "map text text!",
	"proxy_add_header_map_value":         "map text text",
	"proxy_replace_header_map_value":     "map text text",
	"proxy_remove_header_map_value":      "map text",
	"proxy_continue_stream":              "stream",
	"proxy_close_stream":                 "stream",
	"proxy_continue_request":             "",
	"proxy_continue_response":            "",
	"proxy_clear_route_cache":            "",
	"proxy_send_local_response":          "n text text pairs n",
	"proxy_http_call":                    "text pairs text pairs n _",
	"proxy_grpc_call":                    "text text text pairs text n _",
	"proxy_grpc_stream":                  "text text text pairs _",
	"proxy_grpc_send":                    "_ text end",
	"proxy_grpc_cancel":                  "_",
	"proxy_grpc_close":                   "_",
	"proxy_get_shared_data":              "text text! _",
	"proxy_set_shared_data":              "text text _",
	"proxy_register_shared_queue":        "text _",
	"proxy_resolve_shared_queue":         "text text _",
	"proxy_dequeue_shared_queue":         "_ text!",
	"proxy_enqueue_shared_queue":         "_ text",
	"proxy_define_metric":                "metric text _",
	"proxy_increment_metric":             "_ n",
	"proxy_record_metric":                "_ n",
	"proxy_get_metric":                   "_ n!",
	"proxy_call_foreign_function":        "text text text!",
}

// callbackForms say what the arguments of callbacks are, contexts and tokens left out.
var callbackForms = map[string]string{
	"proxy_on_context_create":                 "",
	"proxy_on_vm_start":                       "_ size",
	"proxy_on_configure":                      "_ size",
	"proxy_on_tick":                           "",
	"proxy_on_request_headers":                "_ headers end",
	"proxy_on_request_body":                   "_ size end",
	"proxy_on_request_trailers":               "_ trailers",
	"proxy_on_response_headers":               "_ headers end",
	"proxy_on_response_body":                  "_ size end",
	"proxy_on_response_trailers":              "_ trailers",
	"proxy_on_http_call_response":             "_ _ headers size trailers",
	"proxy_on_queue_ready":                    "",
	"proxy_on_done":                           "",
	"proxy_on_log":                            "",
	"proxy_on_delete":                         "",
	"proxy_on_new_connection":                 "",
	"proxy_on_downstream_data":                "_ size end",
	"proxy_on_upstream_data":                  "_ size end",
	"proxy_on_downstream_connection_close":    "_ n",
	"proxy_on_upstream_connection_close":      "_ n",
	"proxy_on_grpc_receive_initial_metadata":  "_ _ headers",
	"proxy_on_grpc_receive":                   "_ _ size",
	"proxy_on_grpc_receive_trailing_metadata": "_ _ trailers",
	"proxy_on_grpc_close":                     "_ _ n",
	"proxy_on_foreign_function":               "_ n size",
}

// callbackResults show what callbacks return, of those that return something.
var callbackResults = map[string]func(uint64) string{
	"proxy_on_vm_start":          truth,
	"proxy_on_configure":         truth,
	"proxy_on_done":              truth,
	"proxy_on_request_headers":   action,
	"proxy_on_request_body":      action,
	"proxy_on_request_trailers":  action,
	"proxy_on_response_headers":  action,
	"proxy_on_response_body":     action,
	"proxy_on_response_trailers": action,
	"proxy_on_new_connection":    action,
	"proxy_on_downstream_data":   action,
	"proxy_on_upstream_data":     action,
}

func truth(v uint64) string { return strconv.FormatBool(uint32(v) != 0) }

func action(v uint64) string {
	return nameOr([]string{"Continue", "Pause", "EndStream", "Done", "StopAllAndBuffer", "StopAllAndWatermark"}, v)
}
