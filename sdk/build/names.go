package build

// sectionName is the custom section in which linkers name functions.
// https://webassembly.github.io/spec/core/appendix/custom.html#name-section
const sectionName = "name"

// functionNames are the names in a module's name section by the number of the function; none where it has no such section.
func functionNames(list []section) (map[uint32]string, error) {
	const functionsPart = 1
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

// withoutNames is the module without its name section, which is what -s does of the linker.
func withoutNames(wasm []byte) ([]byte, error) {
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
	return joinSections(kept), nil
}
