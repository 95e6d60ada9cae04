package wasmhost

import (
	"errors"
	"slices"
	"strings"
)

// Compatibility says whether one profile can load a module.
type Compatibility struct {
	Profile  string `json:"profile"` // the profile's name
	Envoy    string `json:"envoy"`   // its Envoy version
	Loadable bool   `json:"loadable"`
	// Missing lists the imports that the profile does not offer, each once, in the module's order.
	Missing []MissingImport `json:"missing,omitempty"`
	// Reason says why the module cannot load where it is not an import: no ABI marker, or an export that is missing.
	Reason string `json:"reason,omitempty"`
}

// Check says for each profile, in the order of Profiles, whether it can load the module. It parses imports and exports only, and
// compiles nothing, so it takes about a millisecond; a module that it calls loadable can still fail later, for example in
// proxy_on_configure. The error is ErrCorrupt or ErrTooLarge; whatever makes a module unloadable is in the result.
func Check(wasm []byte) ([]Compatibility, error) {
	info, err := inspect(wasm)
	if err != nil {
		return nil, err
	}
	out := make([]Compatibility, 0, len(profiles))
	for _, p := range profiles {
		c := Compatibility{Profile: p.name, Envoy: p.envoy}
		var missing *MissingImportsError
		switch err := p.loadable(info); {
		case err == nil:
			c.Loadable = true
		case errors.As(err, &missing):
			c.Missing = missing.Imports
		default:
			c.Reason = err.Error()
		}
		out = append(out, c)
	}
	return out, nil
}

// loadable decides whether the profile can load a module. It gives the same errors as Load.
func (p Profile) loadable(info *moduleInfo) error {
	if info.abi == "" {
		return ErrNoABI
	}
	if missing := p.missing(info); len(missing) > 0 {
		return &MissingImportsError{Profile: p.name, Imports: missing}
	}
	return checkExports(info)
}

// missing lists the imports that the profile does not offer. A function's type counts: Envoy refuses a mismatch too.
func (p Profile) missing(info *moduleInfo) []MissingImport {
	have := p.functions(info.abi)
	var out []MissingImport
	for _, im := range info.imports {
		key := im.module + "." + im.name
		f, ok := have[key]
		switch {
		case im.kind == kindMemory || im.kind == kindTable:
			// Envoy's V8 host makes a memory or a table where one is imported; wazero offers none, and no toolchain for
			// proxy-wasm makes such modules.
		case im.kind == kindFunc && ok && f.typ().equal(im.typ):
			continue
		}
		m := MissingImport{Module: im.module, Name: im.name, Kind: kindNames[im.kind]}
		if im.kind == kindFunc {
			m.Want = im.typ.String()
			if ok {
				m.Have = f.typ().String()
			}
			m.Profiles = profilesWith(info.abi, key, im.typ)
		}
		if !slices.ContainsFunc(out, func(o MissingImport) bool {
			return o.Module == m.Module && o.Name == m.Name && o.Kind == m.Kind && o.Want == m.Want
		}) {
			out = append(out, m)
		}
	}
	return out
}

func profilesWith(abi, key string, typ funcType) []string {
	var out []string
	for _, p := range profiles {
		if f, ok := p.functions(abi)[key]; ok && f.typ().equal(typ) {
			out = append(out, p.name)
		}
	}
	return out
}

// guestExports are the exports that the host calls, with their types. Only those in requiredExports must be there.
var guestExports = func() map[string]hostFunction {
	list := []hostFunction{
		{name: "_initialize", sig: ""},
		{name: "_start", sig: ""},
		{name: "main", sig: "ii:i"},
		{name: "__main_void", sig: ":i"},
		{name: "malloc", sig: "i:i"},
		{name: "proxy_on_memory_allocate", sig: "i:i"},
		{name: "proxy_validate_configuration", sig: "ii:i"},
		{name: "proxy_on_vm_start", sig: "ii:i"},
		{name: "proxy_on_configure", sig: "ii:i"},
		{name: "proxy_on_tick", sig: "i"},
		{name: "proxy_on_context_create", sig: "ii"},
		{name: "proxy_on_new_connection", sig: "i:i"},
		{name: "proxy_on_downstream_data", sig: "iii:i"},
		{name: "proxy_on_upstream_data", sig: "iii:i"},
		{name: "proxy_on_downstream_connection_close", sig: "ii"},
		{name: "proxy_on_upstream_connection_close", sig: "ii"},
		{name: "proxy_on_request_headers", sig: "iii:i"},
		{name: "proxy_on_request_body", sig: "iii:i"},
		{name: "proxy_on_request_trailers", sig: "ii:i"},
		{name: "proxy_on_request_metadata", sig: "ii:i"},
		{name: "proxy_on_response_headers", sig: "iii:i"},
		{name: "proxy_on_response_body", sig: "iii:i"},
		{name: "proxy_on_response_trailers", sig: "ii:i"},
		{name: "proxy_on_response_metadata", sig: "ii:i"},
		{name: "proxy_on_http_call_response", sig: "iiiii"},
		{name: "proxy_on_grpc_receive", sig: "iii"},
		{name: "proxy_on_grpc_close", sig: "iii"},
		{name: "proxy_on_grpc_receive_initial_metadata", sig: "iii"},
		{name: "proxy_on_grpc_receive_trailing_metadata", sig: "iii"},
		{name: "proxy_on_queue_ready", sig: "ii"},
		{name: "proxy_on_foreign_function", sig: "iii"},
		{name: "proxy_on_done", sig: "i:i"},
		{name: "proxy_on_log", sig: "i"},
		{name: "proxy_on_delete", sig: "i"},
	}
	out := make(map[string]hostFunction, len(list))
	for _, f := range list {
		out[f.name] = f
	}
	return out
}()

// checkExports checks the types of the exports that the host calls, and that there is an allocator.
func checkExports(info *moduleInfo) error {
	names := make([]string, 0, len(guestExports))
	for name := range guestExports {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		have, ok := info.exports[name]
		if !ok || skipExport(info, name) {
			continue
		}
		if want := exportType(name, info.abi); !have.equal(want) {
			return &ExportError{Name: name, Want: want.String(), Have: have.String()}
		}
	}
	_, malloc := info.exports["malloc"]
	_, allocate := info.exports["proxy_on_memory_allocate"]
	if !malloc && !allocate {
		return &ExportError{Name: "proxy_on_memory_allocate (or malloc)", Want: exportType("malloc", info.abi).String()}
	}
	return nil
}

// skipExport says that the host never looks at an export, because another one stands before it.
func skipExport(info *moduleInfo, name string) bool {
	_, initialize := info.exports["_initialize"]
	_, malloc := info.exports["malloc"]
	switch name {
	case "_start":
		return initialize
	case "main", "__main_void":
		return !initialize
	case "proxy_on_memory_allocate":
		return malloc
	case "proxy_on_foreign_function":
		return info.abi == "0.1.0"
	}
	return false
}

// exportType is the type that the host calls an export with. In ABI 0.1.0 the headers callbacks have no end_of_stream.
func exportType(name, abi string) funcType {
	if abi == "0.1.0" && strings.HasSuffix(name, "_headers") {
		return hostFunction{sig: "ii:i"}.typ()
	}
	return guestExports[name].typ()
}
