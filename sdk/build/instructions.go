package build

import (
	"encoding/binary"
	"fmt"
)

// Instructions that are looked at by name. Those that name a function are the reason to read code at all.
// https://webassembly.github.io/spec/core/binary/instructions.html
const (
	opBlock, opLoop, opIf                   = 0x02, 0x03, 0x04
	opElse, opEnd                           = 0x05, 0x0b
	opBr, opBrIf, opBrTable                 = 0x0c, 0x0d, 0x0e
	opUnreachable, opDrop                   = 0x00, 0x1a
	opCall, opCallIndirect                  = 0x10, 0x11
	opReturnCall, opReturnCallIndirect      = 0x12, 0x13
	opSelect, opSelectTyped                 = 0x1b, 0x1c
	opLocalGet, opTableSet                  = 0x20, 0x26
	opLocalSet, opLocalTee                  = 0x21, 0x22
	opGlobalGet, opGlobalSet                = 0x23, 0x24
	opI32Load, opI64Store32                 = 0x28, 0x3e
	opI32Store, opI64Store, opI32Store16    = 0x36, 0x37, 0x3b
	opMemorySize, opMemoryGrow              = 0x3f, 0x40
	opI32Const, opI64Const                  = 0x41, 0x42
	opF32Const, opF64Const                  = 0x43, 0x44
	opI32Eqz, opI64Extend32                 = 0x45, 0xc4
	opI32LeU, opI32Sub                      = 0x4d, 0x6b
	opRefNull, opRefIsNull, opRefFunc       = 0xd0, 0xd1, 0xd2
	opPrefixMisc, opPrefixSIMD, opPrefixAtm = 0xfc, 0xfd, 0xfe
)

// walkCode goes over an expression up to the end that closes it, and calls visit with each function that an instruction names
// and with the place of that number: before it, and behind it, as lengths of what is left to read. An instruction that it does
// not know is an error, since what follows it cannot be read.
func walkCode(r *reader, visit func(index uint32, before, behind int)) {
	for depth := 0; r.err == nil; {
		switch op := r.byte(); {
		case op == opBlock || op == opLoop || op == opIf:
			depth++
			r.leb()
		case op == opEnd:
			if depth--; depth < 0 {
				return
			}
		case op == opCall || op == opReturnCall || op == opRefFunc:
			before := len(r.rest)
			index := r.u32()
			visit(index, before, len(r.rest))
		default:
			skipOperands(r, op)
		}
	}
}

// skipOperands passes over what follows the opcode of an instruction that names no function.
func skipOperands(r *reader, op byte) {
	switch {
	case op <= 0x01, op == opElse, op == 0x0f, op == 0x1a, op == opSelect, op == opRefIsNull, op >= opI32Eqz && op <= opI64Extend32:
	case op == opBr, op == opBrIf, op >= opLocalGet && op <= opTableSet, op == opMemorySize, op == opMemoryGrow, op == opI32Const, op == opI64Const, op == opRefNull:
		r.leb()
	case op == opBrTable:
		for n := r.u32(); ; n-- {
			r.leb()
			if n == 0 || r.err != nil {
				return
			}
		}
	case op == opCallIndirect, op == opReturnCallIndirect:
		r.leb()
		r.leb()
	case op == opSelectTyped:
		r.bytes(int(r.u32()))
	case op >= opI32Load && op <= opI64Store32:
		skipMemoryOperand(r)
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case op == opPrefixMisc:
		skipMisc(r)
	case op == opPrefixSIMD:
		skipSIMD(r)
	case op == opPrefixAtm:
		const fence = 3
		if r.u32() == fence {
			r.byte()
		} else {
			skipMemoryOperand(r)
		}
	default:
		r.fail(fmt.Errorf("code with the instruction %#02x, which is not known here", op))
	}
}

// skipMemoryOperand passes over an alignment, the memory where a bit of that asks for one, and an offset.
func skipMemoryOperand(r *reader) {
	const namesMemory = 1 << 6
	if r.u32()&namesMemory != 0 {
		r.leb()
	}
	r.leb()
}

// skipMisc passes over what follows the prefix of saturating conversions and of operations on memories and tables.
func skipMisc(r *reader) {
	switch n := r.u32(); {
	case n <= 7:
	case n == 9, n == 11, n == 13, n >= 15 && n <= 17:
		r.leb()
	case n <= 14:
		r.leb()
		r.leb()
	default:
		r.fail(fmt.Errorf("code with the instruction 0xfc %d, which is not known here", n))
	}
}

// skipSIMD passes over what follows the prefix of vector instructions.
func skipSIMD(r *reader) {
	switch n := r.u32(); {
	case n <= 11, n == 92, n == 93:
		skipMemoryOperand(r)
	case n == 12, n == 13:
		r.bytes(16)
	case n >= 21 && n <= 34:
		r.byte()
	case n >= 84 && n <= 91:
		skipMemoryOperand(r)
		r.byte()
	case n > 275:
		r.fail(fmt.Errorf("code with the instruction 0xfd %d, which is not known here", n))
	}
}

// skipLocals passes over the local variables that a function's body begins with.
func skipLocals(r *reader) {
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		r.u32()
		// Types of one byte: numbers, vectors, funcref and externref.
		if t := r.byte(); t < 0x6f {
			r.fail(fmt.Errorf("a local variable of type %#02x, which is not known here", t))
		}
	}
}

// renumberBody writes a function's body with other numbers for the functions that it names.
func renumberBody(dst, body []byte, number func(uint32) uint32) ([]byte, error) {
	r := &reader{rest: body}
	skipLocals(r)
	dst, err := renumberCode(dst, body, r, number)
	if err == nil {
		err = r.finish()
	}
	return dst, err
}

// renumberCode writes all of what r reads up to the end of the expression; from is the slice that r began with.
func renumberCode(dst, from []byte, r *reader, number func(uint32) uint32) ([]byte, error) {
	written := 0
	walkCode(r, func(index uint32, before, behind int) {
		dst = append(dst, from[written:len(from)-before]...)
		dst = binary.AppendUvarint(dst, uint64(number(index)))
		written = len(from) - behind
	})
	if r.err != nil {
		return dst, r.err
	}
	return append(dst, from[written:len(from)-len(r.rest)]...), nil
}
