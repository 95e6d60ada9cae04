package wasmhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Config configures a Host. The zero value is good for tests.
type Config struct {
	// CacheDir is the folder for compiled modules. Empty: the folder "waft/wazero" in os.UserCacheDir. "off" keeps them in memory.
	// The folder must not be writable by people who are not trusted: what is in it is run.
	CacheDir string

	// Deadline is the time that one call into a guest may take. 0: DefaultDeadline.
	Deadline time.Duration

	// MemoryLimit is what one VM's memory may grow to, in bytes, rounded down to pages of 64 KiB. 0: DefaultMemoryLimit.
	MemoryLimit int64

	// LeaveOut names host functions ("proxy_log", "fd_write") and callbacks ("proxy_on_tick") that this host pretends not to have: such a
	// function does nothing and returns UNIMPLEMENTED (of WASI: ENOSYS), such a callback is never called. It is for tests of tests: a
	// suite that covers a function fails without it. NewHost refuses a name that it does not know.
	LeaveOut []string
}

// Host compiles modules and makes VMs of them. It is the only thing that is expensive to make: keep one for a process.
// A Host may be used concurrently.
type Host struct {
	cfg     Config
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	code    codeCache
	leftOut map[string]bool // Config.LeaveOut

	mu    sync.Mutex
	hosts map[hostKey]api.Module // the modules that guests import from
}

// hostKey names a host module: what is offered depends on the profile and the guest's ABI.
type hostKey struct{ profile, abi, module string }

// CacheOff, as Config.CacheDir, keeps compiled modules in memory only.
const CacheOff = "off"

// NewHost makes a Host. Close it to free the compiled code.
func NewHost(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	if cfg.MemoryLimit == 0 {
		cfg.MemoryLimit = DefaultMemoryLimit
	}
	if cfg.Deadline < 0 || cfg.MemoryLimit < wasmPageSize {
		return nil, fmt.Errorf("host: deadline %s and memory limit %d: give a positive deadline and at least one page of %d bytes",
			cfg.Deadline, cfg.MemoryLimit, wasmPageSize)
	}
	leftOut, err := leaveOut(cfg.LeaveOut)
	if err != nil {
		return nil, err
	}
	cache, dir, err := openCache(cfg.CacheDir)
	if err != nil {
		return nil, err
	}
	rc := wazero.NewRuntimeConfig().WithMemoryLimitPages(uint32(min(cfg.MemoryLimit/wasmPageSize, 1<<16)))
	h := &Host{
		cfg:     cfg,
		runtime: wazero.NewRuntimeWithConfig(ctx, rc.WithCompilationCache(cache)),
		cache:   cache,
		leftOut: leftOut,
		hosts:   map[hostKey]api.Module{},
	}
	if dir != "" && tells(ctx, h.runtime) {
		h.code = codeCache{dir: dir, config: rc}
	}
	return h, nil
}

// openCache opens the cache of compiled modules, and says in which folder it is: empty for one in memory.
func openCache(dir string) (wazero.CompilationCache, string, error) {
	if dir == CacheOff {
		return wazero.NewCompilationCache(), "", nil
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, "", fmt.Errorf("cache of compiled modules: %w; give a folder, or %q", err, CacheOff)
		}
		dir = filepath.Join(user, "waft", "wazero")
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, "", fmt.Errorf("cache of compiled modules in %s: %w; give another folder, or %q", dir, err, CacheOff)
	}
	return cache, dir, nil
}

// Close frees all that the Host compiled. VMs of it must not be used after.
func (h *Host) Close(ctx context.Context) error {
	err := h.runtime.Close(ctx)
	if cerr := h.cache.Close(ctx); err == nil {
		err = cerr
	}
	return err
}

// Module is a compiled module under one profile. It may be used concurrently.
type Module struct {
	host     *Host
	compiled wazero.CompiledModule
	profile  Profile
	info     *moduleInfo
	imports  map[string]api.Module
}

// Load checks and compiles a module. Compiling takes about a second for a Go module, and some milliseconds once it is in the cache.
//
// Errors: ErrCorrupt, ErrTooLarge, ErrNoABI, *MissingImportsError, *ExportError, or the engine's.
func (h *Host) Load(ctx context.Context, wasm []byte, profile Profile) (*Module, error) {
	info, err := inspect(wasm)
	if err != nil {
		return nil, fmt.Errorf("load under %s: %w", profile.name, err)
	}
	if err := profile.loadable(info); err != nil {
		return nil, fmt.Errorf("load under %s: %w", profile.name, err)
	}
	imports, err := h.imports(ctx, profile, info)
	if err != nil {
		return nil, fmt.Errorf("load under %s: %w", profile.name, err)
	}
	compiled, err := h.compile(ctx, wasm, info)
	if err != nil {
		return nil, fmt.Errorf("load under %s: %w", profile.name, err)
	}
	return &Module{host: h, compiled: compiled, profile: profile, info: info, imports: imports}, nil
}

// imports gives the modules that a guest imports from, made at the first need.
func (h *Host) imports(ctx context.Context, profile Profile, info *moduleInfo) (map[string]api.Module, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mods := map[string]api.Module{}
	for _, im := range info.imports {
		if mods[im.module] != nil {
			continue
		}
		key := hostKey{profile.name, info.abi, im.module}
		mod := h.hosts[key]
		if mod == nil {
			var err error
			if mod, err = h.hostModule(ctx, profile, key); err != nil {
				return nil, fmt.Errorf("host functions of %s: %w", im.module, err)
			}
			h.hosts[key] = mod
		}
		mods[im.module] = mod
	}
	return mods, nil
}

// hostModule makes a module of all that a profile offers under one module name.
func (h *Host) hostModule(ctx context.Context, profile Profile, key hostKey) (api.Module, error) {
	name := key.profile + "/" + key.abi + "/" + key.module
	b := h.runtime.NewHostModuleBuilder(name)
	for full, f := range profile.functions(key.abi) {
		if full != key.module+"."+f.name {
			continue
		}
		if h.leftOut[f.name] {
			f.call = unimplemented(key.module)
		}
		t := f.typ()
		b.NewFunctionBuilder().WithGoModuleFunction(hostCall(f), t.params, t.results).WithName(f.name).Export(f.name)
	}
	// Not b.Instantiate: what it returns cannot be given to an import resolver.
	compiled, err := b.Compile(ctx)
	if err != nil {
		return nil, err
	}
	return h.runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(name))
}

// Profile is the profile that the module was loaded under.
func (m *Module) Profile() Profile { return m.profile }

// ABI is the version of the proxy-wasm ABI that the module declares: "0.1.0", "0.2.0" or "0.2.1".
func (m *Module) ABI() string { return m.info.abi }
