package build

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// linked is a module as the linker wrote it, with names.
type linked struct {
	wasm []byte
	// without are the tags of the optional files that were left out.
	without []string
	changes []Finding
}

// link compiles the filter without the optional exports that it has no use for.
//
// What a module uses shows in the linked module, and depends on what is exported, since the linker keeps what an export
// reaches. A method shows only while the export that ends in it is there, so the files that methods use stay in while the
// question is open. An import could be there for the sake of the very export that it would keep, so the files that imports use
// are out at first, and come in, once and for all, as those imports show.
func (tc toolchain) link(ctx context.Context, src *source) (linked, error) {
	optional := src.optionalFiles()
	out := map[string]bool{} // the tags of files that are left out for now
	for _, f := range optional {
		if len(f.methods) == 0 {
			out[f.tag] = true
		}
	}
	for {
		wasm, err := tc.compile(ctx, tags(out))
		if err != nil {
			return linked{}, err
		}
		has, ok, err := contentsOf(wasm)
		if err != nil || !ok {
			return tc.linkWhole(ctx, err)
		}
		grown := false
		for _, f := range optional {
			if out[f.tag] && has.uses(f) {
				delete(out, f.tag)
				grown = true
			}
		}
		if grown {
			continue
		}
		// Nothing more comes in: what no method and no import uses goes out.
		var exports []string
		settled := len(out)
		for _, f := range optional {
			if !has.uses(f) {
				out[f.tag] = true
				exports = append(exports, f.exports...)
			}
		}
		l := linked{wasm: wasm, without: tags(out)}
		if len(exports) > 0 {
			slices.Sort(exports)
			l.changes = []Finding{{Message: fmt.Sprintf("left out %d callbacks that the filter does not use: %s", len(exports), strings.Join(exports, ", "))}}
		}
		if len(out) > settled {
			l.wasm, err = tc.compile(ctx, l.without)
		}
		return l, err
	}
}

// linkWhole compiles the filter with all exports, where the linked module cannot be understood.
func (tc toolchain) linkWhole(ctx context.Context, cause error) (linked, error) {
	why := "it has no names of functions"
	if cause != nil {
		why = cause.Error()
	}
	wasm, err := tc.compile(ctx, nil)
	return linked{wasm: wasm, changes: []Finding{{Message: "all callbacks are left in, since the linked module cannot be read: " + why}}}, err
}

func tags(set map[string]bool) []string {
	var out []string
	for tag := range set {
		out = append(out, tag)
	}
	slices.Sort(out)
	return out
}
