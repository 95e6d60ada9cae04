package build

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

const (
	// MinLoopGuard is the lowest bound that Options.LoopGuard takes: a parser of a long header needs more.
	MinLoopGuard = 1000
	// MaxLoopGuard is the highest one, and what holds for the start of a VM and for its configuration, where a filter may compile rules
	// for long. To count so far takes from 1.6 s to beyond what Envoy's watchdog allows.
	MaxLoopGuard = math.MaxInt32
	// NoLoopGuard is the Options.LoopGuard of a build without one, whatever the filter's source asks for.
	NoLoopGuard = -1
	// LoopGuardFunction is the name, in the symbol file, of the function in which a module traps whose loops went on for too long. The
	// function that calls it on the engine's stack is the one that has the loop.
	LoopGuardFunction = "waft.loopGuard"
)

// notGuarded are functions whose loops are not counted: those of the Go runtime, which end by themselves and would let the collector's
// work depend on what other requests have left; and what is written in assembly, whose names have no package, such as the search for a byte.
var notGuarded = regexp.MustCompile(`^(?:(?:runtime|internal_runtime_\w+|internal_bytealg)\.|[^.]*$)`)

// callbackPrefix begins the exports that Envoy calls. Each begins to count anew, but for nested, which Envoy calls while another one runs:
// a loop that asks the host for something would never end.
const (
	callbackPrefix = "proxy_on_"
	nested         = "proxy_on_memory_allocate"
)

// unhurried are the callbacks that may go on for MaxLoopGuard.
var unhurried = []string{"proxy_on_vm_start", "proxy_on_configure"}

// guardLoops has the module count how often it goes back in a loop, and trap when it has done so limit times in one callback. The count is a
// global of the module; it holds for all that a callback does, in whatever goroutine. Only the functions that count are changed, and none gets
// another number. The names of functions must be in the module still.
func guardLoops(wasm []byte, limit int64) ([]byte, Finding, error) {
	f, err := readFunctions(wasm)
	if err != nil {
		return nil, Finding{}, err
	}
	names, err := functionNames(f.sections)
	if err != nil {
		return nil, Finding{}, err
	}
	count, err := f.addCounter(MaxLoopGuard)
	if err != nil {
		return nil, Finding{}, err
	}
	g := loopGuard{global: count, trap: uint32(f.imported() + len(f.own))}
	for i, body := range f.bodies {
		index := uint32(f.imported() + i)
		if name, known := names[index]; known && notGuarded.MatchString(name) {
			continue
		}
		if int(f.own[i]) >= len(f.types) {
			return nil, Finding{}, fmt.Errorf("function %d: there is no type %d", index, f.own[i])
		}
		if f.bodies[i], err = g.guard(body, len(f.types[f.own[i]].params)); err != nil {
			return nil, Finding{}, fmt.Errorf("function %d: %w", index, err)
		}
	}
	callbacks, err := f.restart(count, limit)
	if err != nil {
		return nil, Finding{}, err
	}
	if callbacks == 0 {
		return nil, Finding{}, fmt.Errorf("it exports no %s… in which loops could be counted", callbackPrefix)
	}
	f.own, f.bodies = append(f.own, f.typeOf(functionType{})), append(f.bodies, []byte{0, opUnreachable, opEnd})
	f.addedNames = map[uint32]string{g.trap: LoopGuardFunction}
	before := codeSize(wasm)
	if wasm, err = f.write(func(index uint32) uint32 { return index }); err != nil {
		return nil, Finding{}, err
	}
	return wasm, Finding{Message: fmt.Sprintf("a callback that goes back in loops %d times traps; %d places count, which takes %d KB of code",
		limit, g.sites, (codeSize(wasm)-before)/1000)}, nil
}

// loopGuard puts a count before the branches that lead back to a loop.
type loopGuard struct {
	// global holds how many are left; trap is the function to call at none.
	global, trap uint32
	// sites is how many branches count.
	sites int
}

