package build

import (
	"encoding/binary"
	"fmt"
)

// threadJumps lets jumps go straight to where they lead. Go's compiler makes of every function a loop around a switch: the number of
// the block to go to is put into a local variable, and the jump goes back to the top of the loop, where the switch takes it on.
// Where that block lies ahead, a branch to it does the same. Engines compile the difference: each way through the switch costs code and
// time, and keeps values from staying in registers.
//
// Code of another shape stays as it is, byte for byte. Nothing else of the module changes, and no function gets another number.
func threadJumps(wasm []byte) ([]byte, error) {
	list, err := sections(wasm)
	if err != nil {
		return nil, err
	}
	for i, s := range list {
		if s.id != sectionCode {
			continue
		}
		r := &reader{rest: s.body}
		bodies := readList(r, maxFunctions, func(r *reader) []byte { return r.bytes(int(r.u32())) })
		if err := r.finish(); err != nil {
			return nil, fmt.Errorf("section %d: %w", s.id, err)
		}
		for n, body := range bodies {
			if bodies[n], err = threadBody(body); err != nil {
				return nil, fmt.Errorf("function %d of its own: %w", n, err)
			}
		}
		list[i].body = appendList(make([]byte, 0, len(s.body)), bodies, func(dst, body []byte) []byte {
			return append(binary.AppendUvarint(dst, uint64(len(body))), body...)
		})
	}
	return joinSections(list), nil
}

// dispatch is a loop that begins with a switch over a local variable.
type dispatch struct {
	// loop is where it stands among the blocks that are open.
	loop  int
	local int64
	// labels are the open blocks that the switch goes to, by the variable's value; the last is for all others.
	labels []int
}

// label is the block that a value leads to.
func (d *dispatch) label(value int64) int {
	if value < 0 || value >= int64(len(d.labels)-1) {
		return d.labels[len(d.labels)-1]
	}
	return d.labels[value]
}

// threadBody is threadJumps for one function.
func threadBody(body []byte) ([]byte, error) {
	code, err := readInstructions(body)
	if err != nil {
		return nil, err
	}
	reads := map[int64]int{}
	for _, in := range code {
		if in.op == opLocalGet || in.op == opLocalTee {
			reads[in.value]++
		}
	}
	var (
		out    []byte
		copied int
		// open are the blocks around an instruction, each by a number that no other has; the body is number 0.
		open   = []int{0}
		opened = 0
		within *dispatch
	)
	// depth is how a branch names a block, and whether it is open.
	depth := func(block int) (int, bool) {
		for i := len(open) - 1; i >= 0; i-- {
			if open[i] == block {
				return len(open) - 1 - i, true
			}
		}
		return 0, false
	}
	for i := 0; i < len(code); i++ {
		switch in := code[i]; in.op {
		case opBlock, opLoop, opIf:
			if in.op == opLoop && in.void && within == nil {
				within = dispatchAt(code[i:], opened+1, open, reads)
			}
			opened++
			open = append(open, opened)
		case opEnd:
			if within != nil && open[len(open)-1] == within.loop {
				within = nil
			}
			open = open[:len(open)-1]
		case opI32Const:
			if within == nil || i+2 >= len(code) {
				continue
			}
			set, br := code[i+1], code[i+2]
			if set.op != opLocalSet || set.value != within.local || br.op != opBr {
				continue
			}
			if back, ok := depth(within.loop); !ok || int64(back) != br.value {
				continue
			}
			to, ok := depth(within.label(in.value))
			if !ok {
				continue // it lies behind
			}
			first, last := i, i+2
			op := byte(opBr)
			if before := code[i-1]; before.op == opIf && before.void && i+3 < len(code) && code[i+3].op == opEnd {
				// The whole of an if: the branch takes its condition.
				first, last, op, to = i-1, i+3, opBrIf, to-1
				open = open[:len(open)-1]
			}
			out = append(out, body[copied:code[first].from]...)
			out = binary.AppendUvarint(append(out, op), uint64(to))
			copied = code[last].to
			i = last
		}
	}
	if copied == 0 {
		return body, nil
	}
	return append(out, body[copied:]...), nil
}

// dispatchAt is the switch that a loop begins with, nil when it begins with something else. The loop will be the block of that number;
// open are the blocks around it. The variable must be read by the switch alone: a jump that does without it then leaves nothing out.
func dispatchAt(code []instruction, number int, open []int, reads map[int64]int) *dispatch {
	inside := append(append([]int{}, open...), number)
	i := 1
	for ; i < len(code) && code[i].op == opBlock && code[i].void; i++ {
		inside = append(inside, number+i)
	}
	if i+1 >= len(code) || code[i].op != opLocalGet || reads[code[i].value] != 1 || code[i+1].op != opBrTable {
		return nil
	}
	d := &dispatch{loop: number, local: code[i].value}
	for _, target := range code[i+1].targets {
		if int(target) >= i-1 {
			return nil // out of the loop, whose blocks alone are known to take no values along
		}
		d.labels = append(d.labels, inside[len(inside)-1-int(target)])
	}
	return d
}
