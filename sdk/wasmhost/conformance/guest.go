package conformance

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// guest is a module of the suite: which callbacks it exports, and what each does. The zero value exports nothing but an allocator.
type guest struct {
	abi       string // the ABI's marker, as "0_1_0"; empty: 0_2_1; "none": no marker
	callbacks []callback
	malloc    string // the allocator's export; empty: malloc; "none": there is none
	// quietMalloc leaves calls of the allocator out of the trace.
	quietMalloc bool
	// mallocBody is done by the allocator before it allocates.
	mallocBody []statement
	// imports are taken from the host and never called.
	imports []importedFunc
}

// callback is one export.
type callback struct {
	name string
	sig  string // empty: the ABI's
	body []statement
}

// on makes a callback. Its name is without "proxy_".
func on(name string, body ...statement) callback {
	return callback{name: exportName(name), body: body}
}

func exportName(name string) string {
	if _, ok := lifecycle[name]; ok {
		return name
	}
	return "proxy_" + name
}

// statement is one thing that a callback does.
type statement interface{ emit(f *function) }

// function is a callback while it is emitted.
type function struct {
	*code
	params  int // its parameters are the first locals
	results bool
}

// Locals of every callback after its parameters.
func (f *function) status() int { return f.params }

// module assembles the guest. id marks its lines in a log.
func (g guest) module(id int) []byte {
	a := &assembler{id: id}
	abi := g.abi
	if abi == "" {
		abi = "0_2_1"
	}
	runtimeFunctions(a, id)
	if abi != "none" {
		a.function(definedFunc{export: "proxy_abi_version_" + abi, emit: func(*code) {}})
	}
	malloc := g.malloc
	if malloc == "" {
		malloc = "malloc"
	}
	if malloc != "none" {
		a.function(definedFunc{export: malloc, sig: "i:i", locals: "il", emit: func(c *code) {
			if !g.quietMalloc {
				c.printLiteral("  malloc(").get(0).op(opExtendU).call("print number").printLiteral(")").call("flush")
			}
			f := &function{code: c, params: 1}
			for _, s := range g.mallocBody {
				s.emit(f)
			}
			// Addresses rise by whole words; the first is addrHeap.
			c.getGlobal("heap").op(opWrap).i32(addrHeap).op(opAdd32)
			c.getGlobal("heap").get(0).op(opExtendU).op(opAdd64).i64(8).op(opAdd64).setGlobal("heap")
		}})
	}
	for _, cb := range g.callbacks {
		sig := cb.sig
		if sig == "" {
			sig = callbackType(cb.name, abi)
		}
		params, results := signature(sig)
		a.function(definedFunc{export: cb.name, sig: sig, locals: "il", emit: func(c *code) {
			f := &function{code: c, params: len(params), results: results != ""}
			c.printLiteral(strings.TrimPrefix(cb.name, "proxy_") + "(")
			for i := range params {
				if i > 0 {
					c.printLiteral(", ")
				}
				c.get(i).op(opExtendU).call("print number")
			}
			c.printLiteral(")").call("flush")
			for _, s := range cb.body {
				s.emit(f)
			}
			if f.results {
				n := int64(0)
				if yes[cb.name] {
					n = 1
				}
				c.i32(n)
			}
		}})
	}
	for _, im := range g.imports {
		a.imported(im.module, im.name, im.sig)
	}
	return a.assemble()
}

// callbackType is the type of an export that the host calls.
func callbackType(name, abi string) string {
	if sig, ok := lifecycle[name]; ok {
		return sig
	}
	sig, ok := callbacks[name]
	if !ok {
		panic("conformance: " + name + " is no callback")
	}
	if abi == "0_1_0" && (name == "proxy_on_request_headers" || name == "proxy_on_response_headers") {
		return "ii:i"
	}
	return sig
}

// maxHexBytes is how much of returned bytes a line of the trace holds.
const maxHexBytes = 8 << 10

