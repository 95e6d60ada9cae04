// Command puppet is a guest that does what it is told: at every callback it calls the foreign function "puppet" with the callback's name and
// arguments, and does the commands that come back, one a line. It logs the callback, and what each command gave.
package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

func say(format string, args ...any) {
	p, n := str(fmt.Sprintf(format, args...))
	proxyLog(2, p, n)
}

// at does what the host tells for a callback, and gives what the callback returns: the number of the command "return", or def.
func at(def uint32, name string, args ...uint32) uint32 {
	line := name
	for _, a := range args {
		line += " " + strconv.FormatUint(uint64(a), 10)
	}
	say("%s", line)
	p, n := str("puppet")
	a, an := str(line)
	out.p, out.n = nil, 0
	foreign(p, n, a, an, outP, outN)
	for command := range strings.SplitSeq(given(), "\n") {
		if v, ok := strings.CutPrefix(command, "return "); ok {
			def = number(v)
		} else if command != "" {
			say("  %s: %s", command, do(strings.Split(command, " ")))
		}
	}
	return def
}

func number(s string) uint32 {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(v)
}

// do runs a command: the host function's name and its arguments, without spaces in them; %0a stands for a line feed.
func do(c []string) string {
	out.p, out.n, out.word = nil, 0, 0
	arg := func(i int) string {
		if i < len(c) {
			return strings.ReplaceAll(c[i], "%0a", "\n")
		}
		return ""
	}
	a, an := str(arg(1))
	b, bn := str(arg(2))
	switch c[0] {
	case "get_status":
		return give(getStatus(outW, outP, outN), true)
	case "done":
		return give(done(), false)
	case "set_effective_context":
		return give(setEffectiveContext(number(c[1])), false)
	case "set_tick_period":
		return give(setTickPeriod(number(c[1])), false)
	case "get_property":
		path := strings.ReplaceAll(c[1], ".", "\x00")
		p, n := str(path)
		return give(getProperty(p, n, outP, outN), false)
	case "set_property":
		return give(setProperty(a, an, b, bn), false)
	case "get_buffer":
		return give(getBufferBytes(number(c[1]), 0, 1<<20, outP, outN), false)
	case "set_buffer":
		p, n := str(arg(4))
		return give(setBufferBytes(number(c[1]), number(c[2]), number(c[3]), p, n), false)
	case "get_map":
		if st := getHeaderMapPairs(number(c[1]), outP, outN); st != 0 {
			return give(st, false)
		}
		return pairs(given())
	case "add_header":
		p, n := str(arg(3))
		return give(addHeaderMapValue(number(c[1]), b, bn, p, n), false)
	case "continue":
		return give(continueStream(number(c[1])), false)
	case "close":
		return give(closeStream(number(c[1])), false)
	case "reply":
		return give(sendLocalResponse(number(c[1]), nil, 0, b, bn, nil, 0, 0xffffffff), false)
	case "http_call":
		p, n := str(string(marshal(":method", "GET", ":path", c[2], ":authority", "a")))
		return give(httpCall(a, an, p, n, nil, 0, nil, 0, number(c[3]), outW), true)
	case "grpc_call":
		p, n := str(arg(3))
		i, in := str(string(marshal("x-meta", "1")))
		m, mn := str(arg(4))
		return give(grpcCall(a, an, b, bn, p, n, i, in, m, mn, number(c[5]), outW), true)
	case "grpc_stream":
		p, n := str(arg(3))
		return give(grpcStream(a, an, b, bn, p, n, nil, 0, outW), true)
	case "grpc_send":
		return give(grpcSend(number(c[1]), b, bn, number(c[3])), false)
	case "grpc_cancel":
		return give(grpcCancel(number(c[1])), false)
	case "grpc_close":
		return give(grpcClose(number(c[1])), false)
	case "get_data":
		return give(getSharedData(a, an, outP, outN, outW), false)
	case "set_data":
		return give(setSharedData(a, an, b, bn, number(c[3])), false)
	case "register_queue":
		return give(registerSharedQueue(a, an, outW), true)
	case "resolve_queue":
		return give(resolveSharedQueue(a, an, b, bn, outW), true)
	case "enqueue":
		return give(enqueueSharedQueue(number(c[1]), b, bn), false)
	case "dequeue":
		return give(dequeueSharedQueue(number(c[1]), outP, outN), false)
	case "foreign":
		return give(foreign(a, an, b, bn, outP, outN), false)
	case "foreign_back": // what comes of the first is what the second gets
		if st := foreign(a, an, b, bn, outP, outN); st != 0 {
			return give(st, false)
		}
		v, vn := str(given())
		b, bn = str(arg(3))
		out.p, out.n = nil, 0
		return give(foreign(b, bn, v, vn, outP, outN), false)
	case "panic":
		panic("as told")
	}
	panic("unknown command " + c[0])
}

// give writes a status, what was returned, and the word if it counts.
func give(status uint32, word bool) string {
	s := strconv.FormatUint(uint64(status), 10)
	if word {
		s += " " + strconv.FormatUint(uint64(out.word), 10)
	}
	if v := given(); v != "" {
		s += fmt.Sprintf(" %q", v)
	}
	return s
}

func marshal(kv ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(kv)/2))
	for _, s := range kv {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	}
	for _, s := range kv {
		b = append(append(b, s...), 0)
	}
	return b
}

func pairs(s string) string {
	if s == "" {
		return "none"
	}
	b := []byte(s)
	n := binary.LittleEndian.Uint32(b)
	pos := 4 + 8*n
	var all []string
	for i := range n {
		kn, vn := binary.LittleEndian.Uint32(b[4+8*i:]), binary.LittleEndian.Uint32(b[8+8*i:])
		k := string(b[pos : pos+kn])
		pos += kn + 1
		all = append(all, k+"="+string(b[pos:pos+vn]))
		pos += vn + 1
	}
	return strings.Join(all, "|")
}
