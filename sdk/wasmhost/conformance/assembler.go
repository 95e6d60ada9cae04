package conformance

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// assembler makes one WebAssembly module. Code is emitted twice: the first time to learn what is imported (imports come before all other
// functions), the second time with the final indices.
type assembler struct {
	id       int // of the case: "$case" in a constant stands for its name
	imports  []importedFunc
	funcs    []definedFunc
	types    []string
	data     []byte
	strings  map[string]uint32
	globals  []string // names of mutable i64 globals, all of which start at 0
	counting bool
}

// importedFunc is a function that the module takes from the host.
type importedFunc struct{ module, name, sig string }

// definedFunc is a function of the module. An empty export keeps it inside.
type definedFunc struct {
	name   string // for calls within the module
	export string
	sig    string
	locals string // types of further locals, by letter
	emit   func(c *code)
}

// Where things lie in a module's memory, in bytes. Every module has memoryPages of it.
const (
	addrDigits  = 64      // digits of a number while they are made
	addrHex     = 128     // the sixteen digits
	addrResults = 256     // results of host calls
	addrLine    = 1 << 12 // the line of the trace that is being made
	addrData    = 1 << 16 // constants
	addrHeap    = 1 << 18 // what malloc gives out
	memoryPages = 32
	// badPointer is far outside of the memory, whatever it is added to.
	badPointer = 0x7fff0000
)

// A signature is a letter for each parameter, then ":" and the result's letter if there is one: i for i32, l for i64.
func signature(sig string) (params, results string) {
	params, results, _ = strings.Cut(sig, ":")
	return params, results
}

// code is the body of one function while it is emitted.
type code struct {
	a     *assembler
	bytes []byte
}

func (c *code) op(b ...byte) *code { c.bytes = append(c.bytes, b...); return c }

func (c *code) i32(v int64) *code { return c.op(0x41).op(signed(int64(int32(uint32(v))))...) }
func (c *code) i64(v int64) *code { return c.op(0x42).op(signed(v)...) }
func (c *code) get(local int) *code {
	return c.op(0x20).op(unsigned(uint32(local))...)
}
func (c *code) set(local int) *code {
	return c.op(0x21).op(unsigned(uint32(local))...)
}
func (c *code) getGlobal(name string) *code {
	return c.op(0x23).op(unsigned(c.a.global(name))...)
}
func (c *code) setGlobal(name string) *code {
	return c.op(0x24).op(unsigned(c.a.global(name))...)
}
func (c *code) call(name string) *code {
	for i, f := range c.a.funcs {
		if f.name == name {
			return c.op(0x10).op(unsigned(uint32(len(c.a.imports) + i))...)
		}
	}
	if c.a.counting {
		return c // not known yet
	}
	panic("conformance: no function " + name + " in the module")
}
func (c *code) callImport(module, name, sig string) *code {
	return c.op(0x10).op(unsigned(c.a.imported(module, name, sig))...)
}

// Instructions without operands, and blocks without results.
const (
	opUnreachable = 0x00
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opEnd         = 0x0b
	opBranch      = 0x0c
	opBranchIf    = 0x0d
	opReturn      = 0x0f
	opDrop        = 0x1a
	opEqz32       = 0x45
	opGeU32       = 0x4f
	opEq64        = 0x51
	opEqz64       = 0x50
	opAdd32       = 0x6a
	opSub32       = 0x6b
	opAnd32       = 0x71
	opShrU32      = 0x76
	opAdd64       = 0x7c
	opDivU64      = 0x80
	opRemU64      = 0x82
	opWrap        = 0xa7
	opExtendU     = 0xad
	noResult      = 0x40
)

func (c *code) load8() *code   { return c.op(0x2d, 0, 0) }
func (c *code) load32() *code  { return c.op(0x28, 0, 0) } // alignment 1: results may lie anywhere
func (c *code) load64() *code  { return c.op(0x29, 0, 0) }
func (c *code) store8() *code  { return c.op(0x3a, 0, 0) }
func (c *code) store32() *code { return c.op(0x36, 0, 0) }
func (c *code) copy() *code    { return c.op(0xfc, 10, 0, 0) } // memory.copy
func (c *code) printLiteral(s string) *code {
	ptr := c.a.text(s)
	return c.i32(int64(ptr)).i32(int64(len(s))).call("print")
}

