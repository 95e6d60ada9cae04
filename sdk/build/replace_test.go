package build

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// wasmModule puts sections together: identities and bodies, in turn.
func wasmModule(parts ...any) []byte {
	var list []section
	for i := 0; i < len(parts); i += 2 {
		list = append(list, section{id: byte(parts[i].(int)), body: parts[i+1].([]byte)})
	}
	return joinSections(list)
}

// TestReplaceImports replaces the middle one of three imports in a module that names functions in every way there is.
func TestReplaceImports(t *testing.T) {
	t.Parallel()
	name := func(s string) []byte { return appendName(nil, s) }
	cat := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	const i32, funcref = 0x7f, 0x70
	wasm := wasmModule(
		sectionType, []byte{2, 0x60, 0, 1, i32, 0x60, 0, 0},
		sectionImport, cat([]byte{3}, name("env"), name("one"), []byte{0, 0}, name("wasi_unstable"), name("two"), []byte{0, 0}, name("env"), name("three"), []byte{0, 0}),
		sectionFunction, []byte{5, 0, 0, 0, 1, 0},
		4, []byte{1, funcref, 0, 4},
		sectionMemory, []byte{1, 0, 1},
		sectionGlobal, []byte{2, i32, 1, opI32Const, 0, opEnd, funcref, 0, opRefFunc, 1, opEnd},
		sectionExport, cat([]byte{6}, name("two"), []byte{0, 1}, name("callTwo"), []byte{0, 3}, name("callThree"), []byte{0, 4}, name("byTable"), []byte{0, 5}, name("started"), []byte{0, 7}, name("memory"), []byte{2, 0}),
		sectionStart, []byte{6},
		// functions 1, 2 at the places 0, 1 of the table, and function 4 at 2 by an expression
		sectionElement, []byte{2, 0, opI32Const, 0, opEnd, 2, 1, 2, 4, opI32Const, 2, opEnd, 1, opRefFunc, 4, opEnd},
		sectionCode, []byte{5,
			4, 0, opCall, 1, opEnd,
			4, 0, opCall, 2, opEnd,
			// table[0]() * 100 + table[1]() * 10 + table[2]()
			26, 0, opI32Const, 0, opCallIndirect, 0, 0, opI32Const, 0xe4, 0, 0x6c,
			opI32Const, 1, opCallIndirect, 0, 0, opI32Const, 10, 0x6c, 0x6a,
			opI32Const, 2, opCallIndirect, 0, 0, 0x6a, opEnd,
			6, 0, opCall, 1, 0x24, 0, opEnd,
			4, 0, 0x23, 0, opEnd},
		sectionCustom, nameSection(map[uint32]string{1: "two", 2: "three"}),
		sectionCustom, cat(name("linking"), []byte{1, 2, 1, 0}),
		sectionCustom, cat(name("kept"), []byte("as it is")),
	)
	ctx := t.Context()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer runtime.Close(ctx)
	env := runtime.NewHostModuleBuilder("env")
	for name, answer := range map[string]int32{"one": 1, "three": 3} {
		env.NewFunctionBuilder().WithFunc(func() int32 { return answer }).Export(name)
	}
	if _, err := env.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := replaceImports(wasm, func(im importEntry, _ functionType) []byte {
		if im.name != "two" {
			return nil
		}
		return []byte{0, opI32Const, 2, opEnd}
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.Instantiate(ctx, out)
	if err != nil {
		t.Fatal(err)
	}
	for export, want := range map[string]uint64{"two": 2, "callTwo": 2, "callThree": 3, "byTable": 233, "started": 2} {
		if got, err := m.ExportedFunction(export).Call(ctx); err != nil || got[0] != want {
			t.Errorf("%s is %v, %v; want %d", export, got, err, want)
		}
	}
	if !bytes.Contains(out, []byte("as it is")) || bytes.Contains(out, name("linking")) {
		t.Error("the wrong custom sections are left out")
	}
	list, err := sections(out)
	if err != nil {
		t.Fatal(err)
	}
	// "two" is now the last function, and "three" has moved up.
	names, err := functionNames(list)
	if last := uint32(len(names)); err != nil || names[1] != "three" || last != 2 {
		t.Errorf("the functions are named %v, %v", names, err)
	}
	same, err := replaceImports(wasm, func(importEntry, functionType) []byte { return nil })
	if err != nil || !bytes.Equal(same, wasm) {
		t.Errorf("without a stub the module must stay as it is: %v", err)
	}
}

// TestStubs calls each stub as a filter would, with stdout and with a descriptor of nothing, and looks at the memory that it is told
// to write to. The answers are those of Envoy 1.39 and later.
func TestStubs(t *testing.T) {
	t.Parallel()
	// A letter for each parameter: d is the descriptor, p a pointer to a result, l an i64, i any other i32.
	const success = 0
	for name, tc := range map[string]struct {
		params         string
		stdout, beyond uint64
		written        []byte // at the first pointer
	}{
		"poll_oneoff":             {"iiip", success, success, []byte{0, 0, 0, 0, 0xff}},
		"sched_yield":             {"", success, success, nil},
		"clock_res_get":           {"ip", success, success, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0xff}},
		"fd_advise":               {"dlli", success, success, nil},
		"fd_allocate":             {"dll", success, errnoBadF, nil},
		"fd_datasync":             {"d", success, errnoBadF, nil},
		"fd_fdstat_set_rights":    {"dll", success, errnoBadF, nil},
		"fd_filestat_get":         {"di", errnoBadF, errnoBadF, nil},
		"fd_filestat_set_size":    {"dl", success, errnoBadF, nil},
		"fd_filestat_set_times":   {"dlli", success, errnoBadF, nil},
		"fd_pread":                {"diili", errnoNoSys, errnoNoSys, nil},
		"fd_pwrite":               {"diili", errnoNoSys, errnoNoSys, nil}, // Envoy logs it; a filter has fd_write for that
		"fd_readdir":              {"diilp", 20, 20, []byte{0, 0, 0, 0, 0xff}},
		"fd_renumber":             {"dd", errnoBadF, errnoBadF, nil}, // Envoy answers ENOTSUP for two of stdout and stderr
		"fd_sync":                 {"d", success, errnoBadF, nil},
		"fd_tell":                 {"dp", success, errnoBadF, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff}},
		"path_create_directory":   {"dii", errnoNotSupported, errnoNotSupported, nil},
		"path_filestat_get":       {"diiii", errnoNotSupported, errnoNotSupported, nil},
		"path_filestat_set_times": {"diiilli", errnoNotSupported, errnoNotSupported, nil},
		"path_link":               {"diiidii", errnoNotSupported, errnoNotSupported, nil},
		"path_readlink":           {"diiiip", errnoNotSupported, errnoNotSupported, []byte{0, 0, 0, 0, 0xff}},
		"path_remove_directory":   {"dii", errnoNotSupported, errnoNotSupported, nil},
		"path_rename":             {"diidii", errnoNotSupported, errnoNotSupported, nil},
		"path_symlink":            {"iidii", errnoNotSupported, errnoNotSupported, nil},
		"path_unlink_file":        {"dii", errnoNotSupported, errnoNotSupported, nil},
		"sock_accept":             {"dip", errnoNotSupported, errnoNotSupported, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff}},
		"sock_recv":               {"diiipp", errnoNotSupported, errnoNotSupported, []byte{0, 0, 0, 0, 0xff}},
		"sock_send":               {"diiip", errnoNotSupported, errnoNotSupported, []byte{0, 0, 0, 0, 0xff}},
		"sock_shutdown":           {"di", errnoNotSupported, errnoNotSupported, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := stubModule(t, name, tc.params)
			const place = 64
			for descriptor, want := range map[uint64]uint64{1: tc.stdout, 2: tc.stdout, 0: tc.beyond, 3: tc.beyond, 1<<32 - 1: tc.beyond} {
				if !strings.Contains(tc.params, "d") {
					want = tc.stdout
				}
				memory := f.memory
				memory.Write(0, bytes.Repeat([]byte{0xff}, 256))
				var args []uint64
				at := uint64(place)
				for _, p := range tc.params {
					switch p {
					case 'd':
						args = append(args, descriptor)
					case 'p':
						args = append(args, at)
						at += 64
					default:
						args = append(args, 0)
					}
				}
				got, err := f.call.Call(t.Context(), args...)
				if err != nil || got[0] != want {
					t.Errorf("descriptor %d: answers %v, %v; want %d", int32(descriptor), got, err, want)
				}
				if have, _ := memory.Read(place, uint32(len(tc.written))); !bytes.Equal(have, tc.written) {
					t.Errorf("descriptor %d: writes %x, want %x", int32(descriptor), have, tc.written)
				}
			}
		})
	}
	if s := stubs["fd_readdir"]; s.body(functionType{params: []byte{0x7f}, results: []byte{0x7f}}) != nil {
		t.Error("a stub for a type that it does not fit")
	}
	if _, ok := stubOf("env", "poll_oneoff"); ok {
		t.Error("a stub for a function that is not WASI's")
	}
}