// runtimeFunctions adds what all guests use to write the trace: print appends bytes to the line, flush logs it.
func runtimeFunctions(a *assembler, id int) {
	mark := mark(id)
	end := func(c *code) *code { return c.getGlobal("line").op(opWrap).i32(addrLine).op(opAdd32) }
	advance := func(c *code, push func()) {
		c.getGlobal("line")
		push()
		c.op(opAdd64).setGlobal("line")
	}
	a.function(definedFunc{name: "print", sig: "ii", emit: func(c *code) {
		end(c).get(0).get(1).copy()
		advance(c, func() { c.get(1).op(opExtendU) })
	}})
	a.function(definedFunc{name: "print number", sig: "l", locals: "i", emit: func(c *code) {
		const last = addrDigits + 32
		c.i32(last).set(1).op(opLoop, noResult)
		c.get(1).i32(1).op(opSub32).set(1)
		c.get(1).get(0).i64(10).op(opRemU64).i64('0').op(opAdd64).op(opWrap).store8()
		c.get(0).i64(10).op(opDivU64).set(0)
		c.get(0).op(opEqz64).op(opEqz32).op(opBranchIf, 0).op(opEnd)
		c.get(1).i32(last).get(1).op(opSub32).call("print")
	}})
	a.function(definedFunc{name: "print bytes", sig: "ii", locals: "i", emit: func(c *code) {
		c.get(1).i32(maxHexBytes).op(opGeU32).op(opIf, noResult).i32(maxHexBytes).set(1).op(opEnd)
		digit := func(push func()) {
			end(c).i32(addrHex)
			push()
			c.op(opAdd32).load8().store8()
			advance(c, func() { c.i64(1) })
		}
		at := func() *code { return c.get(0).get(2).op(opAdd32).load8() }
		c.op(opBlock, noResult, opLoop, noResult)
		c.get(2).get(1).op(opGeU32).op(opBranchIf, 1)
		digit(func() { at().i32(4).op(opShrU32) })
		digit(func() { at().i32(15).op(opAnd32) })
		c.get(2).i32(1).op(opAdd32).set(2).op(opBranch, 0).op(opEnd, opEnd)
	}})
	a.function(definedFunc{name: "flush", emit: func(c *code) {
		// The mark stands before the line: written there by the first print of the next one.
		c.i32(2).i32(addrLine - int64(len(mark))).getGlobal("line").op(opWrap).i32(int64(len(mark))).op(opAdd32)
		c.i32(addrLine - int64(len(mark))).i32(int64(a.text(mark))).i32(int64(len(mark))).copy()
		c.callImport("env", "proxy_log", hostFunctions["proxy_log"]).op(opDrop)
		c.i64(0).setGlobal("line")
	}})
}

// value is a number that a guest computes.
type value interface {
	// push leaves it on the stack as an i64.
	push(f *function)
	label() string
}

// num is a constant.
type num int64

func (n num) push(f *function) { f.i64(int64(n)) }
func (n num) label() string    { return strconv.FormatInt(int64(n), 10) }

// param is a parameter of the callback.
type param int

func (p param) push(f *function) { f.get(int(p)).op(opExtendU) }
func (p param) label() string    { return "$" + strconv.Itoa(int(p)) }

// lastStatus is what the last host call returned.
type lastStatus struct{}

func (lastStatus) push(f *function) { f.get(f.status()).op(opExtendU) }
func (lastStatus) label() string    { return "status" }

// variable is kept between callbacks. It is 0 at first.
type variable string

func (v variable) push(f *function) { f.getGlobal(string(v)) }
func (v variable) label() string    { return string(v) }

// argument is one or two parameters of a host call.
type argument interface {
	label() string
	// prepare is emitted before the call; slot is a place for results that is the argument's own.
	prepare(f *function, slot int64)
	// push leaves the parameters on the stack. kinds are the types that the call still expects; it returns how many it has used.
	pushArgs(f *function, slot int64, kinds string) int
	// report is emitted after a call that succeeded, to print what it returned.
	report(f *function, slot int64)
}

// in is an argument that gives nothing back.
type in struct{}

func (in) prepare(*function, int64) {}
func (in) report(*function, int64)  {}

type numberArg struct {
	in
	value
}

func (n numberArg) pushArgs(f *function, _ int64, kinds string) int {
	n.push(f)
	if kinds[0] == 'i' {
		f.op(opWrap)
	}
	return 1
}

// str is a string: a pointer and a size.
type str string

func (str) prepare(*function, int64) {}
func (str) report(*function, int64)  {}
func (s str) label() string          { return strconv.Quote(string(s)) }
func (s str) pushArgs(f *function, _ int64, _ string) int {
	own := f.a.own(string(s))
	f.i32(int64(f.a.text(own))).i32(int64(len(own)))
	return 2
}

// headerList is a serialised map, of names and values in turn.
type headerList []string

