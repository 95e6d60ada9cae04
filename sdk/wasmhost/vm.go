package wasmhost

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// VMConfig configures a VM, as Envoy's VmConfig does. The zero value is usable.
type VMConfig struct {
	// ID is the VM's id: VMs of one Proxy with the same id share data and queues. It is the property plugin_vm_id.
	ID string

	// Configuration is the VM's configuration, raw.
	Configuration []byte

	// Env are the VM's environment variables.
	Env map[string]string

	// AllowedCapabilities restricts the VM, as Envoy's capability_restriction_config does: host functions and callbacks by their names
	// ("proxy_log", "fd_write", "proxy_on_request_headers"). A host function that is not named returns INTERNAL_FAILURE (of WASI: 76,
	// ENOTCAPABLE) and logs that it is restricted; a callback that is not named is never called. Empty: everything is allowed.
	AllowedCapabilities []string

	// Log hears every message of the VM when it is logged, besides its being kept for TakeLogs: what a guest says before it fails to start is
	// heard only here. nil: nobody. It must not use the VM.
	Log func(Log)

	// Proxy is what the VM shares with others. nil: a Proxy of its own.
	Proxy *Proxy

	// Random is where the guest's random numbers come from (random_get): a filter then does the same at every run. nil: the system.
	Random io.Reader

	// Observe is told of every call between host and guest, in their order, on the goroutine that uses the VM; it must not use the VM.
	// nil: nobody, at no cost.
	Observe func(*Crossing)
}

// VM is one sandbox on one of Envoy's worker threads. If it crashes and a plugin's policy is FAIL_RELOAD, the VM starts again with
// fresh memory. A VM and its plugins and streams must not be used by two goroutines at once; two VMs may.
type VM struct {
	module  *Module
	cfg     VMConfig
	proxy   *Proxy
	environ []string

	capabilities capabilities // nil: all
	start        time.Time
	loaded       time.Time // of the present instance

	in      *instance
	plugins []*Plugin
	crashes int
	reloads int

	logs        []Log
	logBytes    int
	logsDropped int

	mu     sync.Mutex
	events []func(context.Context) // posted by other VMs' enqueues; run when this VM is idle

	callouts []*Callout  // that wait, in the order in which they were made
	grpc     []*GRPCCall // that have not ended, in that order
	agenda   []*appointment
	misuse   error // what a guest did in this VM that Envoy does not survive

	released []*Stream // see Stream.Release
}

// NewVM starts a VM: instantiates the module and runs its _initialize. No plugin is configured yet.
// The error is a *TrapError if the guest crashed.
func (m *Module) NewVM(ctx context.Context, cfg VMConfig) (*VM, error) {
	if cfg.Proxy == nil {
		cfg.Proxy = &Proxy{}
	}
	v := &VM{module: m, cfg: cfg, proxy: cfg.Proxy, environ: environ(cfg.Env), capabilities: newCapabilities(cfg.AllowedCapabilities)}
	v.start = v.proxy.now()
	v.loaded = v.start
	in, err := newInstance(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("start VM under %s: %w", m.profile.name, err)
	}
	v.in = in
	v.proxy.enter(v)
	return v, nil
}

// Close frees the VM. It runs no callback; Shutdown does.
func (v *VM) Close(ctx context.Context) error {
	v.proxy.leave(v)
	v.in.close(ctx)
	return nil
}

// Shutdown ends the VM's plugins as Envoy does when their configuration goes away: on_done, and on_delete where that returned true
// or proxy_done was called. Then it frees the VM.
func (v *VM) Shutdown(ctx context.Context) error {
	for len(v.plugins) > 0 {
		_ = v.plugins[0].Shutdown(ctx)
	}
	err := v.in.err()
	v.proxy.leave(v)
	v.in.close(ctx)
	return err
}

// Proxy is what the VM shares with other VMs.
func (v *VM) Proxy() *Proxy { return v.proxy }

// Memory is the size of the guest's memory in bytes.
func (v *VM) Memory() int64 { return int64(v.in.mem.Size()) }

// Failed is the guest's crash, or nil.
func (v *VM) Failed() error { return v.in.err() }

// Crashes and Reloads count how often the guest crashed and was started again.
func (v *VM) Crashes() int { return v.crashes }

// Reloads counts the fresh starts after a crash.
func (v *VM) Reloads() int { return v.reloads }

// Misuse is what a guest did outside its streams that breaks Envoy, wrapping ErrMisuse; nil if nothing. Exchange returns it too.
func (v *VM) Misuse() error { return v.misuse }

// misused records it, the first time.
func (v *VM) misused(format string, args ...any) {
	if v.misuse == nil {
		v.misuse = fmt.Errorf("%w: %s", ErrMisuse, fmt.Sprintf(format, args...))
		v.keepLog(Log{LogError, v.misuse.Error()})
	}
}

