package conformance

import "github.com/waft-project/waft/sdk/wasmhost"

// This file plays the part of Envoy's TCP proxy and of the two connections around a network filter in wasmhost.

// flow is what an end of a TCP connection has been told.
type flow struct {
	bytes int
	ended bool
}

// settleTCP tells the ends of a connection what has come to them.
func (d *hostDriver) settleTCP() {
	if d.tcp == nil {
		return
	}
	data, end := d.tcp.ToUpstream()
	d.tellTCP("up", &d.toUp, data, end || d.tcp.Closed() && d.tcp.Connected())
	data, end = d.tcp.ToDownstream()
	d.tellTCP("client", &d.toDown, data, end || d.tcp.Closed())
	if d.toUp.ended && d.toDown.ended && !d.tcp.Closed() {
		by := wasmhost.CloseLocal
		if d.clientLast {
			by = wasmhost.CloseRemote
		}
		_ = d.tcp.Close(d.ctx, by)
		d.advance(0)
	}
}

func (d *hostDriver) tellTCP(who string, f *flow, data []byte, end bool) {
	if f.ended || len(data) == f.bytes && !end {
		return
	}
	d.ends = append(d.ends, lines(who, []event{{kind: evData, data: string(data[f.bytes:]), end: end}})...)
	f.bytes, f.ended = len(data), end
}

func (d *hostDriver) connect() {
	d.tcp, _ = d.plugin.NewConnection(d.ctx, wasmhost.ConnectionInfo{ClusterName: tcpCluster(d.id)}) // a crash shows in the trace
}

func (d *hostDriver) send(data string, end bool) {
	if data != "" && !d.tcp.Closed() {
		_ = d.tcp.Downstream(d.ctx, []byte(data), false)
	}
	d.clientLast = end && d.toDown.ended
	if end && !d.tcp.Closed() {
		_ = d.tcp.Downstream(d.ctx, nil, true)
	}
}

func (d *hostDriver) closeClient() {
	d.toDown.ended = true
	_ = d.tcp.Close(d.ctx, wasmhost.CloseRemote)
}

func (d *hostDriver) peerSend(data string, end bool) {
	if data != "" && !d.tcp.Closed() {
		_ = d.tcp.Upstream(d.ctx, []byte(data), false)
	}
	if end && !d.tcp.Closed() {
		_ = d.tcp.Upstream(d.ctx, nil, true)
	}
}

func (d *hostDriver) peerClose() {
	d.toUp.ended = true
	_ = d.tcp.Close(d.ctx, wasmhost.CloseLocal) // the TCP proxy closes the client's connection
}