func (headerList) prepare(*function, int64) {}
func (headerList) report(*function, int64)  {}
func (h headerList) label() string          { return fmt.Sprintf("%q", []string(h)) }
func (h headerList) pushArgs(f *function, slot int64, kinds string) int {
	var own []string
	for _, s := range h {
		own = append(own, f.a.own(s))
	}
	return str(serialise(own)).pushArgs(f, slot, kinds)
}

// own puts the case's name where a constant says "$case", and its mark where one says "$mark".
func (a *assembler) own(s string) string {
	return strings.NewReplacer("$case", "c"+strconv.Itoa(a.id%secondVM), "$mark ", mark(a.id)).Replace(s)
}

// serialise makes the wire form of a map.
func serialise(h []string) string {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(h)/2))
	for _, s := range h {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(s)))
	}
	for _, s := range h {
		out = append(append(out, s...), 0)
	}
	return string(out)
}

// bad is a pointer outside of the memory, and a size where the call wants one.
type bad struct{ in }

func (bad) label() string { return "BAD" }
func (bad) pushArgs(f *function, _ int64, _ string) int {
	f.i32(badPointer).i32(16)
	return 2
}

// badOut is a pointer outside of the memory where the call wants to write.
type badOut struct{ in }

func (badOut) label() string { return "BADOUT" }
func (badOut) pushArgs(f *function, _ int64, _ string) int {
	f.i32(badPointer)
	return 1
}

// out is where a call returns something.
type out struct {
	kind rune   // 'b' bytes, 'p' a map, 's' a map whose order is free, 'i' a 32-bit and 'l' a 64-bit number
	keep string // the variable that takes a number
	mute bool   // the value is not in the trace
}

var (
	bytesOut   = out{kind: 'b'}
	pairsOut   = out{kind: 'p'}
	numberOut  = out{kind: 'i'}
	number64   = out{kind: 'l'}
	sortedOut  = out{kind: 's'}
	mutedBytes = out{kind: 'b', mute: true}
)

// The counter behind CAS values belongs to the whole process, where other cases run.
var (
	casOut  = out{kind: 'i', mute: true}
	keptCAS = out{kind: 'i', keep: "cas", mute: true}
)

// queueOut takes a queue's token, which depends on what other VMs of the process have registered.
func queueOut(v variable) out { return out{kind: 'i', keep: string(v), mute: true} }

func into(v variable) out { return out{kind: 'i', keep: string(v)} }

func (o out) label() string { return "" }
func (o out) isBytes() bool { return o.kind == 'b' || o.kind == 'p' || o.kind == 's' }
func (o out) prepare(f *function, slot int64) {
	f.i32(slot).i32(0).store32().i32(slot + 4).i32(0).store32()
}
func (o out) pushArgs(f *function, slot int64, _ string) int {
	f.i32(slot)
	if o.isBytes() {
		f.i32(slot + 4)
		return 2
	}
	return 1
}
func (o out) report(f *function, slot int64) {
	number := func() {
		f.i32(slot)
		if o.kind == 'l' {
			f.load64()
		} else {
			f.load32().op(opExtendU)
		}
	}
	if o.keep != "" {
		number()
		f.setGlobal(o.keep)
	}
	switch {
	case o.mute:
		f.printLiteral(" *")
	case o.isBytes():
		f.printLiteral(" " + string(o.kind) + ":")
		f.i32(slot).load32().i32(slot + 4).load32().call("print bytes")
		// Where nothing was returned, the pointer tells whether the host allocated all the same.
		f.i32(slot+4).load32().op(opEqz32).op(opIf, noResult)
		f.i32(slot).load32().op(opIf, noResult).printLiteral("(not null)").op(opEnd).op(opEnd)
	default:
		f.printLiteral(" ")
		number()
		f.call("print number")
	}
}

// hostCall calls a host function and traces its status and results.
type hostCall struct {
	module, name, sig string
	args              []argument
	quiet             bool // nothing is traced
}

