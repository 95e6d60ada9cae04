package wasmhost

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// Profile is what one Envoy version offers to a module: data, no behaviour of its own. The zero Profile is not usable; take one
// from Profiles or ProfileByName. Profiles are values and may be compared by Name and shared between goroutines.
type Profile struct {
	name  string
	envoy string

	wasi []string // names in wasiFunctions that this version offers, under both of WASI's module names

	// pollOneoff is what poll_oneoff returns: 52 (ENOSYS) up to 1.38; from 1.39 it writes nevents 0 and returns 0.
	pollOneoff uint32

	// initAllowed and mallocAllowed name the functions that a guest may call while it initialises and while it allocates for the
	// host. Anything else traps there with "restricted_callback".
	initAllowed, mallocAllowed []string

	// dropsKeepAlive says that the header keep-alive of an upstream's response is removed before any filter, not after all of them.
	dropsKeepAlive bool

	// dropsStreamDuration says that x-envoy-upstream-stream-duration-ms is removed from a client's request before any filter.
	dropsStreamDuration bool

	// tellsTransportFailure says that what Envoy answers in the place of an upstream that cannot be reached tells why.
	tellsTransportFailure bool

	// resetsClient says that a client's connection is broken off (RST) when the upstream's was, and resetsUpstream the reverse. Before, the
	// other side saw an ordinary end.
	resetsClient, resetsUpstream bool
	// signs says that there is the foreign function sign, that keys may be given in PEM, and that one must be given.
	signs bool

	// mainVoid says that __main_void is called after _initialize where main is not exported.
	mainVoid bool
}

// Name is the profile's name, for example "envoy-1.36".
func (p Profile) Name() string { return p.name }

// Envoy is the version of Envoy that the profile copies, for example "1.36".
func (p Profile) Envoy() string { return p.envoy }

// WASI lists the WASI functions that the profile offers, sorted. The slice is the caller's.
func (p Profile) WASI() []string {
	out := slices.Clone(p.wasi)
	slices.Sort(out)
	return out
}

// Functions maps the functions that the profile offers to a module of the given ABI ("0.1.0", "0.2.0", "0.2.1") to their types,
// keyed as "env.proxy_log". It is empty for an unknown ABI.
func (p Profile) Functions(abi string) map[string]string {
	out := map[string]string{}
	for key, f := range p.functions(abi) {
		out[key] = f.typ().String()
	}
	return out
}

// Profiles lists the profiles, oldest Envoy first. The slice is the caller's.
func Profiles() []Profile { return slices.Clone(profiles) }

// ProfileByName finds a profile by its name ("envoy-1.36") or its Envoy version ("1.36", "1.36.4").
// The error wraps ErrUnknownProfile and lists the names.
func ProfileByName(name string) (Profile, error) {
	for _, p := range profiles {
		if name == p.name || name == p.envoy || strings.HasPrefix(name, p.envoy+".") {
			return p, nil
		}
	}
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.name
	}
	return Profile{}, fmt.Errorf("profile %q: %w; there are %s", name, ErrUnknownProfile, strings.Join(names, ", "))
}

var profiles = []Profile{
	{
		name: "envoy-1.36", envoy: "1.36",
		wasi:                  wasiFirst,
		pollOneoff:            wasiENOSYS,
		initAllowed:           initAllowedFirst,
		mallocAllowed:         mallocAllowedFirst,
		tellsTransportFailure: true,
	},
	{
		name: "envoy-1.37", envoy: "1.37",
		signs:                 true,
		wasi:                  wasiFirst,
		pollOneoff:            wasiENOSYS,
		initAllowed:           slices.Concat(initAllowedFirst, initAllowedFrom137),
		mallocAllowed:         mallocAllowedFirst,
		tellsTransportFailure: true,
	},
	{
		name: "envoy-1.38", envoy: "1.38",
		signs:          true,
		wasi:           wasiFirst,
		pollOneoff:     wasiENOSYS,
		initAllowed:    slices.Concat(initAllowedFirst, initAllowedFrom137),
		mallocAllowed:  mallocAllowedFirst,
		dropsKeepAlive: true,
		resetsClient:   true,
	},
	{
		name: "envoy-1.39", envoy: "1.39",
		signs:          true,
		wasi:           slices.Concat(wasiFirst, wasiFrom139),
		pollOneoff:     0,
		initAllowed:    slices.Concat(initAllowedFirst, initAllowedFrom137, initAllowedFrom139),
		mallocAllowed:  slices.Concat(mallocAllowedFirst, mallocAllowedFrom139),
		mainVoid:       true,
		dropsKeepAlive: true,
		resetsClient:   true,
	},
	{
		name: "envoy-1.40", envoy: "1.40",
		signs:          true,
		wasi:           slices.Concat(wasiFirst, wasiFrom139),
		pollOneoff:     0,
		initAllowed:    slices.Concat(initAllowedFirst, initAllowedFrom137, initAllowedFrom139),
		mallocAllowed:  slices.Concat(mallocAllowedFirst, mallocAllowedFrom139),
		mainVoid:       true,
		dropsKeepAlive: true, dropsStreamDuration: true,
		resetsClient: true, resetsUpstream: true,
	},
}