// monotonic is the guest's monotonic clock, in nanoseconds.
func (v *VM) monotonic() int64 { return int64(v.proxy.now().Sub(v.start)) + int64(time.Second) }

// post leaves something to do when the VM is idle. Any goroutine may call it.
func (v *VM) post(f func(context.Context)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events = append(v.events, f)
}

// RunEvents delivers what has happened meanwhile: queues that other VMs, or this one, have put something into.
// It says whether there was anything.
func (v *VM) RunEvents(ctx context.Context) bool {
	any := false
	for {
		v.mu.Lock()
		events := v.events
		v.events = nil
		v.mu.Unlock()
		if len(events) == 0 {
			return any
		}
		any = true
		for _, f := range events {
			f(ctx)
		}
	}
}

// FailurePolicy says what becomes of requests after the guest crashed.
type FailurePolicy int

// The policies, with Envoy's names.
const (
	// FailReload starts a fresh VM at the next request.
	FailReload FailurePolicy = iota
	// FailClosed answers every request with 503.
	FailClosed
	// FailOpen lets every request pass without the filter.
	FailOpen
)

// String gives Envoy's name of the policy.
func (f FailurePolicy) String() string {
	switch f {
	case FailReload:
		return "FAIL_RELOAD"
	case FailClosed:
		return "FAIL_CLOSED"
	case FailOpen:
		return "FAIL_OPEN"
	}
	return fmt.Sprintf("FailurePolicy(%d)", int(f))
}

// PluginConfig configures a plugin, as Envoy's PluginConfig does. The zero value is usable.
type PluginConfig struct {
	Name   string // the property plugin_name
	RootID string // the property plugin_root_id

	// Configuration is the plugin's configuration, raw.
	Configuration []byte

	// FailurePolicy is for what follows a crash. The zero value is FAIL_RELOAD.
	FailurePolicy FailurePolicy

	// ReloadBackoff is the time since the VM's start, or its last reload, before which FAIL_RELOAD does not reload it: requests get 503
	// meanwhile. 0: DefaultReloadBackoff; negative: none. Envoy adds up to a half by chance.
	ReloadBackoff time.Duration

	// AllowOnHeadersStopIteration makes Pause from a headers callback mean StopIteration: the body still goes to the filter.
	AllowOnHeadersStopIteration bool
}

// Plugin is a configured plugin in a VM: a root context.
type Plugin struct {
	vm          *VM
	cfg         PluginConfig
	root        *guestContext
	plain       StreamInfo // of all streams about which nothing is said
	pendingDone bool
}

// Configure makes a plugin in the VM: on_context_create, on_vm_start, on_configure. If the first crashes and the second does not, Envoy takes
// the plugin, in a VM that has failed; so does Configure.
// Errors: ErrStart, ErrConfigure, or a *TrapError.
func (v *VM) Configure(ctx context.Context, cfg PluginConfig) (*Plugin, error) {
	p := &Plugin{vm: v, cfg: cfg}
	if err := p.begin(ctx); err != nil {
		return nil, fmt.Errorf("configure plugin %q: %w", cfg.Name, err)
	}
	v.plugins = append(v.plugins, p)
	return p, nil
}

// begin makes the plugin's context in the VM's present instance.
func (p *Plugin) begin(ctx context.Context) error {
	in := p.vm.in
	if err := in.err(); err != nil {
		return err
	}
	c := in.enter(&guestContext{plugin: p, rootState: &rootState{}})
	p.root = c
	c.starting = true
	if in.fn.contextCreate != nil {
		in.call(ctx, c, "proxy_on_context_create", in.fn.contextCreate, uint64(c.id), 0)
	}
	c.starting = false
	c.created = true
	// A crash in on_context_create does not keep Envoy from calling on_vm_start, nor from taking the plugin as configured if that is well.
	crashed := in.failure
	in.failure = nil
	started := uint64(1)
	if in.fn.vmStart != nil {
		started = in.call(ctx, c, "proxy_on_vm_start", in.fn.vmStart, uint64(c.id), uint64(len(p.vm.cfg.Configuration)))
	}
	in.finish()
	if err := in.err(); err != nil {
		return err
	}
	if uint32(started) == 0 {
		return ErrStart
	}
	if crashed != nil {
		in.failure = crashed
		return nil
	}
	if in.fn.configure == nil {
		return nil
	}
	c.configuring = true
	ok := in.callback(ctx, c, "proxy_on_configure", in.fn.configure, uint64(c.id), uint64(len(p.cfg.Configuration)))
	c.configuring = false
	if err := in.err(); err != nil {
		return err
	}
	if uint32(ok) == 0 {
		return ErrConfigure
	}
	return nil
}

// VM is the VM that the plugin is in.
func (p *Plugin) VM() *VM { return p.vm }

// TickPeriod is what the plugin asked for with proxy_set_tick_period_milliseconds; 0 for no ticks.
func (p *Plugin) TickPeriod() time.Duration { return p.root.tickPeriod }

