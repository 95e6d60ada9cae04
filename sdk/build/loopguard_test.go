package build

import (
	"bytes"
	"testing"
)

// TestGuardBody looks at single functions of one parameter, which have the global 7 for a counter and the function 9 to trap in.
func TestGuardBody(t *testing.T) {
	t.Parallel()
	const void, i64 = opBlockVoid, 0x7e
	// The variables are the parameter, two of the body's own, and ours, number 3.
	own := []byte{1, 2, i64}
	declared := []byte{2, 2, i64, 1, typeI32}
	count := []byte{opGlobalGet, 7, opI32Const, 1, opI32Sub, opLocalTee, 3, opGlobalSet, 7,
		opLocalGet, 3, opI32Eqz, opIf, void, opCall, 9, opUnreachable, opEnd}
	for _, c := range []struct {
		name string
		// The count is wanted between before and after; where after is nil nothing is to change.
		before, after []byte
	}{
		{"no loop", []byte{opBlock, void, opBr, 0, opEnd, opEnd}, nil},
		{"a loop that nothing leads back to", []byte{opLoop, void, opBlock, void, opBr, 0, opEnd, opEnd, opEnd}, nil},
		{"out of a loop", []byte{opBlock, void, opLoop, void, opBr, 1, opEnd, opEnd, opEnd}, nil},
		{"out of the function", []byte{opLoop, void, opBr, 1, opEnd, opEnd}, nil},
		{"behind a loop", []byte{opLoop, void, opEnd, opBlock, void, opBr, 0, opEnd, opEnd}, nil},
		{"back", []byte{opLoop, void}, []byte{opBr, 0, opEnd, opEnd}},
		{"back from inside", []byte{opLoop, void, opLocalGet, 0, opIf, void}, []byte{opBr, 1, opElse, opEnd, opEnd, opEnd}},
		{"back from an else", []byte{opLoop, void, opLocalGet, 0, opIf, void, opElse}, []byte{opBr, 1, opEnd, opEnd, opEnd}},
		{"back to the outer loop", []byte{opLoop, void, opLoop, void}, []byte{opBr, 1, opEnd, opEnd, opEnd}},
		{"back by a condition", []byte{opLoop, void, opLocalGet, 0}, []byte{opBrIf, 0, opEnd, opEnd}},
		{"back by a table", []byte{opBlock, void, opLoop, void, opLocalGet, 0}, []byte{opBrTable, 1, 1, 0, opEnd, opEnd, opEnd}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := loopGuard{global: 7, trap: 9}
			body := bytes.Join([][]byte{own, c.before, c.after}, nil)
			want, sites := body, 0
			if c.after != nil {
				want, sites = bytes.Join([][]byte{declared, c.before, count, c.after}, nil), 1
			}
			got, err := g.guard(body, 1)
			if err != nil || !bytes.Equal(got, want) || g.sites != sites {
				t.Errorf("%x with %d counts, %v; want %x", got, g.sites, err, want)
			}
		})
	}
}

// TestNotGuarded says whose loops are counted, by the names that Go's linker gives.
func TestNotGuarded(t *testing.T) {
	t.Parallel()
	for name, guarded := range map[string]bool{
		"main.(*filter).spin": true, "strings.Index": true, "runtimes.Loop": true, "example.com_runtime.Loop": true, "main.runtime.func1": true,
		"runtime.gcDrain": false, "internal_runtime_maps.(*Map).grow": false, "internal_bytealg.IndexByte": false, "memchr": false, "wasm_pc_f_loop": false,
	} {
		if notGuarded.MatchString(name) == guarded {
			t.Errorf("%s: guarded is %v", name, !guarded)
		}
	}
}

// FuzzGuardLoops takes any bytes for a module.
func FuzzGuardLoops(f *testing.F) {
	f.Add(wasmModule(sectionType, []byte{1, 0x60, 0, 0}, sectionFunction, []byte{1, 0}, sectionGlobal, []byte{0},
		sectionExport, appendExports([]exportEntry{{"proxy_on_tick", kindFunction, 0}}),
		sectionCode, []byte{1, 7, 0, opLoop, opBlockVoid, opBr, 0, opEnd, opEnd}))
	f.Fuzz(func(_ *testing.T, wasm []byte) { _, _, _ = guardLoops(wasm, MinLoopGuard) })
}
