package build

import (
	"encoding/binary"
	"maps"
	"slices"
)

// sectionName is the custom section in which linkers name functions.
// https://webassembly.github.io/spec/core/appendix/custom.html#name-section
const sectionName = "name"

// functionsPart is the part of it that names functions.
const functionsPart = 1

// functionNames are the names in a module's name section by the number of the function; none where it has no such section.
func functionNames(list []section) (map[uint32]string, error) {
	for _, s := range list {
		if s.id != sectionCustom {
			continue
		}
		name, content, err := custom(s.body)
		if err != nil || name != sectionName {
			continue
		}
		for r := (&reader{rest: content}); len(r.rest) > 0; {
			part := r.byte()
			body := r.bytes(int(r.u32()))
			if r.err != nil {
				return nil, r.err
			}
			if part != functionsPart {
				continue
			}
			r := &reader{rest: body}
			type named struct {
				index uint32
				name  string
			}
			list := readList(r, maxFunctions, func(r *reader) named { return named{r.u32(), r.name()} })
			if err := r.finish(); err != nil {
				return nil, err
			}
			names := make(map[uint32]string, len(list))
			for _, n := range list {
				names[n.index] = n.name
			}
			return names, nil
		}
	}
	return nil, nil
}

// renumberNames are the names under new numbers.
func renumberNames(names map[uint32]string, number func(uint32) uint32) map[uint32]string {
	out := make(map[uint32]string, len(names))
	for index, name := range names {
		out[number(index)] = name
	}
	return out
}

// nameSection is the body of a name section that names functions, and nothing else.
func nameSection(names map[uint32]string) []byte {
	list := appendList(nil, slices.Sorted(maps.Keys(names)), func(dst []byte, index uint32) []byte {
		return appendName(binary.AppendUvarint(dst, uint64(index)), names[index])
	})
	body := append(appendName(nil, sectionName), functionsPart)
	return append(binary.AppendUvarint(body, uint64(len(list))), list...)
}

// withOneName is the module with a name section that names its first function only. Envoy tells the stack of a trap only of a
// module that names functions (proxy-wasm-cpp-host, src/v8/v8.cc, getFailMessage), and by numbers those that have no name: the
// symbol file beside the module knows them.
func withOneName(wasm []byte) ([]byte, error) {
	list, err := sections(wasm)
	if err != nil {
		return nil, err
	}
	var kept []section
	for _, s := range list {
		if s.id == sectionCustom {
			if name, _, err := custom(s.body); err == nil && name == sectionName {
				continue
			}
		}
		kept = append(kept, s)
	}
	kept = append(kept, section{id: sectionCustom, body: nameSection(map[uint32]string{0: onlyName})})
	return joinSections(kept), nil
}

// onlyName is the name of the first function of a module whose names are in its symbol file. It is an import, of whatever the
// module imports first.
const onlyName = "import"
