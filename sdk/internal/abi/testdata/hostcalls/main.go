// Command hostcalls is a guest for the tests of package abi: it makes every host call with inputs that are empty, absent,
// repeated, long or no UTF-8, and logs what it called and what came back otherwise than it should.
package main

import (
	"fmt"
	"strings"

	"github.com/waft-project/waft/sdk/internal/abi"
)

func init() {
	abi.SetGuest(func(h abi.Host) abi.Guest { return &guest{host: h, called: map[string]bool{}} })
}

func main() {}

// texts are the inputs. The last is longer than what the host may hand over without an allocation.
var texts = []string{"", "a", "A b", "\xff\xfe", "ü", "\x7f\x80", strings.Repeat("\xff", 20<<10)}

// binaries are inputs that may hold NUL.
var binaries = append([]string{"\x00", "\x00\x00\xff", "a\x00"}, texts...)

// guest is the guest. Only the callbacks that it needs do something.
type guest struct {
	abi.Guest
	host    abi.Host
	streams int
	called  map[string]bool
}

// want logs a call for its first time, and what it gave if that is wrong.
func (g *guest) want(call, input string, got, want any) {
	if !g.called[call] {
		g.called[call] = true
		g.host.Log(abi.LogInfo, "called "+call)
	}
	if got != want {
		g.host.Log(abi.LogError, fmt.Sprintf("%s of %.20q gave %.60q, want %.60q", call, input, fmt.Sprint(got), fmt.Sprint(want)))
	}
}

// fine logs a call that must be OK.
func (g *guest) fine(call, input string, status abi.Status) { g.want(call, input, status, abi.OK) }

func (g *guest) ContextCreate(uint32, uint32) {}
func (g *guest) Delete(uint32)                {}
func (g *guest) Log(uint32)                   {}
func (g *guest) Done(uint32) bool             { return false }

// Configure makes the calls that need no stream.
func (g *guest) Configure(id, size uint32) bool {
	config, status := g.host.GetBuffer(abi.PluginConfiguration, 0, int(size))
	g.want("GetBuffer", "configuration", string(config), texts[3])
	g.fine("GetBuffer", "configuration", status)
	g.want("Getenv", "NONE", g.host.Getenv("NONE"), "")
	g.want("Getenv", "TEXT", g.host.Getenv("TEXT"), texts[3])
	for i, v := range binaries {
		g.fine("Log", v, g.host.Log(abi.LogTrace, v))
		g.data(v)
		g.queue(v)
		g.metric(fmt.Sprint("m", i, strings.ReplaceAll(v, "\x00", "")), v)
		result, status := g.host.CallForeignFunction("echo", []byte(v))
		g.want("CallForeignFunction", v, string(result), v)
		g.fine("CallForeignFunction", v, status)
		_, status = g.host.CallForeignFunction(v, nil)
		g.want("CallForeignFunction", v, status, abi.NotFound)
		absent := abi.NotFound
		if v == "" {
			absent = abi.SerializationFailure
		}
		_, status = g.host.GetProperty(v)
		g.want("GetProperty", v, status, absent)
	}
	level, status := g.host.LogLevel()
	g.want("LogLevel", "", level, abi.LogTrace)
	g.fine("LogLevel", "", status)
	now, status := g.host.Now()
	g.want("Now", "", now > 0, true)
	g.fine("Now", "", status)
	_, _, status = g.host.Status()
	g.fine("Status", "", status)
	g.want("SetEffectiveContext", "", g.host.SetEffectiveContext(1<<30), abi.BadArgument)
	g.fine("SetEffectiveContext", "", g.host.SetEffectiveContext(id))
	g.fine("SetTickPeriod", "", g.host.SetTickPeriod(0))
	return true
}

func (g *guest) data(v string) {
	key := "k" + v
	_, _, status := g.host.SharedData(key)
	g.want("SharedData", v, status, abi.NotFound)
	for _, value := range []string{v, "", v} {
		g.fine("SetSharedData", v, g.host.SetSharedData(key, []byte(value), 0))
		got, cas, status := g.host.SharedData(key)
		g.want("SharedData", v, string(got), value)
		g.fine("SharedData", v, status)
		g.want("SetSharedData", v, g.host.SetSharedData(key, nil, cas+1), abi.CASMismatch)
		g.fine("SetSharedData", v, g.host.SetSharedData(key, nil, cas))
	}
	g.fine("SetSharedData", v, g.host.SetSharedData(v, nil, 0))
}

