package wasmhost

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// A guest that runs for ever can only be stopped by its own code: nothing in the process can take a goroutine out of machine code that does
// not call back; not even Go's garbage collector can, which then waits for it, and everybody with it. The engine can have every loop
// call back into Go, which makes a Go guest twice as slow. Here the module itself is changed before it is compiled: a guest that goes on
// counts down a global, calls back once in a while (memory.grow by nothing is the cheapest way out that needs no import), and then traps if
// another global is not zero. The watchdog (deadline.go) sets that one from its own goroutine.
//
// To go on for ever a guest must go back to the beginning of a loop, or run in a circle of calls, in which some function calls one with an
// index that is not lower than its own, or one from a table. So the countdown stands before branches to loops and before such calls, and
// not at the beginning of loops: in a Go guest nearly every function begins with one.

// loopBudget is how often a guest goes on between two calls back into Go. In between the goroutine cannot be preempted.
const loopBudget = 1024

// What the changed module exports besides its own.
const (
	// exportInterrupt is the global that stops the guest.
	exportInterrupt = "waft.interrupt"
	// exportStart is the module's start function, which the host calls: when the engine did, there would be no global to set yet.
	exportStart = "waft.start"
)

// interruptible changes a module so that it can be stopped. The error is ErrCorrupt.
func interruptible(wasm []byte, info *moduleInfo) ([]byte, error) {
	first := info.importedFunctions()
	return rewrite(wasm, info, nil, func(out, body, check []byte) ([]byte, error) { return appendCode(out, body, check, first) })
}

// rewrite copies a module, with what a module that can be stopped has besides, and with its code section as given. extra, if any, is added
// as a custom section.
func rewrite(wasm []byte, info *moduleInfo, extra []byte, code func(out, body, check []byte) ([]byte, error)) ([]byte, error) {
	sections, err := splitSections(wasm)
	if err != nil {
		return nil, err
	}
	if !info.hasMemory {
		return wasm, nil // no VM is made of it
	}
	interrupt := countGlobals(info, sections)
	check := loopCheck(interrupt, interrupt+1)
	out := make([]byte, 0, len(wasm)+len(wasm)/4)
	out = append(out, wasm[:8]...)
	// The global and export sections are made where a module has none.
	for _, id := range []byte{sectionGlobal, sectionExport} {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.id == id }) {
			at := len(sections)
			for i, s := range sections {
				if s.id != sectionCustom && sectionOrder(s.id) > sectionOrder(id) {
					at = i
					break
				}
			}
			sections = slices.Insert(sections, at, section{id: id, body: []byte{0}})
		}
	}
	start, hasStart := uint32(0), false
	for _, s := range sections {
		if s.id == sectionStart {
			r := &byteReader{data: s.body}
			start, hasStart = r.u32(), true
			if r.err != nil {
				return nil, fmt.Errorf("start section: %w: %w", r.err, ErrCorrupt)
			}
		}
	}
	for _, s := range sections {
		body := s.body
		switch s.id {
		case sectionCode:
			if out, err = code(out, body, check); err != nil {
				return nil, fmt.Errorf("code: %w: %w", err, ErrCorrupt)
			}
			continue
		case sectionStart:
			continue
		case sectionCustom:
			if debugging(body) {
				continue // its places in the code are no longer right
			}
		case sectionGlobal:
			zero := []byte{typeI32, mutable, opI32Const, 0, opEnd}
			body, err = appendToVector(body, 2, slices.Concat(zero, zero)) // the interrupt, and the budget: the first loop calls back at once
		case sectionExport:
			added := exportOf(exportInterrupt, kindGlobal, interrupt)
			n := uint32(1)
			if hasStart {
				added = append(added, exportOf(exportStart, kindFunc, start)...)
				n++
			}
			body, err = appendToVector(body, n, added)
		}
		if err != nil {
			return nil, fmt.Errorf("section %d: %w: %w", s.id, err, ErrCorrupt)
		}
		out = appendSection(out, s.id, body)
	}
	if extra != nil {
		out = appendSection(out, sectionCustom, extra)
	}
	return out, nil
}

