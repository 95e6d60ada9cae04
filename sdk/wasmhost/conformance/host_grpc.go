package conformance

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// grpcPrefix is the length of what stands before a message on the wire: a flag and the size.
const grpcPrefix = 5

// framed is a message as it is on the wire.
func framed(message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + message
}

// messages takes the wire form of some messages apart.
func messages(wire string) []string {
	var out []string
	for len(wire) >= grpcPrefix {
		size := int(binary.BigEndian.Uint32([]byte(wire[1:grpcPrefix])))
		end := min(grpcPrefix+size, len(wire))
		out = append(out, wire[grpcPrefix:end])
		wire = wire[end:]
	}
	return out
}

// grpcAsked is the gRPC server of the suite's peers in wasmhost: it answers when a step says so.
func (d *hostDriver) grpcAsked(_ context.Context, call *wasmhost.GRPCCall) {
	path := "/" + call.Service + "/" + call.Method
	name := strings.TrimPrefix(label.FindString(path), authority(d.id, ""))
	p := &hostPeer{grpc: call, ended: !call.Streaming}
	d.peers[name] = p
	headers := append([]string{":path", path, "content-type", "application/grpc"}, flat(call.Metadata)...)
	events := []event{{kind: evHeaders, headers: headers}}
	tell := func(e event) { d.ends = append(d.ends, lines(name, []event{e})...) }
	if !call.Streaming {
		events = append(events, event{kind: evData, data: framed(string(call.Message)), end: true})
	}
	d.ends = append(d.ends, lines(name, events)...)
	call.OnMessage = func(message []byte) { tell(event{kind: evData, data: framed(string(message))}) }
	call.OnEnd = func() {
		p.ended = true
		tell(event{kind: evData, end: true})
	}
	call.OnCancel = func() {
		if !p.ended {
			tell(event{kind: evReset})
		}
	}
}

// serviceTime is a header that the router of a callout adds to the response, once the request has ended.
var serviceTime = wasmhost.Header{Name: "x-envoy-upstream-service-time", Value: "0"}

// grpcHeaders has a server send its first headers, or headers that end the call.
func (d *hostDriver) grpcHeaders(p *hostPeer, hs wasmhost.Headers, end bool) {
	status, _ := hs.Get(":status")
	_, known := hs.Get("grpc-status")
	var rest wasmhost.Headers
	for _, h := range hs {
		if h.Name != ":status" && h.Name != "content-type" {
			rest = append(rest, h)
		}
	}
	switch {
	case status != "200" && !known:
		n, _ := strconv.Atoi(status)
		p.grpc.Refuse(n)
	case end:
		d.grpcTrailers(p, rest)
	default:
		if p.ended {
			rest = append(rest, serviceTime)
		}
		p.grpc.SendHeaders(rest)
	}
}

func (d *hostDriver) grpcTrailers(p *hostPeer, hs wasmhost.Headers) {
	v, _ := hs.Get("grpc-status")
	status, _ := strconv.ParseUint(v, 10, 32)
	message, _ := hs.Get("grpc-message")
	var rest wasmhost.Headers
	for _, h := range hs {
		if h.Name != "grpc-status" && h.Name != "grpc-message" {
			rest = append(rest, h)
		}
	}
	p.grpc.Close(uint32(status), message, rest)
}
