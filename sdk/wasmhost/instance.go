package wasmhost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// instance is one running copy of a module: what Envoy's host calls a WasmBase. One goroutine at a time uses it.
type instance struct {
	vm     *VM
	module *Module
	mod    api.Module
	mem    api.Memory
	ctx    *guestCtx
	fn     guestFuncs

	contexts  contextTable
	vmContext *guestContext // id 0
	nextID    uint32

	current   *guestContext // the context of the running callback; nil between callbacks
	effective uint32        // set by set_effective_context for the running callback; 0 for none
	allowed   []string      // while a restricted call runs: the only functions the guest may call
	limited   bool
	guarded   bool // a host call must be checked: limited, or the VM has restricted capabilities

	stopIteration bool     // a local reply was sent: whatever the callback returns, iteration stops
	after         []func() // to do when the running callback has returned

	nextHTTPCall, nextGRPCCall, nextGRPCStream uint32
	metrics                                    instanceMetrics

	// The arguments and the result of each running call, the outermost first: one that calls back, or allocates, has others inside.
	stack [maxDepth * maxArgs]uint64
	depth int

	failure  *TrapError // the first crash; everything after it does nothing
	deadline *deadline
	stderr   []byte // what the guest said at error level in the running callback, for TrapError
}

const (
	maxArgs  = 8  // of a guest's export, at least 1 for the result
	maxDepth = 64 // of calls inside calls
)

var errTooDeep = errors.New("calls into the guest inside calls into the guest, without an end")

// guestFuncs are the exports that the host calls. One that the module does not export is nil.
type guestFuncs struct {
	malloc                                            api.Function
	contextCreate, vmStart, configure, tick           api.Function
	requestHeaders, requestBody, requestTrailers      api.Function
	responseHeaders, responseBody, responseTrailers   api.Function
	httpCallResponse, queueReady, done, onLog, delete api.Function
	grpcReceive, grpcClose, grpcInitial, grpcTrailing guestFunc

	newConnection, downstreamData, upstreamData guestFunc
	downstreamClose, upstreamClose              guestFunc
	requestMetadata, responseMetadata           guestFunc
	foreignFunction, validate                   guestFunc
}

// guestFunc is an export of the guest; nil if it has none, or if it may not be called.
type guestFunc = api.Function

// headers, body and trailers give the callback of a direction, and its name.
func (f *guestFuncs) headers(d int) (api.Function, string) {
	if d == request {
		return f.requestHeaders, "proxy_on_request_headers"
	}
	return f.responseHeaders, "proxy_on_response_headers"
}

func (f *guestFuncs) body(d int) (api.Function, string) {
	if d == request {
		return f.requestBody, "proxy_on_request_body"
	}
	return f.responseBody, "proxy_on_response_body"
}

func (f *guestFuncs) trailers(d int) (api.Function, string) {
	if d == request {
		return f.requestTrailers, "proxy_on_request_trailers"
	}
	return f.responseTrailers, "proxy_on_response_trailers"
}

// guestCtx is the context that guest code runs with: it leads host functions to their instance without a lookup.
type guestCtx struct {
	context.Context
	in *instance
}

// hostCall makes a host function that finds its instance and refuses what is not allowed at the moment.
func hostCall(f hostFunction) api.GoModuleFunc {
	return func(ctx context.Context, _ api.Module, stack []uint64) {
		in := ctx.(*guestCtx).in
		if in.guarded {
			if in.limited && !slices.Contains(in.allowed, f.name) {
				panic(restrictedCallback{f.name})
			}
			if !in.vm.capabilities.allow(f.name) && !alwaysAllowed[f.name] {
				denied(in, f, stack)
				return
			}
		}
		if in.vm.cfg.Observe != nil {
			in.observed(f, stack)
			return
		}
		f.call(in, stack)
	}
}

// restrictedCallback is what the guest traps with when it calls a function that it may not call now.
type restrictedCallback struct{ name string }

func (r restrictedCallback) Error() string { return "restricted_callback: " + r.name }

