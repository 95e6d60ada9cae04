package build

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The modules of WASI's functions.
const (
	wasiPreview1 = "wasi_snapshot_preview1"
	wasiUnstable = "wasi_unstable"
)

// stub is what a module does itself in place of a WASI function that some Envoy lacks, or that would end the program there. A
// filter has no files, sockets or threads in any Envoy, so each answers what Envoys that have the function answer
// (proxy-wasm-cpp-host, src/exports.cc): a module with stubs behaves the same on all of them.
type stub struct {
	// errno is the answer.
	errno byte
	// standard answers success instead for the descriptors 1 and 2, which is argument 0.
	standard bool
	// clear are the arguments that point to results, which become zero.
	clear []output
	// always is set for functions that every Envoy has, where another answer is needed.
	always string
}

// output is a result that the guest asks for by a pointer.
type output struct {
	argument byte
	bits     byte // 16, 32 or 64
	value    byte
}

// Answers of WASI functions. Envoy's host answers 20 where it means ENOTDIR, which is 54 in WASI.
const (
	errnoSuccess      = 0
	errnoBadF         = 8
	errnoNotDirectory = 20
	errnoNoSys        = 52
	errnoNotSupported = 58
)

// stubs are the functions that can be stood in for.
var stubs = map[string]stub{
	"poll_oneoff": {clear: []output{{3, 32, 0}},
		always: "so that timers and sleeps do not end the program on Envoy up to 1.38, where the host answers ENOSYS (golang/go#78513)"},
	"sched_yield": {always: "so that the Go runtime may call it while the host asks for memory, where the host forbids it"},

	"clock_res_get":           {clear: []output{{1, 64, 1}}},
	"fd_advise":               {},
	"fd_allocate":             {errno: errnoBadF, standard: true},
	"fd_datasync":             {errno: errnoBadF, standard: true},
	"fd_fdstat_set_rights":    {errno: errnoBadF, standard: true},
	"fd_filestat_get":         {errno: errnoBadF},
	"fd_filestat_set_size":    {errno: errnoBadF, standard: true},
	"fd_filestat_set_times":   {errno: errnoBadF, standard: true},
	"fd_pread":                {errno: errnoNoSys},
	"fd_pwrite":               {errno: errnoNoSys},
	"fd_readdir":              {errno: errnoNotDirectory, clear: []output{{4, 32, 0}}},
	"fd_renumber":             {errno: errnoBadF},
	"fd_sync":                 {errno: errnoBadF, standard: true},
	"fd_tell":                 {errno: errnoBadF, standard: true, clear: []output{{1, 64, 0}}},
	"path_create_directory":   {errno: errnoNotSupported},
	"path_filestat_get":       {errno: errnoNotSupported},
	"path_filestat_set_times": {errno: errnoNotSupported},
	"path_link":               {errno: errnoNotSupported},
	"path_readlink":           {errno: errnoNotSupported, clear: []output{{5, 32, 0}}},
	"path_remove_directory":   {errno: errnoNotSupported},
	"path_rename":             {errno: errnoNotSupported},
	"path_symlink":            {errno: errnoNotSupported},
	"path_unlink_file":        {errno: errnoNotSupported},
	"sock_accept":             {errno: errnoNotSupported, clear: []output{{2, 64, 0}}},
	"sock_recv":               {errno: errnoNotSupported, clear: []output{{4, 32, 0}, {5, 16, 0}}},
	"sock_send":               {errno: errnoNotSupported, clear: []output{{4, 32, 0}}},
	"sock_shutdown":           {errno: errnoNotSupported},
}

// stubOf is the stub for an import, by its name.
func stubOf(module, name string) (stub, bool) {
	if module != wasiPreview1 && module != wasiUnstable {
		return stub{}, false
	}
	s, ok := stubs[name]
	return s, ok
}

// body is the code of the stub for a function of this type, or nil if the type is not one that it can answer.
func (s stub) body(t functionType) []byte {
	const i32 = 0x7f
	if len(t.results) != 1 || t.results[0] != i32 || s.standard && (len(t.params) == 0 || t.params[0] != i32) {
		return nil
	}
	code := []byte{0} // no locals
	for _, o := range s.clear {
		if int(o.argument) >= len(t.params) || t.params[o.argument] != i32 {
			return nil
		}
		// Stores have an alignment of one byte, so that no pointer is wrong.
		switch code = append(code, opLocalGet, o.argument); o.bits {
		case 16:
			code = append(code, opI32Const, o.value, opI32Store16, 0, 0)
		case 32:
			code = append(code, opI32Const, o.value, opI32Store, 0, 0)
		case 64:
			code = append(code, opI64Const, o.value, opI64Store, 0, 0)
		}
	}
	if s.standard {
		// errno 0 or s.errno, by whether argument 0 minus 1 is at most 1, without sign.
		code = append(code, opI32Const, errnoSuccess, opI32Const, s.errno,
			opLocalGet, 0, opI32Const, 1, opI32Sub, opI32Const, 1, opI32LeU, opSelect)
	} else {
		code = append(code, opI32Const, s.errno)
	}
	return append(code, opEnd)
}

// standIn replaces the imports that some Envoy lacks, and those that are always replaced, by stubs, and says what it did. before
// is what Check says of the module as it is.
func standIn(wasm []byte, before CheckReport) ([]byte, []Finding, error) {
	missing := before.missing()
	done := map[string]stub{}
	wasm, err := replaceImports(wasm, func(im importEntry, t functionType) []byte {
		key := im.module + "." + im.name
		s, ok := stubOf(im.module, im.name)
		if _, lacked := missing[key]; !ok || s.always == "" && !lacked {
			return nil
		}
		body := s.body(t)
		if body != nil {
			done[key] = s
		}
		return body
	})
	if err != nil {
		return nil, nil, err
	}
	var changes []Finding
	for _, key := range slices.Sorted(maps.Keys(done)) {
		changes = append(changes, done[key].describe(key, missing[key]))
	}
	return wasm, changes, nil
}

// missingIn is an import and the Envoy versions that lack it.
type missingIn struct {
	MissingImport
	envoys []string
}

// missing are the imports that some profile lacks.
func (r CheckReport) missing() map[string]missingIn {
	out := map[string]missingIn{}
	for _, p := range r.Profiles {
		for _, m := range p.Missing {
			out[m.Import] = missingIn{m, append(out[m.Import].envoys, p.Envoy)}
		}
	}
	return out
}

// describe says what stands in for an import, and why.
func (s stub) describe(key string, m missingIn) Finding {
	if s.always != "" {
		return Finding{Message: fmt.Sprintf("%s is answered in the module, with errno %d, %s", key, s.errno, s.always)}
	}
	f := Finding{
		Message: fmt.Sprintf("%s is answered in the module, with errno %d, since Envoy %s has no such function", key, s.errno, strings.Join(m.envoys, ", ")),
		Next:    "leave out what needs it: a filter has no files and no sockets in any Envoy",
	}
	switch {
	case len(m.Path) > 0:
		f.Message += "; it is reached by " + m.Cause
	case m.Cause != "":
		f.Message += "; it usually comes from " + m.Cause
	}
	return f
}