// global gives the index of a variable, which it makes at the first use.
func (a *assembler) global(name string) uint32 {
	if i := slices.Index(a.globals, name); i >= 0 {
		return uint32(i)
	}
	a.globals = append(a.globals, name)
	return uint32(len(a.globals) - 1)
}

// imported gives the index of an import, which it adds at the first use.
func (a *assembler) imported(module, name, sig string) uint32 {
	f := importedFunc{module, name, sig}
	if i := slices.Index(a.imports, f); i >= 0 {
		return uint32(i)
	}
	a.imports = append(a.imports, f)
	return uint32(len(a.imports) - 1)
}

// text gives the address of a constant.
func (a *assembler) text(s string) uint32 {
	if at, ok := a.strings[s]; ok {
		return at
	}
	at := uint32(addrData + len(a.data))
	a.data = append(a.data, s...)
	a.strings[s] = at
	if addrData+len(a.data) > addrHeap {
		panic(fmt.Sprintf("conformance: the constants of a guest take %d bytes; there is room for %d", len(a.data), addrHeap-addrData))
	}
	return at
}

func (a *assembler) typeOf(sig string) uint32 {
	if i := slices.Index(a.types, sig); i >= 0 {
		return uint32(i)
	}
	a.types = append(a.types, sig)
	return uint32(len(a.types) - 1)
}

// function adds a function.
func (a *assembler) function(f definedFunc) { a.funcs = append(a.funcs, f) }

// assemble makes the module's bytes.
func (a *assembler) assemble() []byte {
	a.counting = true
	a.bodies()
	a.counting = false
	bodies := a.bodies()

	var imports, funcs, exports [][]byte
	for _, f := range a.imports {
		imports = append(imports, slices.Concat(name(f.module), name(f.name), []byte{0}, unsigned(a.typeOf(f.sig))))
	}
	for i, f := range a.funcs {
		funcs = append(funcs, unsigned(a.typeOf(f.sig)))
		if f.export != "" {
			exports = append(exports, slices.Concat(name(f.export), []byte{0}, unsigned(uint32(len(a.imports)+i))))
		}
	}
	exports = append(exports, slices.Concat(name("memory"), []byte{2, 0}))
	var types, globals [][]byte
	for _, sig := range a.types {
		params, results := signature(sig)
		types = append(types, slices.Concat([]byte{0x60}, valueTypes(params), valueTypes(results)))
	}
	for range a.globals {
		globals = append(globals, []byte{0x7e, 1, 0x42, 0, opEnd})
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, items [][]byte) {
		if len(items) == 0 {
			return
		}
		body := vector(items)
		out = slices.Concat(out, []byte{id}, unsigned(uint32(len(body))), body)
	}
	section(1, types)
	section(2, imports)
	section(3, funcs)
	section(5, [][]byte{slices.Concat([]byte{0}, unsigned(memoryPages))})
	section(6, globals)
	section(7, exports)
	section(10, bodies)
	segment := func(at int, data []byte) []byte {
		return slices.Concat([]byte{0, 0x41}, signed(int64(at)), []byte{opEnd}, unsigned(uint32(len(data))), data)
	}
	section(11, [][]byte{segment(addrHex, []byte("0123456789abcdef")), segment(addrData, a.data)})
	return out
}

// bodies emits all functions.
func (a *assembler) bodies() [][]byte {
	a.data, a.strings = nil, map[string]uint32{}
	var out [][]byte
	for _, f := range a.funcs {
		c := &code{a: a}
		f.emit(c)
		var locals [][]byte
		for _, l := range f.locals {
			locals = append(locals, []byte{1, valueType(l)})
		}
		body := slices.Concat(vector(locals), c.bytes, []byte{opEnd})
		out = append(out, slices.Concat(unsigned(uint32(len(body))), body))
	}
	return out
}

func valueType(letter rune) byte {
	if letter == 'l' {
		return 0x7e
	}
	return 0x7f
}

func valueTypes(letters string) []byte {
	out := unsigned(uint32(len(letters)))
	for _, l := range letters {
		out = append(out, valueType(l))
	}
	return out
}

func vector(items [][]byte) []byte {
	return append(unsigned(uint32(len(items))), slices.Concat(items...)...)
}

func name(s string) []byte { return append(unsigned(uint32(len(s))), s...) }

func unsigned(v uint32) []byte { return binary.AppendUvarint(nil, uint64(v)) }

// signed is LEB128 for signed numbers.
func signed(v int64) []byte {
	var out []byte
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