func appendSection(out []byte, id byte, body []byte) []byte {
	out = binary.AppendUvarint(append(out, id), uint64(len(body)))
	return append(out, body...)
}

// loopCheck is the countdown:
//
//	if budget == 0 {
//		memory.grow(0)
//		if interrupt != 0 { unreachable }
//		budget = loopBudget
//	}
//	budget--
func loopCheck(interrupt, budget uint32) []byte {
	get := func(g uint32) []byte { return binary.AppendUvarint([]byte{opGlobalGet}, uint64(g)) }
	set := func(g uint32) []byte { return binary.AppendUvarint([]byte{opGlobalSet}, uint64(g)) }
	return slices.Concat(
		get(budget), []byte{opI32Eqz, opIf, blockEmpty},
		[]byte{opI32Const, 0, opMemoryGrow, 0, opDrop},
		get(interrupt), []byte{opIf, blockEmpty, opUnreachable, opEnd},
		[]byte{opI32Const, loopBudget&0x7f | 0x80, loopBudget >> 7}, set(budget), // LEB128 of a number of 14 bits, positive
		[]byte{opEnd},
		get(budget), []byte{opI32Const, 1, opI32Sub}, set(budget),
	)
}

// debugging says whether a custom section is one of DWARF's.
func debugging(body []byte) bool {
	return bytes.HasPrefix((&byteReader{data: body}).bytes(), []byte(".debug"))
}

type section struct {
	id   byte
	body []byte
}

func splitSections(wasm []byte) ([]section, error) {
	var out []section
	for r := (&byteReader{data: wasm, pos: 8}); !r.done(); {
		s := section{id: r.byte(), body: r.bytes()}
		if r.err != nil {
			return nil, fmt.Errorf("section at byte %d: %w: %w", r.pos, r.err, ErrCorrupt)
		}
		out = append(out, s)
	}
	return out, nil
}

// sectionOrder is a section's place in a module: the tag section (13) comes before the globals, the data count (12) before the code.
func sectionOrder(id byte) int {
	switch id {
	case 13:
		return 2*sectionMemory + 1
	case 12:
		return 2*sectionElement + 1
	}
	return 2 * int(id)
}

// countGlobals counts the module's globals, imported ones among them.
func countGlobals(info *moduleInfo, sections []section) uint32 {
	var n uint32
	for _, im := range info.imports {
		if im.kind == kindGlobal {
			n++
		}
	}
	for _, s := range sections {
		if s.id == sectionGlobal {
			n += (&byteReader{data: s.body}).count()
		}
	}
	return n
}

func exportOf(name string, kind byte, index uint32) []byte {
	b := binary.AppendUvarint(nil, uint64(len(name)))
	b = append(append(b, name...), kind)
	return binary.AppendUvarint(b, uint64(index))
}

// appendToVector adds n items to a section that is a vector.
func appendToVector(body []byte, n uint32, items []byte) ([]byte, error) {
	r := &byteReader{data: body}
	count := r.u32()
	out := binary.AppendUvarint(make([]byte, 0, len(body)+len(items)+1), uint64(count+n))
	return append(append(out, body[r.pos:]...), items...), r.err
}

// appendCode appends the code section, with the countdown in every function. first is the index of the first one.
func appendCode(out, body, check []byte, first uint32) ([]byte, error) {
	r := &byteReader{data: body}
	n := r.count()
	out, size := beginSized(append(out, sectionCode))
	out = binary.AppendUvarint(out, uint64(n))
	var labels []bool
	for i := uint32(0); i < n && r.err == nil; i++ {
		function := r.bytes()
		var err error
		var functionSize int
		out, functionSize = beginSized(out)
		if out, labels, err = checkFunction(out, function, check, first+i, labels[:0]); err != nil {
			return nil, err
		}
		endSized(out, functionSize)
	}
	endSized(out, size)
	return out, r.err
}