// guard is the body of a function that counts, and the same body where it has no loop. params is how many parameters it has.
func (g *loopGuard) guard(body []byte, params int) ([]byte, error) {
	code, err := readInstructions(body)
	if err != nil {
		return nil, err
	}
	var at []int // where to count
	// loops says of each block that is open whether it is a loop; the body is none.
	loops := []bool{false}
	back := func(depth int64) bool { return depth < int64(len(loops)) && loops[int64(len(loops))-1-depth] }
	for _, in := range code {
		counts := false
		switch in.op {
		case opBlock, opLoop, opIf:
			loops = append(loops, in.op == opLoop)
		case opEnd:
			loops = loops[:len(loops)-1]
		case opBr, opBrIf:
			counts = back(in.value)
		case opBrTable:
			counts = slices.ContainsFunc(in.targets, func(depth uint32) bool { return back(int64(depth)) })
		}
		if counts {
			at = append(at, in.from)
		}
	}
	if len(at) == 0 {
		return body, nil
	}
	g.sites += len(at)
	out, local, copied := declareLocal(body, params)
	// It takes nothing from the stack and leaves nothing, so it can stand before any instruction.
	count := binary.AppendUvarint([]byte{opGlobalGet}, uint64(g.global))
	count = binary.AppendUvarint(append(count, opI32Const, 1, opI32Sub, opLocalTee), uint64(local))
	count = binary.AppendUvarint(append(count, opGlobalSet), uint64(g.global))
	count = binary.AppendUvarint(append(count, opLocalGet), uint64(local))
	count = binary.AppendUvarint(append(count, opI32Eqz, opIf, opBlockVoid, opCall), uint64(g.trap))
	count = append(count, opUnreachable, opEnd)
	for _, from := range at {
		out = append(append(out, body[copied:from]...), count...)
		copied = from
	}
	return append(out, body[copied:]...), nil
}

// declareLocal begins a body with one more local variable, an i32. behind is where the code begins in the old one, which must be readable.
func declareLocal(body []byte, params int) (out []byte, local, behind int) {
	r := &reader{rest: body}
	groups := r.u32()
	first := len(body) - len(r.rest)
	local = params
	for range groups {
		local += int(r.u32())
		r.byte()
	}
	behind = len(body) - len(r.rest)
	out = binary.AppendUvarint(make([]byte, 0, len(body)*5/4), uint64(groups)+1)
	out = append(out, body[first:behind]...)
	return append(out, 1, typeI32), local, behind
}

// typeI32 is the type of a 32-bit number.
const typeI32 = 0x7f

// addCounter adds a global that can change, an i32 that begins as value, and gives its number.
func (f *functions) addCounter(value int64) (uint32, error) {
	const mutable, kindGlobal = 1, 3
	imported := uint32(0)
	for _, im := range f.imports {
		if im.kind == kindGlobal {
			imported++
		}
	}
	at := slices.IndexFunc(f.sections, func(s section) bool { return s.id == sectionGlobal })
	if at < 0 {
		return 0, errors.New("it has no global variables, as every module of Go's has")
	}
	r := &reader{rest: f.sections[at].body}
	count := r.u32()
	if r.err != nil {
		return 0, fmt.Errorf("section %d: %w", sectionGlobal, r.err)
	}
	body := append(binary.AppendUvarint(nil, uint64(count)+1), r.rest...)
	body = appendSigned(append(body, typeI32, mutable, opI32Const), value)
	f.sections = slices.Clone(f.sections)
	f.sections[at].body = append(body, opEnd)
	return imported + count, nil
}

// restart has each callback set the counter when it begins. It says how many there are.
func (f *functions) restart(counter uint32, limit int64) (int, error) {
	limits := map[int]int64{} // of the module's own functions
	for _, e := range f.exports {
		if e.kind != kindFunction || !strings.HasPrefix(e.name, callbackPrefix) || e.name == nested {
			continue
		}
		i := int(e.index) - f.imported()
		if i < 0 || i >= len(f.bodies) {
			return 0, fmt.Errorf("export %s is no function of its own", e.name)
		}
		bound := limit
		if slices.Contains(unhurried, e.name) {
			bound = MaxLoopGuard
		}
		limits[i] = max(limits[i], bound) // where one function is exported by two names
	}
	for _, i := range slices.Sorted(maps.Keys(limits)) {
		r := &reader{rest: f.bodies[i]}
		skipLocals(r)
		if r.err != nil {
			return 0, r.err
		}
		locals := len(f.bodies[i]) - len(r.rest)
		set := appendSigned([]byte{opI32Const}, limits[i])
		set = binary.AppendUvarint(append(set, opGlobalSet), uint64(counter))
		f.bodies[i] = slices.Concat(f.bodies[i][:locals], set, r.rest)
	}
	return len(limits), nil
}

// appendSigned appends a signed LEB128.
func appendSigned(dst []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}
