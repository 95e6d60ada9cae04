package build

import (
	"maps"
	"slices"
	"strings"
)

// explainByNames fills in, for a module of any language that has names of functions, by which chain of calls each missing import is
// reached. Calls through tables do not show, so a chain may begin in the middle; Build asks the linker, which knows them all.
func explainByNames(wasm []byte, r *CheckReport) {
	f, err := readFunctions(wasm)
	if err != nil {
		return
	}
	names, err := functionNames(f.sections)
	if err != nil || len(names) == 0 {
		return
	}
	callers := f.callers()
	number := uint32(0)
	chains := map[string][]string{}
	for _, im := range f.imports {
		if !im.isFunction() {
			continue
		}
		if path := chainOfCalls(number, callers, names); len(path) > 1 {
			chains[im.module+"."+im.name] = path
		}
		number++
	}
	for i := range r.Profiles {
		missing := r.Profiles[i].Missing
		for j := range missing {
			if path := chains[missing[j].Import]; path != nil {
				missing[j].Path, missing[j].Cause = path, strings.Join(path, " → ")
			}
		}
	}
}

// callers are, for each function, those that call it directly, in their order.
func (f *functions) callers() map[uint32][]uint32 {
	out := map[uint32][]uint32{}
	first := uint32(f.imported())
	for i, body := range f.bodies {
		caller := first + uint32(i)
		called := map[uint32]bool{}
		r := &reader{rest: body}
		skipLocals(r)
		walkCode(r, func(index uint32, _, _ int) { called[index] = true })
		for _, index := range slices.Sorted(maps.Keys(called)) {
			out[index] = append(out[index], caller)
		}
	}
	return out
}

// chainOfCalls is the shortest chain of calls to a function from one of Go's package main, or, where none leads there, from one that
// nothing calls directly. Functions without a name are left out.
func chainOfCalls(to uint32, callers map[uint32][]uint32, names map[uint32]string) []string {
	next := map[uint32]uint32{to: to}
	root, found := to, false
	for queue := []uint32{to}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if strings.HasPrefix(names[at], "main.") {
			root = at
			break
		}
		if len(callers[at]) == 0 && !found && at != to {
			root, found = at, true
		}
		for _, caller := range callers[at] {
			if _, seen := next[caller]; !seen {
				next[caller] = at
				queue = append(queue, caller)
			}
		}
	}
	var path []string
	for at := root; at != to && len(path) < maxPath; at = next[at] {
		if name := names[at]; name != "" {
			path = append(path, name)
		}
	}
	return path
}