// The WASI functions of Envoy's host up to 1.38.
var wasiFirst = []string{
	"fd_write", "fd_read", "fd_seek", "fd_close", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_get", "fd_prestat_dir_name",
	"path_open", "environ_get", "environ_sizes_get", "args_get", "args_sizes_get", "clock_time_get", "random_get", "proc_exit",
	"sched_yield", "poll_oneoff",
}

// The WASI functions that Envoy's host has besides from 1.39 on.
var wasiFrom139 = []string{
	"fd_fdstat_set_rights", "clock_res_get", "fd_advise", "fd_allocate", "fd_datasync", "fd_filestat_get", "fd_filestat_set_size",
	"fd_filestat_set_times", "fd_pread", "fd_pwrite", "fd_readdir", "fd_renumber", "fd_sync", "fd_tell", "path_create_directory",
	"path_filestat_get", "path_filestat_set_times", "path_link", "path_readlink", "path_remove_directory", "path_rename",
	"path_symlink", "path_unlink_file", "sock_accept", "sock_recv", "sock_send", "sock_shutdown",
}

// What a guest may call while _initialize, main or _start runs (proxy-wasm-cpp-host, WasmBase::startVm).
var initAllowedFirst = []string{
	"proxy_log", "fd_write", "args_sizes_get", "args_get", "environ_sizes_get", "environ_get", "fd_prestat_get", "fd_prestat_dir_name",
	"clock_time_get", "random_get", "fd_fdstat_get", "fd_fdstat_set_flags",
}

var initAllowedFrom137 = []string{"emscripten_notify_memory_growth"}

var initAllowedFrom139 = []string{
	"clock_res_get", "poll_oneoff", "fd_advise", "fd_allocate", "fd_datasync",
	"fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread", "fd_pwrite", "fd_readdir",
	"fd_renumber", "fd_sync", "fd_tell", "path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link",
	"path_readlink", "path_remove_directory", "path_rename", "path_symlink", "path_unlink_file", "sock_accept", "sock_recv",
	"sock_send", "sock_shutdown",
}

// What a guest may call while the host allocates in its memory (WasmBase::allocMemory).
var (
	mallocAllowedFirst   = []string{"proxy_log", "fd_write", "clock_time_get"}
	mallocAllowedFrom139 = []string{"poll_oneoff"}
)

// The module names of imports.
const (
	moduleEnv          = "env"
	moduleWASI         = "wasi_snapshot_preview1"
	moduleWASIUnstable = "wasi_unstable"
)

// hostFunction is one function that the host offers.
type hostFunction struct {
	name string
	// sig is its type: a letter for each parameter (i for i32, l for i64), then ":" and the result's letter if it has one.
	sig string
	// call reads the arguments from the stack and leaves the result in its first slot.
	call func(in *instance, stack []uint64)
}

func (f hostFunction) typ() funcType {
	params, results, _ := strings.Cut(f.sig, ":")
	values := func(s string) []api.ValueType {
		out := make([]api.ValueType, len(s))
		for i := range out {
			out[i] = api.ValueTypeI32
			if s[i] == 'l' {
				out[i] = api.ValueTypeI64
			}
		}
		return out
	}
	return funcType{params: values(params), results: values(results)}
}

// functions lists all that the profile offers to modules of one ABI, keyed by module and name.
func (p Profile) functions(abi string) map[string]hostFunction {
	out := map[string]hostFunction{}
	if !knownABI(abi) {
		return out
	}
	for _, f := range envFunctions {
		if f.inABI(abi) {
			out[moduleEnv+"."+f.name] = f.hostFunction
		}
	}
	for _, f := range wasiFunctions {
		if slices.Contains(p.wasi, f.name) {
			out[moduleWASI+"."+f.name] = f
			out[moduleWASIUnstable+"."+f.name] = f
		}
	}
	return out
}

func knownABI(abi string) bool {
	for _, v := range abiMarkers {
		if v == abi {
			return true
		}
	}
	return false
}