// newInstance instantiates the module and runs its _initialize and main, or its _start.
func newInstance(ctx context.Context, vm *VM) (*instance, error) {
	in := &instance{
		vm: vm, module: vm.module,
		nextID:  1,
		metrics: newInstanceMetrics(),

		nextGRPCCall:   1,
		nextGRPCStream: 2,
	}
	in.ctx = &guestCtx{Context: context.Background(), in: in}
	in.deadline = newDeadline(vm.module.host.cfg.Deadline)
	in.vmContext = &guestContext{in: in, rootState: &rootState{}}
	in.vmContext.root = in.vmContext
	in.contexts.put(in.vmContext)

	imports := vm.module.imports
	rctx := experimental.WithImportResolver(ctx, func(name string) api.Module { return imports[name] })
	profile := vm.module.profile
	mod, err := vm.module.host.runtime.InstantiateModule(rctx, vm.module.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, in.trap("start", err)
	}
	in.mod, in.mem = mod, mod.Memory()
	if in.mem == nil {
		_ = mod.Close(ctx)
		return nil, &ExportError{Name: "memory", Want: "memory"}
	}
	in.bind()
	in.deadline.interrupt = mod.ExportedGlobal(exportInterrupt).(api.MutableGlobal)

	run := func(name string, args ...uint64) error {
		f := mod.ExportedFunction(name)
		if f == nil {
			return nil
		}
		in.restrict(profile.initAllowed)
		in.call(ctx, in.vmContext, name, f, args...)
		return in.err()
	}
	err = run(exportStart)
	switch {
	case err != nil:
	case mod.ExportedFunction("_initialize") == nil:
		err = run("_start")
	default:
		if err = run("_initialize"); err != nil {
			break
		}
		if mod.ExportedFunction("main") != nil {
			err = run("main", 0, 0)
		} else if profile.mainVoid {
			err = run("__main_void")
		}
	}
	in.unrestrict()
	if err != nil {
		in.close(ctx)
		return nil, err
	}
	return in, nil
}

func (in *instance) err() error {
	if in.failure != nil {
		return in.failure
	}
	return nil
}

func (in *instance) restrict(names []string) { in.limited, in.allowed, in.guarded = true, names, true }
func (in *instance) unrestrict() {
	in.limited, in.allowed, in.guarded = false, nil, in.vm.capabilities != nil
}

// bind looks up the exports. One that is left out, or that the VM's capabilities do not allow, is as if it were not there.
func (in *instance) bind() {
	if in.fn.malloc = in.mod.ExportedFunction("malloc"); in.fn.malloc == nil {
		in.fn.malloc = in.mod.ExportedFunction("proxy_on_memory_allocate")
	}
	f := func(name string) api.Function {
		if in.module.host.leftOut[name] || !in.vm.capabilities.allow(name) {
			return nil
		}
		return in.mod.ExportedFunction(name)
	}
	in.fn.contextCreate = f("proxy_on_context_create")
	in.fn.vmStart = f("proxy_on_vm_start")
	in.fn.configure = f("proxy_on_configure")
	in.fn.tick = f("proxy_on_tick")
	in.fn.requestHeaders = f("proxy_on_request_headers")
	in.fn.requestBody = f("proxy_on_request_body")
	in.fn.requestTrailers = f("proxy_on_request_trailers")
	in.fn.responseHeaders = f("proxy_on_response_headers")
	in.fn.responseBody = f("proxy_on_response_body")
	in.fn.responseTrailers = f("proxy_on_response_trailers")
	in.fn.httpCallResponse = f("proxy_on_http_call_response")
	in.fn.grpcReceive = f("proxy_on_grpc_receive")
	in.fn.grpcClose = f("proxy_on_grpc_close")
	in.fn.grpcInitial = f("proxy_on_grpc_receive_initial_metadata")
	in.fn.grpcTrailing = f("proxy_on_grpc_receive_trailing_metadata")
	in.fn.newConnection = f("proxy_on_new_connection")
	in.fn.downstreamData = f("proxy_on_downstream_data")
	in.fn.upstreamData = f("proxy_on_upstream_data")
	in.fn.downstreamClose = f("proxy_on_downstream_connection_close")
	in.fn.upstreamClose = f("proxy_on_upstream_connection_close")
	in.fn.requestMetadata = f("proxy_on_request_metadata")
	in.fn.responseMetadata = f("proxy_on_response_metadata")
	if in.module.info.abi != "0.1.0" {
		in.fn.foreignFunction = f("proxy_on_foreign_function")
	}
	in.fn.validate = f("proxy_validate_configuration")
	in.fn.queueReady = f("proxy_on_queue_ready")
	in.fn.done = f("proxy_on_done")
	in.fn.onLog = f("proxy_on_log")
	in.fn.delete = f("proxy_on_delete")
}

