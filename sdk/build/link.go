package build

import (
	"context"
	"errors"
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
// reaches. A method shows only while the export that ends in it is there, so all files that methods use are in while methods are looked
// for. An import could be there for the sake of an export that goes, so imports are looked for with the other exports settled; and
// for the sake of the very export that it would keep, so the files that imports alone use are out at first, and come in as those
// imports show.
func (tc toolchain) link(ctx context.Context, src *source) (linked, error) {
	optional := src.optionalFiles()
	has, wasm, out, err := tc.grow(ctx, optional, func(f optionalFile) bool { return len(f.methods) > 0 })
	if err == nil && len(optional) > 0 {
		methods := has.methods
		has, wasm, out, err = tc.grow(ctx, optional, func(f optionalFile) bool { return contents{methods: methods}.uses(f) })
	}
	if unreadable := (*unreadableError)(nil); errors.As(err, &unreadable) {
		return tc.linkWhole(ctx, unreadable)
	}
	if err != nil {
		return linked{}, err
	}
	var left []string
	for _, f := range optional {
		if out[f.tag] {
			left = append(left, f.exports...)
		}
	}
	l := linked{wasm: wasm, without: tags(out)}
	if len(left) > 0 {
		slices.Sort(left)
		l.changes = []Finding{{Message: fmt.Sprintf("left out %d callbacks that the filter does not use: %s", len(left), strings.Join(left, ", "))}}
	}
	return l, nil
}

// grow compiles the filter with the optional files that are wanted, and again with those that imports use as well, until no more show.
// out are the tags of the files that are left out.
func (tc toolchain) grow(ctx context.Context, optional []optionalFile, wanted func(optionalFile) bool) (has contents, wasm []byte, out map[string]bool, err error) {
	out = map[string]bool{}
	for _, f := range optional {
		out[f.tag] = !wanted(f)
	}
	for grown := true; grown; {
		if wasm, err = tc.compile(ctx, tags(out)); err != nil {
			return has, nil, nil, err
		}
		if has, err = contentsOf(wasm); err != nil {
			return has, nil, nil, err
		}
		grown = false
		for _, f := range optional {
			if out[f.tag] && (contents{imports: has.imports}).uses(f) {
				out[f.tag], grown = false, true
			}
		}
	}
	return has, wasm, out, nil
}

// linkWhole compiles the filter with all exports, where the linked module cannot be understood.
func (tc toolchain) linkWhole(ctx context.Context, cause error) (linked, error) {
	wasm, err := tc.compile(ctx, nil)
	return linked{wasm: wasm, changes: []Finding{{Message: "all callbacks are left in, since the linked module cannot be read: " + cause.Error()}}}, err
}

// tags are those of a set, sorted.
func tags(set map[string]bool) []string {
	var out []string
	for tag, in := range set {
		if in {
			out = append(out, tag)
		}
	}
	slices.Sort(out)
	return out
}
