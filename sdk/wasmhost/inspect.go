package wasmhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// Import is one import of a module.
type Import struct {
	Module, Name string
	Kind         string // func, table, memory, global or tag
	Type         string // a function's type, as "(i32, i64) -> i32"; empty for other kinds
}

// Inspection is what a module says of itself without being compiled.
type Inspection struct {
	ABI     string            // "0.1.0", "0.2.0", "0.2.1", or empty if it has no marker
	Imports []Import          // in the module's order; one import may repeat
	Exports map[string]string // exported functions and their types
	// MemoryMin and MemoryMax are bytes. MemoryMax is 0 if the module states no maximum.
	MemoryMin, MemoryMax int64
}

// Section and kind numbers of the WebAssembly binary format.
const (
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionMemory   = 5
	sectionExport   = 7

	kindFunc   = 0
	kindTable  = 1
	kindMemory = 2
	kindGlobal = 3
	kindTag    = 4
)

var kindNames = [...]string{"func", "table", "memory", "global", "tag"}

// funcType is a function's type.
type funcType struct{ params, results []api.ValueType }

// String writes the type as "(i32, i32) -> i32".
func (t funcType) String() string {
	names := func(vs []api.ValueType) string {
		out := make([]string, len(vs))
		for i, v := range vs {
			out[i] = api.ValueTypeName(v)
		}
		return strings.Join(out, ", ")
	}
	result := names(t.results)
	if len(t.results) != 1 {
		result = "(" + result + ")"
	}
	return "(" + names(t.params) + ") -> " + result
}

func (t funcType) equal(o funcType) bool {
	return slices.Equal(t.params, o.params) && slices.Equal(t.results, o.results)
}

// abiMarkers are the exports that name an ABI version.
var abiMarkers = map[string]string{
	"proxy_abi_version_0_1_0": "0.1.0",
	"proxy_abi_version_0_2_0": "0.2.0",
	"proxy_abi_version_0_2_1": "0.2.1",
}

// moduleInfo is the parsed form behind Inspection.
type moduleInfo struct {
	abi       string
	imports   []moduleImport
	exports   map[string]funcType
	memoryMin uint64 // pages
	memoryMax uint64 // pages
	hasMax    bool
	hasMemory bool // exports a memory, or imports one
}

// importedFunctions counts the functions that a module imports: the indexes of its own come after.
func (m *moduleInfo) importedFunctions() uint32 {
	var n uint32
	for _, im := range m.imports {
		if im.kind == kindFunc {
			n++
		}
	}
	return n
}

type moduleImport struct {
	module, name string
	kind         byte
	typ          funcType // kindFunc only
}

// Inspect reads a module's imports, exports, memory and ABI marker. It compiles nothing and takes about a millisecond.
// Errors are ErrCorrupt and ErrTooLarge.
func Inspect(wasm []byte) (Inspection, error) {
	info, err := inspect(wasm)
	if err != nil {
		return Inspection{}, err
	}
	out := Inspection{
		ABI:       info.abi,
		Exports:   make(map[string]string, len(info.exports)),
		MemoryMin: int64(info.memoryMin) * wasmPageSize,
	}
	if info.hasMax {
		out.MemoryMax = int64(info.memoryMax) * wasmPageSize
	}
	for name, t := range info.exports {
		out.Exports[name] = t.String()
	}
	for _, m := range info.imports {
		im := Import{Module: m.module, Name: m.name, Kind: kindNames[m.kind]}
		if m.kind == kindFunc {
			im.Type = m.typ.String()
		}
		out.Imports = append(out.Imports, im)
	}
	return out, nil
}

func inspect(wasm []byte) (*moduleInfo, error) {
	if len(wasm) > MaxModuleSize {
		return nil, fmt.Errorf("module of %d bytes, at most %d: %w", len(wasm), MaxModuleSize, ErrTooLarge)
	}
	if len(wasm) < 8 || string(wasm[:4]) != "\x00asm" || binary.LittleEndian.Uint32(wasm[4:]) != 1 {
		return nil, fmt.Errorf("no WebAssembly header: %w", ErrCorrupt)
	}
	p := &moduleParser{info: &moduleInfo{exports: map[string]funcType{}}}
	r := &byteReader{data: wasm, pos: 8}
	for !r.done() {
		id := r.byte()
		body := r.bytes()
		if r.err != nil {
			return nil, fmt.Errorf("section at byte %d: %w: %w", r.pos, r.err, ErrCorrupt)
		}
		if err := p.section(id, body); err != nil {
			return nil, fmt.Errorf("section %d: %w: %w", id, err, ErrCorrupt)
		}
	}
	return p.info, nil
}