// call calls a host function. Its name is without "proxy_", or starts with "wasi." or "env.". Numbers may be ints.
func call(name string, args ...any) statement {
	c := hostCall{module: "env", name: "proxy_" + name}
	switch rest, isWASI := strings.CutPrefix(name, "wasi."); {
	case isWASI:
		c.module, c.name, c.sig = "wasi_snapshot_preview1", rest, wasiFunctions[rest]
	case strings.HasPrefix(name, "unstable."):
		c.module, c.name = "wasi_unstable", strings.TrimPrefix(name, "unstable.")
		c.sig = wasiFunctions[c.name]
	case strings.HasPrefix(name, "env."):
		c.name = strings.TrimPrefix(name, "env.")
		c.sig = emscriptenFunctions[c.name]
	case oldHostFunctions[c.name] != "":
		c.sig = oldHostFunctions[c.name]
	default:
		c.sig = hostFunctions[c.name]
	}
	if c.sig == "" && name != "wasi.sched_yield" {
		panic("conformance: " + name + " is no host function")
	}
	for _, a := range args {
		switch a := a.(type) {
		case int:
			c.args = append(c.args, numberArg{value: num(a)})
		case string:
			c.args = append(c.args, str(a))
		case []byte:
			c.args = append(c.args, str(a))
		case value:
			c.args = append(c.args, numberArg{value: a})
		case argument:
			c.args = append(c.args, a)
		default:
			panic(fmt.Sprintf("conformance: %s with an argument of type %T", name, a))
		}
	}
	return c
}

func (h hostCall) emit(f *function) {
	params, results := signature(h.sig)
	kinds := params
	labels := []string{}
	slots := make([]int64, len(h.args))
	for i, a := range h.args {
		slots[i] = addrResults + int64(i)*16
		a.prepare(f, slots[i])
		if l := a.label(); l != "" {
			labels = append(labels, l)
		}
	}
	for i, a := range h.args {
		if kinds == "" {
			panic(fmt.Sprintf("conformance: too many arguments for %s", h.name))
		}
		n := a.pushArgs(f, slots[i], kinds)
		kinds = kinds[n:]
	}
	if kinds != "" {
		panic(fmt.Sprintf("conformance: %s wants %d more arguments", h.name, len(kinds)))
	}
	f.callImport(h.module, h.name, h.sig)
	if results != "" {
		f.set(f.status())
	}
	if h.quiet {
		return
	}
	f.printLiteral("  " + strings.TrimPrefix(h.name, "proxy_") + "(" + strings.Join(labels, ", ") + ")")
	if results != "" {
		f.printLiteral(" = ").get(f.status()).op(opExtendU).call("print number")
		f.get(f.status()).op(opEqz32).op(opIf, noResult)
	} else {
		f.op(opBlock, noResult)
	}
	for i, a := range h.args {
		a.report(f, slots[i])
	}
	f.op(opEnd).call("flush")
}

// giveBack returns a value from the callback.
func giveBack(v any) statement { return giveBackOf{asValue(v)} }

type giveBackOf struct{ value }

func (r giveBackOf) emit(f *function) {
	r.push(f)
	f.op(opWrap).op(opReturn)
}

func asValue(v any) value {
	switch v := v.(type) {
	case int:
		return num(v)
	case value:
		return v
	}
	panic(fmt.Sprintf("conformance: a value of type %T", v))
}

// assign sets a variable.
func assign(name variable, v any) statement { return assignment{name, asValue(v)} }

type assignment struct {
	to   variable
	from value
}

func (s assignment) emit(f *function) {
	s.from.push(f)
	f.setGlobal(string(s.to))
}

// count adds one to a variable.
func count(name variable) statement { return counter{name} }

type counter struct{ variable }

func (s counter) emit(f *function) {
	s.push(f)
	f.i64(1).op(opAdd64).setGlobal(string(s.variable))
}

// when runs statements if two values are equal.
func when(a, b any, then ...statement) statement { return condition{asValue(a), asValue(b), then} }

type condition struct {
	a, b value
	then []statement
}

func (s condition) emit(f *function) {
	s.a.push(f)
	s.b.push(f)
	f.op(opEq64).op(opIf, noResult)
	for _, t := range s.then {
		t.emit(f)
	}
	f.op(opEnd)
}

// say writes a line into the trace.
func say(text string) statement { return sayText(text) }

type sayText string

func (s sayText) emit(f *function) { f.printLiteral("  # " + string(s)).call("flush") }

// poke writes a 32-bit number into memory.
func poke(at int64, v any) statement { return pokeOf{at, asValue(v)} }

type pokeOf struct {
	at int64
	value
}

func (s pokeOf) emit(f *function) {
	f.i32(s.at)
	s.push(f)
	f.op(opWrap).store32()
}

// raw emits instructions as they are.
type raw []byte

func (r raw) emit(f *function) { f.op(r...) }

var (
	// trap ends the guest.
	trap = raw{opUnreachable}
)