// call runs one export on a context and returns its result (0 if it has none). After a crash, at once or before, it returns 0.
// It does not run the deferred actions: callback does.
func (in *instance) call(ctx context.Context, c *guestContext, name string, f api.Function, args ...uint64) uint64 {
	if in.failure != nil {
		return 0
	}
	outermost := in.current == nil
	if outermost {
		in.stderr = in.stderr[:0]
		if !in.deadline.start(ctx) {
			_ = in.trap(name, *in.deadline.ended.Load())
			return 0
		}
	}
	if in.depth > 0 {
		if in.depth == maxDepth {
			_ = in.trap(name, errTooDeep)
			return 0
		}
		if f != in.fn.malloc {
			f = in.mod.ExportedFunction(name) // one of its own: the engine's is in use if it runs already
		}
	}
	stack := in.stack[in.depth*maxArgs:][:max(len(args), 1)]
	copy(stack, args)
	if in.vm.cfg.Observe != nil {
		in.observe(CallbackBegins, name, slices.Clone(args), 0) // a copy: what is observed lives on the heap
	}
	current, effective := in.current, in.effective
	in.current, in.effective = c, 0
	in.depth++
	err := f.CallWithStack(in.ctx, stack)
	in.depth--
	in.current, in.effective = current, effective
	if outermost && !in.deadline.stop() && err == nil {
		err = *in.deadline.ended.Load()
	}
	if in.vm.cfg.Observe != nil {
		in.observe(CallbackEnds, name, slices.Clone(args), stack[0])
	}
	if err != nil {
		_ = in.trap(name, err)
		return 0
	}
	return stack[0]
}

// callback runs one export on a context, then whatever host functions left to do after it.
func (in *instance) callback(ctx context.Context, c *guestContext, name string, f api.Function, args ...uint64) uint64 {
	r := in.call(ctx, c, name, f, args...)
	in.finish()
	return r
}

// finish does what was left to do after a callback. An action may run further callbacks, which take over the rest of the list.
func (in *instance) finish() {
	in.stopIteration = false
	for len(in.after) > 0 {
		f := in.after[0]
		in.after = in.after[1:]
		f()
	}
}

func (in *instance) later(f func()) { in.after = append(in.after, f) }

// trap records the first crash of the instance.
func (in *instance) trap(name string, err error) error {
	if in.failure != nil {
		return in.failure
	}
	t := &TrapError{Callback: name, cause: err, Log: strings.TrimSpace(string(in.stderr))}
	reason, stack, _ := strings.Cut(err.Error(), "\nwasm stack trace:\n")
	t.Reason = strings.TrimSpace(reason)
	for line := range strings.Lines(stack) {
		t.Stack += strings.TrimSpace(line) + "\n"
	}
	t.Stack = strings.TrimRight(t.Stack, "\n")
	if e := in.deadline.ended.Load(); e != nil {
		t.cause, t.Reason = *e, (*e).Error()
		if errors.Is(t.cause, ErrDeadline) {
			t.Reason = fmt.Sprintf("%s of %s", t.cause, in.deadline.limit)
		}
	}
	in.failure = t
	in.vm.crashes++
	line := "Function: " + name + " failed: " + t.Reason
	if t.Stack != "" {
		line += "\nProxy-Wasm plugin in-VM backtrace:\n" + t.Stack
	}
	in.log(nil, LogError, line)
	return t
}

func (in *instance) close(ctx context.Context) {
	in.deadline.close()
	if in.mod != nil {
		_ = in.mod.Close(ctx)
	}
}

// target is the context that a host call is about: the effective one if the guest set it and it still lives, else the running one.
func (in *instance) target() *guestContext {
	if in.effective != 0 {
		if c := in.contexts.get(in.effective); c != nil {
			return c
		}
	}
	return in.current
}

// read gives guest memory; ok is false if it is out of bounds. The slice is the guest's own memory: copy what must last.
func (in *instance) read(ptr, size uint64) ([]byte, bool) {
	return in.mem.Read(uint32(ptr), uint32(size))
}

// readString copies guest memory.
func (in *instance) readString(ptr, size uint64) (string, bool) {
	b, ok := in.read(ptr, size)
	return string(b), ok
}