type stubFunction struct {
	call   api.Function
	memory api.Memory
}

// stubModule is a module that exports the stub of a function.
func stubModule(t *testing.T, name, params string) stubFunction {
	t.Helper()
	typ := functionType{results: []byte{0x7f}}
	for _, p := range params {
		if p == 'l' {
			typ.params = append(typ.params, 0x7e)
		} else {
			typ.params = append(typ.params, 0x7f)
		}
	}
	types := append(binary.AppendUvarint([]byte{1, 0x60}, uint64(len(typ.params))), typ.params...)
	wasm := wasmModule(
		sectionType, append(types, 1, 0x7f),
		sectionImport, slices.Concat([]byte{1}, appendName(nil, wasiPreview1), appendName(nil, name), []byte{0, 0}),
		sectionFunction, []byte{0},
		sectionMemory, []byte{1, 0, 1},
		sectionExport, slices.Concat([]byte{2}, appendName(nil, "f"), []byte{0, 0}, appendName(nil, "memory"), []byte{2, 0}),
		sectionCode, []byte{0},
	)
	out, err := replaceImports(wasm, func(im importEntry, t functionType) []byte {
		s, _ := stubOf(im.module, im.name)
		return s.body(t)
	})
	if err != nil {
		t.Fatal(err)
	}
	runtime := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { _ = runtime.Close(t.Context()) })
	m, err := runtime.Instantiate(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	return stubFunction{m.ExportedFunction("f"), m.Memory()}
}

// FuzzReplaceImports wants no panic on any bytes, and of what V8 or wazero would take a module that is still one.
func FuzzReplaceImports(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Add(wasmModule(sectionType, []byte{1, 0x60, 0, 1, 0x7f},
		sectionImport, slices.Concat([]byte{1}, appendName(nil, wasiPreview1), appendName(nil, "sched_yield"), []byte{0, 0}),
		sectionFunction, []byte{1, 0}, sectionExport, slices.Concat([]byte{1}, appendName(nil, "f"), []byte{0, 1}),
		sectionCode, []byte{1, 4, 0, opCall, 0, opEnd}))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := replaceImports(in, func(im importEntry, typ functionType) []byte {
			s, ok := stubOf(im.module, im.name)
			if !ok {
				return nil
			}
			return s.body(typ)
		})
		if err != nil {
			return
		}
		ctx := t.Context()
		runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
		defer runtime.Close(ctx)
		if _, err := runtime.CompileModule(ctx, in); err != nil {
			return
		}
		if _, err := runtime.CompileModule(ctx, out); err != nil {
			t.Errorf("a module that compiled does not any more: %v", err)
		}
	})
}