func (g *guest) queue(v string) {
	token, status := g.host.RegisterSharedQueue("q" + v)
	g.fine("RegisterSharedQueue", v, status)
	found, status := g.host.ResolveSharedQueue("vm", "q"+v)
	g.want("ResolveSharedQueue", v, found, token)
	g.fine("ResolveSharedQueue", v, status)
	_, status = g.host.ResolveSharedQueue("vm", "none"+v)
	g.want("ResolveSharedQueue", v, status, abi.NotFound)
	for _, item := range []string{v, "", v} {
		g.fine("EnqueueShared", v, g.host.EnqueueShared(token, []byte(item)))
	}
	for _, item := range []string{v, "", v} {
		got, status := g.host.DequeueShared(token)
		g.want("DequeueShared", v, string(got), item)
		g.fine("DequeueShared", v, status)
	}
	_, status = g.host.DequeueShared(token)
	g.want("DequeueShared", v, status, abi.Empty)
	_, status = g.host.DequeueShared(1 << 30)
	g.want("DequeueShared", v, status, abi.NotFound)
	g.want("EnqueueShared", v, g.host.EnqueueShared(1<<30, []byte(v)), abi.NotFound)
}

func (g *guest) metric(name, v string) {
	id, status := g.host.DefineMetric(abi.Gauge, name)
	g.fine("DefineMetric", v, status)
	g.fine("RecordMetric", v, g.host.RecordMetric(id, 5))
	g.fine("IncrementMetric", v, g.host.IncrementMetric(id, -2))
	value, status := g.host.GetMetric(id)
	g.want("GetMetric", v, value, uint64(3))
	g.fine("GetMetric", v, status)
	_, status = g.host.GetMetric(1 << 30)
	g.want("GetMetric", v, status, abi.NotFound)
}

// RequestHeaders makes the calls of a stream; each stream has one text, with which it is answered in the end.
func (g *guest) RequestHeaders(id uint32, end bool) abi.Action {
	if !end {
		return abi.Continue
	}
	for _, v := range texts {
		g.headers(v)
		g.fine("SetProperty", v, g.host.SetProperty("p", []byte(v)))
		got, status := g.host.GetProperty("p")
		g.want("GetProperty", v, string(got), v)
		g.fine("GetProperty", v, status)
		g.callouts(v)
	}
	g.fine("ContinueStream", "", g.host.ContinueStream(abi.RequestStream))
	v := texts[g.streams%len(texts)]
	if g.streams++; g.streams > len(texts) {
		g.fine("CloseStream", "", g.host.CloseStream(abi.RequestStream))
		return abi.PauseAll
	}
	pairs := abi.AppendPairs(nil, []abi.Pair{{Name: "x-v", Value: v}, {Name: "x-v", Value: ""}})
	g.fine("SendLocalResponse", v, g.host.SendLocalResponse(200, v, []byte(v), pairs, abi.NoGRPCStatus))
	return abi.PauseAll
}

func (g *guest) headers(v string) {
	const m, name = abi.RequestHeaders, "x-v"
	_, status := g.host.HeaderValue(m, name)
	g.want("HeaderValue", "an absent one", status, abi.NotFound)
	g.fine("RemoveHeader", "an absent one", g.host.RemoveHeader(m, name))
	g.fine("AddHeader", v, g.host.AddHeader(m, name, v))
	g.fine("AddHeader", v, g.host.AddHeader(m, name, ""))
	g.fine("AddHeader", v, g.host.AddHeader(m, name, "z"+v))
	data, status := g.host.HeaderPairs(m)
	g.fine("HeaderPairs", v, status)
	size, status := g.host.HeaderMapSize(m)
	g.fine("HeaderMapSize", v, status)
	pairs, err := abi.ParsePairs(nil, string(data))
	g.want("HeaderPairs", v, err, nil)
	values, bytes := "", 0
	for _, p := range pairs {
		bytes += len(p.Name) + len(p.Value)
		if p.Name == name {
			values += "[" + p.Value + "]"
		}
	}
	g.want("HeaderMapSize", v, size, bytes)
	g.want("HeaderPairs", v, values, "["+v+"][][z"+v+"]")
	g.fine("SetHeaderPairs", v, g.host.SetHeaderPairs(m, abi.AppendPairs(nil, pairs)))
	again, _ := g.host.HeaderPairs(m)
	g.want("SetHeaderPairs", v, len(again), len(data))
	g.fine("ReplaceHeader", v, g.host.ReplaceHeader(m, name, v))
	value, status := g.host.HeaderValue(m, name)
	g.want("HeaderValue", v, value, v)
	g.fine("HeaderValue", v, status)
	g.fine("RemoveHeader", v, g.host.RemoveHeader(m, name))
	data, status = g.host.HeaderPairs(abi.RequestTrailers)
	g.want("HeaderPairs", "absent trailers", fmt.Sprint(len(data), status), "0 OK")
	_, status = g.host.HeaderValue(abi.RequestTrailers, name)
	g.want("HeaderValue", "absent trailers", status, abi.BadArgument)
}