// sizeBytes is how many bytes a size takes whose value is not known when it is written: LEB128 may be padded.
const sizeBytes = 5

// beginSized makes room for a size, and gives its place.
func beginSized(out []byte) ([]byte, int) {
	return append(out, 0, 0, 0, 0, 0), len(out)
}

// endSized writes the size of what was appended since.
func endSized(out []byte, at int) {
	n := uint32(len(out) - at - sizeBytes)
	for i := range sizeBytes {
		out[at+i] = byte(n>>(7*i))&0x7f | 0x80
	}
	out[at+sizeBytes-1] &= 0x7f
}

// checkFunction copies the body of the function with the given index, with the countdown wherever it may go on. labels is room to work in:
// of each block that is open whether it is a loop, the outermost first.
//
// Besides, before a local is looked up in a jump table it is compared with 0: Go's functions begin with such a table, for those that come
// back after a switch of goroutines, and a branch that is always the same costs less than a jump to an address from memory.
func checkFunction(out, function, check []byte, index uint32, labels []bool) ([]byte, []bool, error) {
	r := &byteReader{data: function}
	for n := r.count(); n > 0 && r.err == nil; n-- { // locals
		r.u32()
		r.byte()
	}
	// loop says whether a branch goes to the beginning of a loop. The function's own label, which is beyond the outermost, is none.
	loop := func(depth uint32) bool {
		return uint64(depth) < uint64(len(labels)) && labels[len(labels)-1-int(depth)]
	}
	from := 0
	var before, at int // the instruction before, and this one
	for !r.done() {
		before, at = at, r.pos
		op := r.data[r.pos]
		r.pos++
		again := false
		switch op {
		case opBlock, opLoop, opIf:
			r.blockType()
			labels = append(labels, op == opLoop)
		case opEnd:
			if len(labels) > 0 { // the last one is the function's
				labels = labels[:len(labels)-1]
			}
		case opBr, opBrIf:
			again = loop(r.u32())
		case opBrTable:
			n := r.count()
			first := r.pos
			again = loop(r.u32())
			if n > 0 && !again && before >= from && function[before] == opLocalGet {
				out = append(append(out, function[from:at]...), opI32Eqz, opBrIf)
				out = append(out, function[first:r.pos]...)
				from = before
			}
			for ; n > 0 && r.err == nil; n-- {
				again = loop(r.u32()) || again
			}
		case opCall:
			again = r.u32() >= index
		case opCallIndirect:
			r.skipLEB()
			r.skipLEB()
			again = true
		default:
			if !r.immediates(op) {
				return nil, nil, fmt.Errorf("instruction 0x%x is not known", op)
			}
		}
		if again {
			out = append(append(out, function[from:at]...), check...)
			from = at
		}
	}
	return append(out, function[from:]...), labels, r.err
}

// Bytes of the binary format (https://webassembly.github.io/spec/core/binary/).
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opLocalGet     = 0x20
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI32Eqz       = 0x45
	opI32Sub       = 0x6b

	blockEmpty = 0x40
	typeI32    = 0x7f
	mutable    = 0x01

	sectionCustom  = 0
	sectionGlobal  = 6
	sectionStart   = 8
	sectionElement = 9
	sectionCode    = 10
)

// The shapes of what follows an instruction's byte.
const (
	immUnknown = iota
	immNone    // nothing
	immBlock   // a block type
	immIndex   // one number
	immIndex2  // two numbers
	immMemArg  // alignment and offset
	immTable   // br_table: a vector of numbers and one more
	immTypes   // select: a vector of types
	immFloat32 // four bytes
	immFloat64 // eight bytes
	immBulk    // 0xfc and a number that says the rest
	immVector  // 0xfd and a number that says the rest
	immOneByte // one byte
)