// moduleParser gathers what later sections refer to.
type moduleParser struct {
	info  *moduleInfo
	types []funcType
	funcs []uint32 // type index of every function, imported ones first
}

func (p *moduleParser) section(id byte, body []byte) error {
	r := &byteReader{data: body}
	switch id {
	case sectionType:
		p.typeSection(r)
	case sectionImport:
		p.importSection(r)
	case sectionFunction:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			p.funcs = append(p.funcs, r.u32())
		}
	case sectionMemory:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			p.limits(r)
		}
	case sectionExport:
		p.exportSection(r)
	}
	return r.err
}

func (p *moduleParser) typeSection(r *byteReader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		if form := r.byte(); form != 0x60 {
			r.fail(fmt.Errorf("type form 0x%x", form))
			return
		}
		p.types = append(p.types, funcType{params: slices.Clone(r.bytes()), results: slices.Clone(r.bytes())})
	}
}

func (p *moduleParser) importSection(r *byteReader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		im := moduleImport{module: string(r.bytes()), name: string(r.bytes()), kind: r.byte()}
		switch im.kind {
		case kindFunc:
			index := r.u32()
			p.funcs = append(p.funcs, index)
			im.typ = p.typeAt(r, index)
		case kindTable:
			r.byte()
			skipLimits(r)
		case kindMemory:
			p.limits(r)
		case kindGlobal:
			r.byte()
			r.byte()
		case kindTag:
			r.byte()
			r.u32()
		default:
			r.fail(fmt.Errorf("import kind %d", im.kind))
			return
		}
		p.info.imports = append(p.info.imports, im)
	}
}

func (p *moduleParser) exportSection(r *byteReader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		name, kind, index := string(r.bytes()), r.byte(), r.u32()
		if kind != kindFunc || r.err != nil {
			continue
		}
		if uint64(index) >= uint64(len(p.funcs)) {
			r.fail(fmt.Errorf("export %q names function %d of %d", name, index, len(p.funcs)))
			return
		}
		p.info.exports[name] = p.typeAt(r, p.funcs[index])
		if abi, ok := abiMarkers[name]; ok && p.info.abi == "" {
			p.info.abi = abi
		}
	}
}

func (p *moduleParser) typeAt(r *byteReader, index uint32) funcType {
	if uint64(index) >= uint64(len(p.types)) {
		r.fail(fmt.Errorf("type %d of %d", index, len(p.types)))
		return funcType{}
	}
	return p.types[index]
}

func (p *moduleParser) limits(r *byteReader) {
	flags := r.byte()
	p.info.hasMemory = true
	p.info.memoryMin = r.leb(64)
	if p.info.hasMax = flags&1 != 0; p.info.hasMax {
		p.info.memoryMax = r.leb(64)
	}
}

func skipLimits(r *byteReader) {
	flags := r.byte()
	r.leb(64)
	if flags&1 != 0 {
		r.leb(64)
	}
}

var errShort = errors.New("ends too early")

// byteReader reads the binary format. After the first error every read gives zero values.
type byteReader struct {
	data []byte
	pos  int
	err  error
}

func (r *byteReader) done() bool { return r.err != nil || r.pos >= len(r.data) }

func (r *byteReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *byteReader) byte() byte {
	if r.done() {
		r.fail(errShort)
		return 0
	}
	b := r.data[r.pos]
	r.pos++
	return b
}

// bytes reads a vector of bytes. It shares memory with the input.
func (r *byteReader) bytes() []byte {
	n := r.u32()
	if r.err != nil || uint64(n) > uint64(len(r.data)-r.pos) {
		r.fail(errShort)
		return nil
	}
	b := r.data[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b
}

// count reads the length of a vector, which cannot be more than the bytes that are left.
func (r *byteReader) count() uint32 {
	n := r.u32()
	if r.err == nil && uint64(n) > uint64(len(r.data)-r.pos) {
		r.fail(errShort)
		return 0
	}
	return n
}

func (r *byteReader) u32() uint32 { return uint32(r.leb(32)) }

func (r *byteReader) leb(bits uint) uint64 {
	var v uint64
	for shift := uint(0); shift < bits; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			if bits == 32 && v > 0xffffffff {
				break
			}
			return v
		}
	}
	r.fail(errors.New("number too long"))
	return 0
}
