package build

// opBlockVoid is the type of a block without parameters and results.
const opBlockVoid = 0x40

// instruction is one of a body: its bytes are body[from:to].
type instruction struct {
	op       byte
	from, to int
	// value is the first operand of those that have one number: a constant, a local variable, the depth of a branch.
	value int64
	// targets are those of a br_table, the default one last.
	targets []uint32
	// void says that a block, loop or if has neither parameters nor results.
	void bool
}

// readInstructions takes the code of a body apart.
func readInstructions(body []byte) ([]instruction, error) {
	r := &reader{rest: body}
	skipLocals(r)
	var out []instruction
	for depth := 0; depth >= 0 && r.err == nil; {
		in := instruction{from: len(body) - len(r.rest)}
		in.op = r.byte()
		switch op := in.op; {
		case op == opBlock || op == opLoop || op == opIf:
			depth++
			in.void = len(r.rest) > 0 && r.rest[0] == opBlockVoid
			r.leb()
		case op == opEnd:
			depth--
		case op == opBr || op == opBrIf || op >= opLocalGet && op <= opGlobalSet || op == opCall:
			in.value = int64(r.u32())
		case op == opI32Const:
			in.value = r.signed()
		case op == opBrTable:
			in.targets = readList(r, maxFunctions, (*reader).u32)
			in.targets = append(in.targets, r.u32())
		case op == opReturnCall || op == opRefFunc:
			r.leb()
		default:
			skipOperands(r, op)
		}
		in.to = len(body) - len(r.rest)
		out = append(out, in)
	}
	return out, r.finish()
}