// immediates says what follows each instruction of WebAssembly 2.0, by its byte.
var immediates = func() (t [256]byte) {
	set := func(from, to int, imm byte) {
		for i := from; i <= to; i++ {
			t[i] = imm
		}
	}
	set(0x00, 0x01, immNone)  // unreachable, nop
	set(0x02, 0x04, immBlock) // block, loop, if
	t[0x05] = immNone         // else
	t[0x0b] = immNone         // end
	set(0x0c, 0x0d, immIndex) // br, br_if
	t[0x0e] = immTable
	t[0x0f] = immNone // return
	t[0x10] = immIndex
	t[0x11] = immIndex2       // call_indirect
	set(0x1a, 0x1b, immNone)  // drop, select
	t[0x1c] = immTypes        // select with types
	set(0x20, 0x26, immIndex) // local.*, global.*, table.get, table.set
	set(0x28, 0x3e, immMemArg)
	set(0x3f, 0x40, immOneByte) // memory.size, memory.grow
	set(0x41, 0x42, immIndex)   // i32.const, i64.const: a number, signed, of the same shape
	t[0x43], t[0x44] = immFloat32, immFloat64
	set(0x45, 0xc4, immNone) // numeric, sign extension
	t[0xd0] = immOneByte     // ref.null
	t[0xd1] = immNone        // ref.is_null
	t[0xd2] = immIndex       // ref.func
	t[0xfc], t[0xfd] = immBulk, immVector
	return t
}()

// immediates passes over what follows an instruction. It is false if the instruction is not known.
func (r *byteReader) immediates(op byte) bool {
	switch immediates[op] {
	case immNone:
	case immBlock:
		r.blockType()
	case immIndex:
		r.skipLEB()
	case immIndex2, immMemArg:
		r.skipLEB()
		r.skipLEB()
	case immTable:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.skipLEB()
		}
		r.skipLEB()
	case immTypes:
		r.skip(int(r.count()))
	case immFloat32:
		r.skip(4)
	case immFloat64:
		r.skip(8)
	case immOneByte:
		r.skip(1)
	case immBulk:
		return r.bulk()
	case immVector:
		return r.vector()
	default:
		return false
	}
	return true
}

// bulk passes over an instruction of 0xfc: conversions, bulk memory, tables.
func (r *byteReader) bulk() bool {
	switch n := r.u32(); {
	case n <= 7: // conversions
	case n == 9 || n == 11 || n == 13 || n >= 15 && n <= 17: // data.drop, memory.fill, elem.drop, table.grow, table.size, table.fill
		r.skipLEB()
	case n == 8 || n == 10 || n == 12 || n == 14: // memory.init, memory.copy, table.init, table.copy
		r.skipLEB()
		r.skipLEB()
	default:
		return false
	}
	return true
}

// vector passes over an instruction of 0xfd.
func (r *byteReader) vector() bool {
	switch n := r.u32(); {
	case n <= 11 || n == 92 || n == 93: // loads and stores
		r.skipLEB()
		r.skipLEB()
	case n == 12 || n == 13: // v128.const, i8x16.shuffle
		r.skip(16)
	case n >= 21 && n <= 34: // lanes
		r.skip(1)
	case n >= 84 && n <= 91: // loads and stores of a lane
		r.skipLEB()
		r.skipLEB()
		r.skip(1)
	case n <= 255:
	default:
		return false
	}
	return true
}

// blockType passes over a block type: a byte, or the index of a type.
func (r *byteReader) blockType() { r.skipLEB() }

// skipLEB passes over a number of variable length.
func (r *byteReader) skipLEB() {
	for r.pos < len(r.data) {
		b := r.data[r.pos]
		r.pos++
		if b&0x80 == 0 {
			return
		}
	}
	r.fail(errShort)
}

func (r *byteReader) skip(n int) {
	if n > len(r.data)-r.pos {
		r.fail(errShort)
		return
	}
	r.pos += n
}
