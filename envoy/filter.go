package envoy

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	networkwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Environment variables of a filter's VM.
const (
	// FilterVariable holds the filter's name.
	FilterVariable = "WAFT_FILTER"
	// FailurePolicyVariable holds the filter's failure policy.
	FailurePolicyVariable = "WAFT_FAILURE_POLICY"
)

// wasmRuntime is the only runtime for modules that is built into Envoy's own binaries.
const wasmRuntime = "envoy.wasm.runtime.v8"

// filterNameLimit is that of a DNS label.
const filterNameLimit = 63

// filterName is a DNS label: it becomes a part of statistics' names and of file names.
var filterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// ErrInvalid means that what was to be rendered cannot be.
var ErrInvalid = errors.New("cannot render")

// FailurePolicy is what Envoy does with requests once a filter's VM has failed (envoy.extensions.wasm.v3.FailurePolicy).
type FailurePolicy string

// The policies. The zero value means FailReload.
const (
	// FailReload starts a new VM and goes on with the next request.
	FailReload FailurePolicy = "FAIL_RELOAD"
	// FailClosed answers 503 until the next swap.
	FailClosed FailurePolicy = "FAIL_CLOSED"
	// FailOpen skips the filter, and no statistic says so.
	FailOpen FailurePolicy = "FAIL_OPEN"
)

// WasmFilter is one Wasm filter of a chain. Exactly one of ModulePath, ModuleBytes and Remote is set.
type WasmFilter struct {
	// Name is a DNS label: the plugin's name, its VM's id, and a part of its statistics. A filter that only a cohort meets has CohortSuffix behind it.
	Name string
	// ModulePath is the module's file, as an absolute path. Envoy reads it when it loads the filter, and checks no digest: whoever can write
	// the file owns the filter.
	ModulePath string
	// ModuleBytes is the module itself, for an Envoy that shares no folder with the writer.
	ModuleBytes []byte
	// Remote is a module that Envoy fetches itself; the zero value: it does not.
	Remote RemoteModule
	// Config is the plugin configuration, passed as it is. Nil: none.
	Config []byte
	// FailurePolicy. Empty: FailReload.
	FailurePolicy FailurePolicy
	// Env are more environment variables of the VM. Those of this package stay what they are.
	Env map[string]string
	// Only says which requests of the chain meet the filter; the zero value: all. It needs Number.HasFilterChain.
	Only Only
}

// id is the filter's name in Envoy.
func (f WasmFilter) id() string {
	if f.Only.inCohort() {
		return f.Name + CohortSuffix
	}
	return f.Name
}

// Check says what keeps the filter from being rendered; its errors wrap ErrInvalid.
func (f WasmFilter) Check() error {
	if len(f.Name) > filterNameLimit || !filterName.MatchString(f.Name) {
		return fmt.Errorf("%w: filter name %q is not a DNS label (a-z, 0-9 and hyphens, at most %d)", ErrInvalid, f.Name, filterNameLimit)
	}
	sources := 0
	for _, given := range []bool{f.ModulePath != "", len(f.ModuleBytes) > 0, f.Remote != RemoteModule{}} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return fmt.Errorf("%w: filter %s needs its module as a path, as bytes or from a server, one of them", ErrInvalid, f.Name)
	}
	if f.Remote != (RemoteModule{}) {
		if err := f.Remote.check(); err != nil {
			return fmt.Errorf("filter %s: %w", f.Name, err)
		}
	}
	if f.ModulePath != "" && !filepath.IsAbs(f.ModulePath) {
		return fmt.Errorf("%w: filter %s: the module's path %q is not absolute", ErrInvalid, f.Name, f.ModulePath)
	}
	if _, err := f.policy(); err != nil {
		return err
	}
	return nil
}

func (f WasmFilter) policy() (FailurePolicy, error) {
	switch f.FailurePolicy {
	case "":
		return FailReload, nil
	case FailReload, FailClosed, FailOpen:
		return f.FailurePolicy, nil
	}
	return "", fmt.Errorf("%w: filter %s: failure policy %q is none of %s, %s, %s", ErrInvalid, f.Name, f.FailurePolicy, FailReload, FailClosed, FailOpen)
}

// TypedExtensionConfig renders the filter as Envoy's envoy.extensions.filters.http.wasm.v3.Wasm, under a name of its own.
func (f WasmFilter) TypedExtensionConfig() (*corev3.TypedExtensionConfig, error) {
	wasm, err := f.wasm()
	if err != nil {
		return nil, err
	}
	return &corev3.TypedExtensionConfig{Name: f.id(), TypedConfig: wasm}, nil
}

// wasm renders the filter as one of HTTP.
func (f WasmFilter) wasm() (*anypb.Any, error) {
	plugin, err := f.plugin()
	if err != nil {
		return nil, err
	}
	return f.pack(&httpwasmv3.Wasm{Config: plugin})
}

// networkWasm renders the filter as one of connections.
func (f WasmFilter) networkWasm() (*anypb.Any, error) {
	plugin, err := f.plugin()
	if err != nil {
		return nil, err
	}
	return f.pack(&networkwasmv3.Wasm{Config: plugin})
}

func (f WasmFilter) pack(wasm proto.Message) (*anypb.Any, error) {
	packed, err := anypb.New(wasm)
	if err != nil {
		return nil, fmt.Errorf("render filter %s: %w", f.Name, err)
	}
	return packed, nil
}

// code is where Envoy has the module from.
func (f WasmFilter) code() *corev3.AsyncDataSource {
	if f.Remote != (RemoteModule{}) {
		return f.Remote.source()
	}
	source := &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: f.ModulePath}}
	if f.ModulePath == "" {
		source = &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: f.ModuleBytes}}
	}
	return &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: source}}
}

// plugin is what filters of HTTP and of connections have in common.
func (f WasmFilter) plugin() (*wasmv3.PluginConfig, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	policy, err := f.policy()
	if err != nil {
		return nil, err
	}
	env := maps.Clone(f.Env)
	if env == nil {
		env = map[string]string{}
	}
	env[FilterVariable], env[FailurePolicyVariable] = f.id(), string(policy)
	plugin := &wasmv3.PluginConfig{
		Name:          f.id(),
		FailurePolicy: wasmv3.FailurePolicy(wasmv3.FailurePolicy_value[string(policy)]),
		Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{
			VmId:                 f.id(),
			Runtime:              wasmRuntime,
			Code:                 f.code(),
			NackOnCodeCacheMiss:  f.Remote != RemoteModule{} && !f.Remote.Unfetched,
			EnvironmentVariables: &wasmv3.EnvironmentVariables{KeyValues: env},
		}},
	}
	if policy != FailReload {
		// Some versions of Envoy go on with a VM of the same id, code and VM configuration whose environment differs (1.36
		// does), and the module would be told the policy it had before.
		if plugin.GetVmConfig().Configuration, err = anypb.New(wrapperspb.String(string(policy))); err != nil {
			return nil, fmt.Errorf("render filter %s: %w", f.Name, err)
		}
	}
	if f.Config != nil {
		// A StringValue (or BytesValue, for what is no text) reaches the plugin raw; a Struct would reach it as Envoy's own
		// rendering of JSON.
		var raw proto.Message = wrapperspb.String(string(f.Config))
		if !utf8.Valid(f.Config) {
			raw = wrapperspb.Bytes(f.Config)
		}
		if plugin.Configuration, err = anypb.New(raw); err != nil {
			return nil, fmt.Errorf("render filter %s: %w", f.Name, err)
		}
	}
	return plugin, nil
}
