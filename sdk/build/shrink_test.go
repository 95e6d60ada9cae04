package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// TestShrink runs a program that panics, grows its stack, switches goroutines and collects garbage, before and after its code was made
// smaller.
func TestShrink(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "paths.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags="+linkFlags, "-o", path, "./testdata/paths")
	cmd.Env = environment()
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	small, said := shrink(wasm)
	if before, after := codeSize(wasm), codeSize(small); after > before*88/100 {
		t.Errorf("the code has %d bytes of %d, want a good eighth less: %v", after, before, said)
	}
	is, was := program(t, small), program(t, wasm)
	for _, args := range [][]string{{"paths"}, {"paths", "fall"}} {
		before, after := was(args), is(args)
		if before != after {
			t.Errorf("%q says\n%s\nand did say\n%s", args, after, before)
		}
		if !strings.Contains(before, "invalid memory address or nil pointer dereference (of the runtime)") || !strings.Contains(before, "goexit") {
			t.Errorf("%q does not go the ways that it is for:\n%s", args, before)
		}
	}
}

// program compiles a program; what it gives runs it, and is all that it writes, and how it ends.
func program(t *testing.T, wasm []byte) func(args []string) string {
	t.Helper()
	ctx := t.Context()
	runtime := wazero.NewRuntime(ctx)
	t.Cleanup(func() { _ = runtime.Close(context.Background()) })
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	compiled, err := runtime.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	return func(args []string) string {
		var out bytes.Buffer
		_, err := runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithArgs(args...).WithStdout(&out).WithStderr(&out))
		if exit := (*sys.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatalf("%q: %v\n%s", args, err, out.String())
		}
		if err != nil {
			out.WriteString(err.Error())
		}
		return out.String()
	}
}

// TestThreadBody looks at single jumps. The body is a loop with a switch over local 0 to one of three blocks.
func TestThreadBody(t *testing.T) {
	t.Parallel()
	const void = opBlockVoid
	// What a case has stands in the innermost block, behind the switch: label 0 ends it, 1 and 2 those around, 3 is the loop.
	within := func(loop, table byte, code ...byte) []byte {
		head := []byte{0, opLoop, void, opBlock, void, opBlock, void, opBlock, void,
			opBlock, void, opLocalGet, loop, opBrTable, 2, 0, 1, table, opEnd}
		return append(append(head, code...), opEnd, opEnd, opEnd, opEnd, opEnd)
	}
	jump := func(value, local, depth byte) []byte {
		return []byte{opI32Const, value, opLocalSet, local, opBr, depth}
	}
	condition := func(jump []byte) []byte {
		return append(append([]byte{opLocalGet, 1, opIf, void}, jump...), opEnd)
	}
	for _, c := range []struct {
		name       string
		code, want []byte
	}{
		{"ahead", jump(1, 0, 3), []byte{opBr, 0}},
		{"by the default", jump(7, 0, 3), []byte{opBr, 1}},
		{"by a condition", condition(jump(1, 0, 4)), []byte{opLocalGet, 1, opBrIf, 0}},
		{"behind", jump(0, 0, 3), nil},
		{"not to the loop", jump(1, 0, 2), nil},
		{"of another variable", jump(1, 1, 3), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := within(0, 2, c.want...)
			if c.want == nil {
				want = within(0, 2, c.code...)
			}
			got, err := threadBody(within(0, 2, c.code...))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%x, %v; want %x", got, err, want)
			}
		})
	}
	for name, body := range map[string][]byte{
		"the variable is read elsewhere":   within(0, 2, append([]byte{opLocalGet, 0, opDrop}, jump(1, 0, 3)...)...),
		"the switch leads out of the loop": within(0, 5, jump(1, 0, 3)...),
	} {
		if got, err := threadBody(body); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %x, %v; want it as it was, %x", name, got, err, body)
		}
	}
}

// TestShortenOnly leaves calls alone that are not made as Go's compiler makes them.
func TestShortenOnly(t *testing.T) {
	t.Parallel()
	push := []byte{opLocalGet, 1, opI32Const, 8, opI32Sub, opLocalTee, 1, opGlobalSet, 0, opLocalGet, 1, opI64Const, 5, opI64Store, 3, 0, opI32Const, 0, opCall, 7}
	follow := []byte{opGlobalGet, 0, opLocalSet, 1, opBrIf, 0}
	names := map[uint32]string{7: "runtime.sigpanic"}
	body := func(parts ...[]byte) []byte {
		return append(append([]byte{0}, bytes.Join(parts, nil)...), opEnd)
	}
	changed := func(at int, to byte) []byte {
		c := bytes.Clone(push)
		c[at] = to
		return c
	}
	for _, c := range []struct {
		name    string
		names   map[uint32]string
		body    []byte
		shorter bool
	}{
		{"as it is made", names, body(push, follow, []byte{opUnreachable}), true},
		{"of a function that returns", map[uint32]string{7: "runtime.printnl"}, body(push, follow), true},
		{"of another function", map[uint32]string{7: "main.throw"}, body(push, follow), false},
		{"without names", nil, body(push, follow), false},
		{"with another stack pointer", names, body(changed(6, 2), follow), false},
		{"with another global", names, body(changed(8, 1), follow), false},
		{"that pushes more", names, body(changed(3, 16), follow), false},
		{"that pushes elsewhere", names, body(changed(15, 8), follow), false},
		{"that resumes elsewhere", names, body(changed(17, 1), follow), false},
		{"that does not look whether to unwind", names, body(push, []byte{opDrop}), false},
		{"that goes on", names, body(push, follow[:4], []byte{opDrop}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			made := coldCalls{functions: &functions{}, names: c.names, by: map[uint32]coldCall{}}
			got, err := made.shorten(c.body)
			if err != nil || (len(got) < len(c.body)) != c.shorter || !c.shorter && !bytes.Equal(got, c.body) {
				t.Errorf("%x, %v; it was %x", got, err, c.body)
			}
			if want := body([]byte{opI64Const, 5, opCall, 0, opBr, 0}); c.name == "as it is made" && !bytes.Equal(got, want) {
				t.Errorf("%x, want %x", got, want)
			}
		})
	}
}

// FuzzShrink takes any bytes for a module.
func FuzzShrink(f *testing.F) {
	f.Add(wasmModule(sectionType, []byte{1, 0x60, 0, 0}, sectionFunction, []byte{1, 0}, sectionCode, []byte{1, 2, 0, opEnd},
		sectionCustom, nameSection(map[uint32]string{0: "runtime.throw"})))
	f.Fuzz(func(_ *testing.T, wasm []byte) { shrink(wasm) })
}