func (g *guest) callouts(v string) {
	pseudo := []abi.Pair{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "c"}}
	headers := abi.AppendPairs(nil, append(pseudo, abi.Pair{Name: "x-v", Value: v}, abi.Pair{Name: "x-v"}))
	_, status := g.host.HTTPCall("none"+v, headers, []byte(v), nil, 1000)
	g.want("HTTPCall", v, status, abi.BadArgument)
	_, status = g.host.HTTPCall("c", headers, []byte(v), nil, 1000)
	g.fine("HTTPCall", v, status)
	_, status = g.host.GRPCCall("none"+v, v, v, nil, []byte(v), 1000)
	g.want("GRPCCall", v, status, abi.ParseFailure)
	const service = "\x0a\x03\x0a\x01c"
	token, status := g.host.GRPCCall(service, v, v, nil, []byte(v), 1000)
	g.fine("GRPCCall", v, status)
	g.fine("GRPCCancel", v, g.host.GRPCCancel(token))
	g.want("GRPCCancel", v, g.host.GRPCCancel(token), abi.NotFound)
	token, status = g.host.GRPCStream(service, v, v, nil)
	g.fine("GRPCStream", v, status)
	g.fine("GRPCSend", v, g.host.GRPCSend(token, []byte(v), false))
	g.fine("GRPCClose", v, g.host.GRPCClose(token))
	g.fine("GRPCCancel", v, g.host.GRPCCancel(token))
	g.want("GRPCSend", v, g.host.GRPCSend(token, []byte(v), true), abi.NotFound)
}

// HTTPCallResponse reads an answer whose headers are repeated, empty and no UTF-8, and whose body is empty.
func (g *guest) HTTPCallResponse(_, _, count, size, trailers uint32) {
	data, _ := g.host.HeaderPairs(abi.CalloutHeaders)
	pairs, _ := abi.ParsePairs(nil, string(data))
	g.want("HeaderPairs", "of an answer", len(pairs), int(count))
	values := ""
	for _, p := range pairs {
		if p.Name == "x-v" {
			values += "[" + p.Value + "]"
		}
	}
	g.want("HeaderPairs", "of an answer", values, "[\xff\xfe][][\xff\xfe]")
	body, status := g.host.GetBuffer(abi.CalloutBody, 0, int(size))
	g.want("GetBuffer", "of an answer", fmt.Sprint(len(body), trailers, status), "0 0 OK")
}

// RequestBody puts each text in the place of the body, and around it.
func (g *guest) RequestBody(_, size uint32, end bool) abi.Action {
	if size == 0 {
		return abi.Continue
	}
	length := int(size)
	for _, v := range binaries {
		g.fine("SetBuffer", v, g.host.SetBuffer(abi.RequestBody, 0, length, []byte(v)))
		g.fine("SetBuffer", v, g.host.SetBuffer(abi.RequestBody, 0, 0, []byte(v)))
		g.fine("SetBuffer", v, g.host.SetBuffer(abi.RequestBody, 1<<30, 0, []byte(v)))
		n, status := g.host.BufferSize(abi.RequestBody)
		g.want("BufferSize", v, n, 3*len(v))
		g.fine("BufferSize", v, status)
		got, status := g.host.GetBuffer(abi.RequestBody, 0, n)
		g.want("GetBuffer", v, string(got), v+v+v)
		g.fine("GetBuffer", v, status)
		length = n
	}
	got, status := g.host.GetBuffer(abi.RequestBody, length, 1)
	g.want("GetBuffer", "past the end", fmt.Sprint(len(got), status), "0 OK")
	return abi.Continue
}

func (g *guest) RequestTrailers(uint32) abi.Action            { return abi.Continue }
func (g *guest) ResponseHeaders(uint32, bool) abi.Action      { return abi.Continue }
func (g *guest) ResponseBody(uint32, uint32, bool) abi.Action { return abi.Continue }
func (g *guest) ResponseTrailers(uint32) abi.Action           { return abi.Continue }
func (g *guest) Tick(id uint32)                               { g.fine("Done", "", g.host.Done()) }
func (g *guest) QueueReady(uint32, uint32)                    {}
