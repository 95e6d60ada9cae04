package build

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sections of the binary format that functions stand in.
const (
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionGlobal   = 6
	sectionExport   = 7
	sectionStart    = 8
	sectionElement  = 9
	sectionCode     = 10
)

// kindFunction is what imports and exports of functions are marked with.
const kindFunction = 0

// Limits on what a module may hold, which are those of V8 (src/wasm/wasm-limits.h).
const (
	maxFunctions = 1_000_000
	maxTypes     = 1_000_000
)

// functionType is the type of a function: a byte for each parameter and result, as in the binary format.
type functionType struct{ params, results []byte }

// importEntry is one import.
type importEntry struct {
	module, name string
	kind         byte
	// typ is the index of a function's type.
	typ uint32
	// raw is the whole entry.
	raw []byte
}

func (im importEntry) isFunction() bool { return im.kind == kindFunction }

// exportEntry is one export.
type exportEntry struct {
	name  string
	kind  byte
	index uint32
}

// functions are the parts of a module that name functions. Functions are numbered: the imported ones first, in their order,
// then the module's own.
type functions struct {
	sections []section
	types    []functionType
	imports  []importEntry
	// own are the types of the module's own functions, and bodies their code, without its length.
	own     []uint32
	bodies  [][]byte
	exports []exportEntry
	// addedNames are those of functions that were added, by their numbers in the module that is written.
	addedNames map[uint32]string
}

// readFunctions takes a module apart as far as its functions go. What it shares with the module it does not change.
func readFunctions(wasm []byte) (*functions, error) {
	list, err := sections(wasm)
	if err != nil {
		return nil, err
	}
	f := &functions{sections: list}
	for _, s := range list {
		r := &reader{rest: s.body}
		switch s.id {
		case sectionType:
			f.types = readList(r, maxTypes, readFunctionType)
		case sectionImport:
			f.imports = readList(r, maxFunctions, readImport)
		case sectionFunction:
			f.own = readList(r, maxFunctions, (*reader).u32)
		case sectionExport:
			f.exports = readList(r, maxFunctions, func(r *reader) exportEntry { return exportEntry{r.name(), r.byte(), r.u32()} })
		case sectionCode:
			f.bodies = readList(r, maxFunctions, func(r *reader) []byte { return r.bytes(int(r.u32())) })
		default:
			continue
		}
		if err := r.finish(); err != nil {
			return nil, fmt.Errorf("section %d: %w", s.id, err)
		}
	}
	if len(f.own) != len(f.bodies) {
		return nil, fmt.Errorf("it declares %d functions and has code for %d", len(f.own), len(f.bodies))
	}
	for _, im := range f.imports {
		if im.isFunction() && int(im.typ) >= len(f.types) {
			return nil, fmt.Errorf("import %s.%s: there is no type %d", im.module, im.name, im.typ)
		}
	}
	return f, nil
}

// imported is how many functions are imported.
func (f *functions) imported() int {
	n := 0
	for _, im := range f.imports {
		if im.isFunction() {
			n++
		}
	}
	return n
}

// typeForm begins a function's type.
const typeForm = 0x60

func readFunctionType(r *reader) functionType {
	if r.byte() != typeForm {
		r.fail(errors.New("a type is no function type"))
	}
	return functionType{params: r.bytes(int(r.u32())), results: r.bytes(int(r.u32()))}
}

func appendFunctionType(dst []byte, t functionType) []byte {
	dst = append(binary.AppendUvarint(append(dst, typeForm), uint64(len(t.params))), t.params...)
	return append(binary.AppendUvarint(dst, uint64(len(t.results))), t.results...)
}

func readImport(r *reader) importEntry {
	const (
		kindTable, kindMemory, kindGlobal, kindTag = 1, 2, 3, 4
	)
	from := r.rest
	im := importEntry{module: r.name(), name: r.name(), kind: r.byte()}
	switch im.kind {
	case kindFunction:
		im.typ = r.u32()
	case kindTable:
		r.byte()
		r.limits()
	case kindMemory:
		r.limits()
	case kindGlobal, kindTag:
		r.byte()
		r.u32()
	default:
		r.fail(fmt.Errorf("an import is of kind %d", im.kind))
	}
	im.raw = from[:len(from)-len(r.rest)]
	return im
}

// appendName appends a name as the binary format has it.
func appendName(dst []byte, name string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(name))), name...)
}