// Tick runs proxy_on_tick now. Proxy.Advance runs it when it is due. The error is the guest's crash.
func (p *Plugin) Tick(ctx context.Context) error {
	in := p.vm.in
	if in.failure == nil && in.fn.tick != nil {
		in.callback(ctx, p.root, "proxy_on_tick", in.fn.tick, uint64(p.root.id))
	}
	return in.err()
}

// Shutdown ends the plugin as Envoy does when its configuration goes away while other plugins keep the VM: on_done, and on_delete where
// that returned true. Where it returned false the plugin's ticks and callouts go on until proxy_done is called for it. The plugin's
// streams and connections must be closed before, and it must not be used after. The error is the guest's crash.
func (p *Plugin) Shutdown(ctx context.Context) error {
	v := p.vm
	v.plugins = slices.DeleteFunc(v.plugins, func(o *Plugin) bool { return o == p })
	if p.root.done(ctx) {
		p.root.delete(ctx)
	} else {
		p.pendingDone = true
	}
	return v.in.err()
}

// ForeignCallback runs proxy_on_foreign_function with data in the buffer BufferCallData: how a foreign function of the host calls back.
// Envoy itself has none that does. The error is the guest's crash.
func (p *Plugin) ForeignCallback(ctx context.Context, function uint32, data []byte) error {
	in := p.vm.in
	if in.failure == nil && in.fn.foreignFunction != nil {
		p.root.calling, p.root.callData = true, data
		in.callback(ctx, p.root, "proxy_on_foreign_function", in.fn.foreignFunction, uint64(p.root.id), uint64(function), uint64(len(data)))
		p.root.calling, p.root.callData = false, nil
	}
	return in.err()
}

// Validate runs proxy_validate_configuration on a configuration, and says whether the guest takes it. Envoy has the callback, and never
// calls it: a configuration is tried by on_configure. The error is the guest's crash.
func (p *Plugin) Validate(ctx context.Context, configuration []byte) (bool, error) {
	in := p.vm.in
	if in.failure != nil || in.fn.validate == nil {
		return in.failure == nil, in.err()
	}
	saved := p.cfg.Configuration
	p.cfg.Configuration, p.root.configuring = configuration, true
	r := in.callback(ctx, p.root, "proxy_validate_configuration", in.fn.validate, uint64(p.root.id), uint64(len(configuration)))
	p.cfg.Configuration, p.root.configuring = saved, false
	return in.failure == nil && uint32(r) != 0, in.err()
}

// NewStream begins a stream. After a crash it is what the failure policy says: one on a fresh VM, one that is answered with 503, or one
// without the filter.
func (p *Plugin) NewStream(ctx context.Context, info StreamInfo) *Stream {
	s := p.vm.emptyStream()
	s.plugin, s.vm, s.info, s.began = p, p.vm, &p.plain, p.vm.proxy.now()
	if !info.plain() {
		own := info // only then on the heap
		s.info = &own
	}
	for i := range s.own {
		d := &s.own[i]
		d.s, d.index, s.dirs[i] = s, i, d
	}
	s.ctx = p.newContext(ctx, s, nil)
	return s
}

// newContext makes the context of a stream or a connection. After a crash it does as the failure policy says; nil: there is no filter.
func (p *Plugin) newContext(ctx context.Context, s *Stream, conn *Connection) *guestContext {
	v := p.vm
	if v.in.failure != nil && p.cfg.FailurePolicy == FailReload && v.proxy.now().Sub(v.loaded) >= p.backoff() {
		v.reload(ctx)
	}
	if v.in.failure != nil && p.cfg.FailurePolicy == FailOpen {
		return nil
	}
	var c *guestContext
	if s != nil {
		c = &s.memory
	} else {
		c = new(guestContext)
	}
	c.root, c.plugin, c.stream, c.conn = p.root, p, s, conn
	return v.in.enter(c)
}

// backoff is the time that must pass between two starts of the VM.
func (p *Plugin) backoff() time.Duration {
	if p.cfg.ReloadBackoff == 0 {
		return DefaultReloadBackoff
	}
	return p.cfg.ReloadBackoff
}

// reload replaces a crashed instance with a fresh one, and configures its plugins again. If that fails the VM stays crashed.
func (v *VM) reload(ctx context.Context) {
	v.in.close(ctx)
	v.loaded = v.proxy.now()
	in, err := newInstance(ctx, v)
	if err != nil {
		return
	}
	v.in, v.callouts, v.grpc, v.agenda = in, nil, nil, nil
	v.reloads++
	for _, p := range v.plugins {
		if err := p.begin(ctx); err != nil {
			if in.failure == nil {
				in.failure = &TrapError{Callback: "proxy_on_configure", Reason: err.Error(), cause: err}
			}
			return
		}
	}
}