func (in *instance) putU32(ptr uint64, v uint32) bool { return in.mem.WriteUint32Le(uint32(ptr), v) }
func (in *instance) putU64(ptr uint64, v uint64) bool { return in.mem.WriteUint64Le(uint32(ptr), v) }

// alloc takes memory from the guest's allocator. The slice is valid until the guest runs again.
func (in *instance) alloc(size uint32) (ptr uint32, buf []byte, ok bool) {
	limited, allowed, guarded := in.limited, in.allowed, in.guarded
	in.restrict(in.module.profile.mallocAllowed)
	p := in.call(context.Background(), in.vmContext, "malloc", in.fn.malloc, uint64(size))
	in.limited, in.allowed, in.guarded = limited, allowed, guarded
	if p == 0 || in.failure != nil {
		return 0, nil, false
	}
	buf, ok = in.mem.Read(uint32(p), size)
	return uint32(p), buf, ok
}

// give copies data into the guest's memory and writes where it is. Nothing is allocated for empty data: the pointer is 0.
func (in *instance) give(data string, ptrPtr, sizePtr uint64) Status {
	return give(in, data, ptrPtr, sizePtr)
}

// giveBytes is give for bytes.
func (in *instance) giveBytes(data []byte, ptrPtr, sizePtr uint64) Status {
	return give(in, data, ptrPtr, sizePtr)
}

func give[T string | []byte](in *instance, data T, ptrPtr, sizePtr uint64) Status {
	var ptr uint32
	if len(data) > 0 {
		p, buf, ok := in.alloc(uint32(len(data)))
		if !ok {
			return StatusInvalidMemoryAccess
		}
		copy(buf, data)
		ptr = p
	}
	if !in.putU32(ptrPtr, ptr) || !in.putU32(sizePtr, uint32(len(data))) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

// givePairs serialises headers into the guest's memory: a count, the lengths of names and values, then names and values, each ended
// by NUL, all little-endian. No headers give size 0.
func (in *instance) givePairs(hs Headers, ptrPtr, sizePtr uint64) Status {
	if len(hs) == 0 {
		return in.give("", ptrPtr, sizePtr)
	}
	size := pairsSize(hs)
	ptr, buf, ok := in.alloc(uint32(size))
	if !ok {
		return StatusInvalidMemoryAccess
	}
	putPairs(buf, hs)
	if !in.putU32(ptrPtr, ptr) || !in.putU32(sizePtr, uint32(size)) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func pairsSize(hs Headers) int {
	size := 4
	for _, h := range hs {
		size += 8 + len(h.Name) + 1 + len(h.Value) + 1
	}
	return size
}

func putPairs(buf []byte, hs Headers) {
	binary.LittleEndian.PutUint32(buf, uint32(len(hs)))
	pos := 4
	for _, h := range hs {
		binary.LittleEndian.PutUint32(buf[pos:], uint32(len(h.Name)))
		binary.LittleEndian.PutUint32(buf[pos+4:], uint32(len(h.Value)))
		pos += 8
	}
	for _, h := range hs {
		pos += copy(buf[pos:], h.Name)
		buf[pos] = 0
		pos++
		pos += copy(buf[pos:], h.Value)
		buf[pos] = 0
		pos++
	}
}

// marshalPairs serialises headers as givePairs does.
func marshalPairs(hs Headers) []byte {
	buf := make([]byte, pairsSize(hs))
	putPairs(buf, hs)
	return buf
}

// parsePairs reads a serialised map. Anything that is malformed or over the limits reads as empty, as in Envoy's host.
func parsePairs(b []byte) Headers {
	if len(b) < 4 || len(b) > MaxPairsBytes {
		return nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n > MaxPairsCount || len(b) < 4+8*int(n) {
		return nil
	}
	hs := make(Headers, n)
	pos := 4 + 8*int(n)
	take := func(size uint32) (string, bool) {
		if uint64(pos)+uint64(size)+1 > uint64(len(b)) || b[pos+int(size)] != 0 {
			return "", false
		}
		s := string(b[pos : pos+int(size)])
		pos += int(size) + 1
		return s, true
	}
	for i := range hs {
		var ok bool
		if hs[i].Name, ok = take(binary.LittleEndian.Uint32(b[4+8*i:])); !ok {
			return nil
		}
		if hs[i].Value, ok = take(binary.LittleEndian.Uint32(b[8+8*i:])); !ok {
			return nil
		}
	}
	if pos != len(b) {
		return nil
	}
	return hs
}
