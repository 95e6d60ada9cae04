package build

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
)

// replaceImports makes functions of the module's own out of imported ones: stub gives the body of the function that is to stand
// in for an import, or nil for one that stays. Everything that names a function is numbered anew. Of the name section the
// functions' names are kept, if they can be read; other custom sections that name functions by number (linking, relocations) are left out, since they
// would then lie.
func replaceImports(wasm []byte, stub func(im importEntry, typ functionType) []byte) ([]byte, error) {
	f, err := readFunctions(wasm)
	if err != nil {
		return nil, err
	}
	imported := f.imported()
	// place is where each function that was imported is now; the stubs come behind all other functions.
	place := make([]uint32, 0, imported)
	var kept []importEntry
	var stubs [][]byte
	var types []uint32
	keptFunctions := uint32(0)
	for _, im := range f.imports {
		if !im.isFunction() {
			kept = append(kept, im)
			continue
		}
		if body := stub(im, f.types[im.typ]); body != nil {
			place = append(place, uint32(len(stubs)))
			stubs, types = append(stubs, body), append(types, im.typ)
			continue
		}
		place = append(place, keptFunctions|imported32)
		keptFunctions++
		kept = append(kept, im)
	}
	if len(stubs) == 0 {
		return wasm, nil
	}
	firstStub := keptFunctions + uint32(len(f.own))
	number := func(old uint32) uint32 {
		if old >= uint32(imported) {
			return old - uint32(len(stubs))
		}
		if p := place[old]; p&imported32 != 0 {
			return p &^ imported32
		}
		return firstStub + place[old]
	}
	f.imports, f.own = kept, append(f.own, types...)
	for i, body := range f.bodies {
		if f.bodies[i], err = renumberBody(make([]byte, 0, len(body)+len(body)/64), body, number); err != nil {
			return nil, fmt.Errorf("function %d: %w", imported+i, err)
		}
	}
	f.bodies = append(f.bodies, stubs...)
	for i, e := range f.exports {
		if e.kind == kindFunction {
			f.exports[i].index = number(e.index)
		}
	}
	return f.write(number)
}

// imported32 marks the place of a function that is still imported. No module has as many functions.
const imported32 = 1 << 31

// write puts the module together again, with its functions numbered anew.
func (f *functions) write(number func(uint32) uint32) ([]byte, error) {
	var out []section
	for _, s := range f.sections {
		var err error
		switch s.id {
		case sectionCustom:
			name, _, cerr := custom(s.body)
			switch {
			case cerr == nil && name == sectionName:
				names, nerr := functionNames([]section{s})
				if nerr != nil {
					continue // names are for people; the module does without
				}
				names = renumberNames(names, number)
				maps.Copy(names, f.addedNames)
				s.body = nameSection(names)
			case cerr != nil || namesFunctions(name):
				continue
			}
		case sectionType:
			s.body = appendList(nil, f.types, appendFunctionType)
		case sectionImport:
			s.body = appendList(nil, f.imports, func(dst []byte, im importEntry) []byte { return append(dst, im.raw...) })
		case sectionFunction:
			s.body = appendList(nil, f.own, func(dst []byte, typ uint32) []byte { return binary.AppendUvarint(dst, uint64(typ)) })
		case sectionExport:
			s.body = appendExports(f.exports)
		case sectionCode:
			s.body = appendList(nil, f.bodies, func(dst, body []byte) []byte {
				return append(binary.AppendUvarint(dst, uint64(len(body))), body...)
			})
		case sectionStart:
			r := &reader{rest: s.body}
			s.body = binary.AppendUvarint(nil, uint64(number(r.u32())))
			err = r.finish()
		case sectionElement:
			s.body, err = renumberElements(s.body, number)
		case sectionGlobal:
			s.body, err = renumberGlobals(s.body, number)
		}
		if err != nil {
			return nil, fmt.Errorf("section %d: %w", s.id, err)
		}
		out = append(out, s)
	}
	return joinSections(out), nil
}

// namesFunctions says whether a custom section of this name, which is not the name section, holds numbers of functions.
func namesFunctions(name string) bool {
	return name == "linking" || len(name) > 6 && name[:6] == "reloc."
}

func appendList[T any](dst []byte, list []T, item func([]byte, T) []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, v := range list {
		dst = item(dst, v)
	}
	return dst
}

func appendExports(list []exportEntry) []byte {
	return appendList(nil, list, func(dst []byte, e exportEntry) []byte {
		return binary.AppendUvarint(append(appendName(dst, e.name), e.kind), uint64(e.index))
	})
}

// renumberElements writes an element section: what tables are filled with.
func renumberElements(body []byte, number func(uint32) uint32) ([]byte, error) {
	const (
		passive     = 1 << 0 // or declared: no table and no offset
		hasTable    = 1 << 1
		expressions = 1 << 2
	)
	r := &reader{rest: body}
	count := r.u32()
	dst := binary.AppendUvarint(nil, uint64(count))
	// take copies what step reads.
	take := func(step func()) {
		from := r.rest
		step()
		if r.err == nil {
			dst = append(dst, from[:len(from)-len(r.rest)]...)
		}
	}
	expression := func() {
		if r.err == nil {
			var err error
			if dst, err = renumberCode(dst, r.rest, r, number); err != nil {
				r.fail(err)
			}
		}
	}
	for range count {
		if r.err != nil {
			break
		}
		var flags uint32
		take(func() { flags = r.u32() })
		if flags > passive|hasTable|expressions {
			return nil, fmt.Errorf("elements with flags %#x, which are not known here", flags)
		}
		if flags&passive == 0 {
			if flags&hasTable != 0 {
				take(r.leb)
			}
			expression()
		}
		if flags&(passive|hasTable) != 0 {
			take(func() { r.byte() }) // their kind or type
		}
		var n uint32
		take(func() { n = r.u32() })
		for ; n > 0 && r.err == nil; n-- {
			if flags&expressions != 0 {
				expression()
			} else {
				dst = binary.AppendUvarint(dst, uint64(number(r.u32())))
			}
		}
	}
	return dst, r.finish()
}

// renumberGlobals writes a global section, since a global may begin as a reference to a function.
func renumberGlobals(body []byte, number func(uint32) uint32) ([]byte, error) {
	r := &reader{rest: body}
	count := r.u32()
	dst := binary.AppendUvarint(nil, uint64(count))
	for range count {
		head := r.bytes(2) // type and mutability
		if r.err != nil {
			break
		}
		if head[0] < 0x6f {
			return nil, errors.New("a global of a type that is not known here")
		}
		dst = append(dst, head...)
		var err error
		if dst, err = renumberCode(dst, r.rest, r, number); err != nil {
			return nil, err
		}
	}
	return dst, r.finish()
}
