package wasmhost_test

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// moduleBuilder assembles small modules by hand, so that tests can do what no SDK lets a filter do.
type moduleBuilder struct {
	types   [][2]string // parameters and results, as letters: i for i32, l for i64
	imports []builtImport
	funcs   []builtFunc
	data    []byte // at dataAt
	memory  uint32 // pages; 0 for 2
	max     uint32 // pages; 0 for none
	noMem   bool
	start   string   // the function that is the start function, by its export
	table   []uint32 // indexes of functions
}

type builtImport struct {
	module, name string
	sig          [2]string
}

type builtFunc struct {
	export string
	sig    [2]string
	locals int // i32
	code   []byte
}

// dataAt is where a built module's data lies; scratchAt is free for results.
const (
	dataAt    = 1024
	scratchAt = 4096
)

// newModule begins a module with the marker of an ABI and an allocator that always gives the same address.
func newModule(abi string) *moduleBuilder {
	m := &moduleBuilder{}
	if abi != "" {
		m.function("proxy_abi_version_"+abi, "", "", nil)
	}
	m.function("malloc", "i", "i", i32(16384))
	return m
}

// importFunc adds an import and gives its index. All imports come before any call.
func (m *moduleBuilder) importFunc(module, name, params, results string) uint32 {
	m.imports = append(m.imports, builtImport{module, name, [2]string{params, results}})
	return uint32(len(m.imports) - 1)
}

func (m *moduleBuilder) function(export, params, results string, code []byte) *moduleBuilder {
	m.funcs = append(m.funcs, builtFunc{export: export, sig: [2]string{params, results}, code: code})
	return m
}

// without removes an export.
func (m *moduleBuilder) without(export string) *moduleBuilder {
	m.funcs = slices.DeleteFunc(m.funcs, func(f builtFunc) bool { return f.export == export })
	return m
}

func (m *moduleBuilder) typeOf(sig [2]string) uint32 {
	i := slices.Index(m.types, sig)
	if i < 0 {
		m.types = append(m.types, sig)
		i = len(m.types) - 1
	}
	return uint32(i)
}

// bytes assembles the module.
func (m *moduleBuilder) bytes() []byte {
	var imports, funcs, exports, code [][]byte
	for _, im := range m.imports {
		imports = append(imports, join(text(im.module), text(im.name), []byte{0}, uleb(m.typeOf(im.sig))))
	}
	for i, f := range m.funcs {
		funcs = append(funcs, uleb(m.typeOf(f.sig)))
		exports = append(exports, join(text(f.export), []byte{0}, uleb(uint32(len(m.imports)+i))))
		var locals []byte
		if f.locals > 0 {
			locals = vec([]byte{byte(f.locals), 0x7f})
		} else {
			locals = []byte{0}
		}
		body := join(locals, f.code, []byte{0x0b})
		code = append(code, join(uleb(uint32(len(body))), body))
	}
	var types [][]byte
	for _, t := range m.types {
		types = append(types, join([]byte{0x60}, valueTypes(t[0]), valueTypes(t[1])))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, items [][]byte) {
		if len(items) > 0 {
			body := vec(items...)
			out = append(out, id)
			out = append(out, uleb(uint32(len(body)))...)
			out = append(out, body...)
		}
	}
	section(1, types)
	section(2, imports)
	section(3, funcs)
	if len(m.table) > 0 {
		section(4, [][]byte{join([]byte{0x70, 0x00}, uleb(uint32(len(m.table))))})
	}
	if !m.noMem {
		limits := join([]byte{0}, uleb(max(m.memory, 2)))
		if m.max > 0 {
			limits = join([]byte{1}, uleb(max(m.memory, 2)), uleb(m.max))
		}
		section(5, [][]byte{limits})
		exports = append(exports, join(text("memory"), []byte{2, 0}))
	}
	section(7, exports)
	if i := slices.IndexFunc(m.funcs, func(f builtFunc) bool { return f.export == m.start }); m.start != "" && i >= 0 {
		start := uleb(uint32(len(m.imports) + i))
		out = append(append(out, 8, byte(len(start))), start...)
	}
	if len(m.table) > 0 {
		var indexes [][]byte
		for _, i := range m.table {
			indexes = append(indexes, uleb(i))
		}
		section(9, [][]byte{join([]byte{0x00}, i32(0), []byte{0x0b}, vec(indexes...))})
	}
	section(10, code)
	if len(m.data) > 0 {
		section(11, [][]byte{join([]byte{0}, i32(dataAt), []byte{0x0b}, uleb(uint32(len(m.data))), m.data)})
	}
	return out
}

func valueTypes(s string) []byte {
	out := []byte{byte(len(s))}
	for _, c := range s {
		if c == 'l' {
			out = append(out, 0x7e)
		} else {
			out = append(out, 0x7f)
		}
	}
	return out
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func vec(items ...[]byte) []byte { return join(uleb(uint32(len(items))), join(items...)) }

func text(s string) []byte { return join(uleb(uint32(len(s))), []byte(s)) }

func uleb(v uint32) []byte { return binary.AppendUvarint(nil, uint64(v)) }

// i32 and i64 push a constant.
func i32(v int32) []byte { return append([]byte{0x41}, sleb(int64(v))...) }

func i64(v int64) []byte { return append([]byte{0x42}, sleb(v)...) }

func sleb(v int64) []byte {
	var out []byte
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// call pushes constants and calls an import.
func call(index uint32, args ...[]byte) []byte { return join(join(args...), []byte{0x10}, uleb(index)) }

var (
	drop        = []byte{0x1a}
	unreachable = []byte{0x00}
	// forever is a loop that never ends.
	forever = []byte{0x03, 0x40, 0x0c, 0x00, 0x0b}
)

// logCode logs the data's bytes from at, size long, through an imported proxy_log.
func logCode(log uint32, at, size int32) []byte {
	return join(call(log, i32(2), i32(dataAt+at), i32(size)), drop)
}
