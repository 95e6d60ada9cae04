package build

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
)

// Go's code is full of calls that are hardly ever made: at each use of a pointer that may be nil, at each index, at the beginning of
// each function, and wherever the runtime prints or gives up; half of all calls in a module are such. Each pushes its return address in
// nine instructions, and goes on behind the call, although most of these functions never return.
var (
	// neverReturns are functions of the Go runtime that end in a panic, in the end of the program, or in growing the stack, after
	// which the caller begins anew. The compiler, too, lets nothing follow a call of them (cmd/compile/internal/ssagen, BlockExit;
	// runtime.morestack ends in UNDEF). A recovered panic goes on at another place, that of the deferred calls. Were one but sigpanic
	// to return all the same, its caller would leave as for a switch of goroutines, and be entered anew behind the call.
	neverReturns = regexp.MustCompile(`^runtime\.(?:sigpanic|throw|fatal|gopanic|goPanic\w+|morestack|morestack_noctxt|` +
		`panicdivide|panicshift|panicwrap|panicmakeslice(?:len|cap)|panicdottype[EI]|panicnildottype|panicunsafe\w+)$`)
	// hardlyCalled are those that return, but print, which costs more than a call.
	hardlyCalled = regexp.MustCompile(`^runtime\.print\w+$`)
)

// stackPointer is the global that holds Go's stack pointer: the linker's first (cmd/link/internal/wasm).
const stackPointer = 0

// pushAndCall is how Go's compiler makes a call: the stack grows by a word, and the return address is put there. What is not compared
// is -1. The local variable, a copy of the stack pointer, is the same throughout.
var pushAndCall = []struct {
	op    byte
	value int64
}{
	{opLocalGet, -1}, {opI32Const, 8}, {opI32Sub, -1}, {opLocalTee, -1}, {opGlobalSet, stackPointer},
	{opLocalGet, -1}, {opI64Const, -1}, {opI64Store, -1}, {opI32Const, 0}, {opCall, -1},
}

// Places in pushAndCall.
const (
	pushedAddress = 6
	pushedStore   = 7
	calledAt      = 9
)

// coldCall is a function of ours that pushes a return address, its parameter, and calls one of those functions.
type coldCall struct {
	index   uint32
	returns bool
}

// shortenColdCalls has the calls that are hardly ever made go through a function each that does what all of them do, and lets nothing
// follow those that do not return. It needs the names of functions; where they are missing, or code has another shape, all stays as it
// is. The new functions come last, so no function gets another number.
func shortenColdCalls(wasm []byte) ([]byte, error) {
	f, err := readFunctions(wasm)
	if err != nil {
		return nil, err
	}
	names, err := functionNames(f.sections)
	if err != nil {
		return nil, err
	}
	c := coldCalls{functions: f, names: names, by: map[uint32]coldCall{}}
	for i, body := range f.bodies {
		if f.bodies[i], err = c.shorten(body); err != nil {
			return nil, fmt.Errorf("function %d: %w", f.imported()+i, err)
		}
	}
	if len(c.by) == 0 {
		return wasm, nil
	}
	f.bodies = append(f.bodies, c.bodies...)
	f.addedNames = c.added
	return f.write(func(index uint32) uint32 { return index })
}

// coldCalls are the functions that were made so far.
type coldCalls struct {
	functions *functions
	names     map[uint32]string
	by        map[uint32]coldCall
	bodies    [][]byte
	added     map[uint32]string
}

// shorten rewrites the cold calls of one body.
func (c *coldCalls) shorten(body []byte) ([]byte, error) {
	code, err := readInstructions(body)
	if err != nil {
		return nil, err
	}
	var out []byte
	copied := 0
	for i := calledAt; i < len(code); i++ {
		if code[i].op != opCall || !c.isCold(uint32(code[i].value)) || !pushes(body, code[i-calledAt:i+1]) {
			continue
		}
		next, stackLocal := code[i+1:], code[i-calledAt].value
		reloads := len(next) > 2 && next[0].op == opGlobalGet && next[0].value == stackPointer &&
			next[1].op == opLocalSet && next[1].value == stackLocal
		if !reloads {
			continue
		}
		callee := c.coldCall(uint32(code[i].value))
		last := i
		if !callee.returns {
			if next[2].op != opBrIf {
				continue
			}
			last = i + 3
		}
		address := code[i-calledAt+pushedAddress]
		out = append(out, body[copied:code[i-calledAt].from]...)
		out = append(out, body[address.from:address.to]...)
		out = binary.AppendUvarint(append(out, opCall), uint64(callee.index))
		if !callee.returns {
			out = binary.AppendUvarint(append(out, opBr), uint64(next[2].value))
			last = unreached(code, last)
		}
		copied = code[last].to
		i = last
	}
	if copied == 0 {
		return body, nil
	}
	return append(out, body[copied:]...), nil
}

// unreached is the last instruction behind a branch that nothing can reach: all up to the end of its block.
func unreached(code []instruction, branch int) int {
	depth := 0
	for i := branch + 1; i < len(code); i++ {
		switch code[i].op {
		case opBlock, opLoop, opIf:
			depth++
		case opElse:
			if depth == 0 {
				return i - 1
			}
		case opEnd:
			if depth == 0 {
				return i - 1
			}
			depth--
		}
	}
	return branch
}

// pushes says whether instructions are a call as Go's compiler makes it.
func pushes(body []byte, code []instruction) bool {
	for i, want := range pushAndCall {
		if in := code[i]; in.op != want.op || want.value >= 0 && in.value != want.value {
			return false
		}
	}
	stack := code[0].value
	store := code[pushedStore]
	return code[3].value == stack && code[5].value == stack && bytes.Equal(body[store.from:store.to], []byte{opI64Store, 3, 0})
}

func (c *coldCalls) isCold(index uint32) bool {
	name := c.names[index]
	return neverReturns.MatchString(name) || hardlyCalled.MatchString(name)
}

// coldCall is the function that calls the one of that number.
func (c *coldCalls) coldCall(index uint32) coldCall {
	if made, ok := c.by[index]; ok {
		return made
	}
	const i32, i64 = 0x7f, 0x7e
	f, name := c.functions, c.names[index]
	made := coldCall{index: uint32(f.imported() + len(f.own)), returns: !neverReturns.MatchString(name)}
	typ := functionType{params: []byte{i64}}
	code := []byte{
		0, // no locals
		opGlobalGet, stackPointer, opI32Const, 8, opI32Sub, opGlobalSet, stackPointer,
		opGlobalGet, stackPointer, opLocalGet, 0, opI64Store, 3, 0,
		opI32Const, 0, opCall,
	}
	code = binary.AppendUvarint(code, uint64(index))
	if made.returns {
		typ.results = []byte{i32}
	} else {
		code = append(code, opDrop)
	}
	f.own = append(f.own, f.typeOf(typ))
	c.bodies = append(c.bodies, append(code, opEnd))
	if c.added == nil {
		c.added = map[uint32]string{}
	}
	c.by[index], c.added[made.index] = made, name
	return made
}

// typeOf is the number of a type, which is added if need be.
func (f *functions) typeOf(t functionType) uint32 {
	at := slices.IndexFunc(f.types, func(o functionType) bool {
		return bytes.Equal(o.params, t.params) && bytes.Equal(o.results, t.results)
	})
	if at < 0 {
		at = len(f.types)
		f.types = append(f.types, t)
	}
	return uint32(at)
}
