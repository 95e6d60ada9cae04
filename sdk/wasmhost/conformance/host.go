package conformance

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// runHost runs a case in wasmhost under the profile of a version of Envoy.
func runHost(ctx context.Context, host *wasmhost.Host, version string, id int, c testCase) (trace, error) {
	profile, err := wasmhost.ProfileByName(version)
	if err != nil {
		return trace{}, err
	}
	d := &hostDriver{ctx: ctx, id: id, clock: wasmhost.NewVirtualClock(time.Now()), peers: map[string]*hostPeer{}}
	refuse := func() trace {
		guest := d.guestLines()
		for _, vm := range d.vms {
			_ = vm.Close(ctx)
		}
		return trace{steps: []stepTrace{{name: stepStart, guest: guest, ends: []string{refused}}}}
	}
	load := func(plugin int) (*wasmhost.Module, error) {
		wasm, err := c.module(id, plugin)
		if err != nil {
			return nil, err
		}
		return host.Load(ctx, wasm, profile)
	}
	module, err := load(0)
	if err != nil {
		return refuse(), nil
	}
	d.module = module
	// A peer answers when a step says so; where nobody listens the answer comes at once.
	silent := func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
		return wasmhost.Response{}, wasmhost.ErrNoAnswer
	}
	dead := func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
		return wasmhost.Response{}, errors.New("connection refused")
	}
	proxy := &wasmhost.Proxy{
		Clock: d.clock, LogLevel: wasmhost.LogInfo, Node: wasmhost.Node{ID: nodeID, Cluster: nodeCluster},
		Clusters: map[string]wasmhost.Upstream{clusterPeer: silent, clusterDead: dead},
		GRPC:     map[string]wasmhost.GRPCServer{clusterPeer: d.grpcAsked},
	}
	newVM := func() error {
		d.vm, err = module.NewVM(ctx, wasmhost.VMConfig{
			ID: vmID(id), Configuration: []byte(c.vmConfig), Env: c.environment(id), Proxy: proxy, AllowedCapabilities: c.capabilities, Log: d.hear,
		})
		if err == nil {
			d.vms = append(d.vms, d.vm)
		}
		return err
	}
	if err := newVM(); err != nil {
		return refuse(), nil
	}
	policy := map[string]wasmhost.FailurePolicy{
		"": wasmhost.FailClosed, policyClosed: wasmhost.FailClosed, policyOpen: wasmhost.FailOpen, policyReload: wasmhost.FailReload,
	}[c.policy]
	for n := range c.pluginCount() {
		if n > 0 && c.apart {
			if module, err = load(n); err != nil {
				return trace{}, err
			}
			if err := newVM(); err != nil {
				return trace{}, err
			}
		}
		cfg := wasmhost.PluginConfig{
			Name: pluginName(id, n), RootID: rootID(id, n), Configuration: []byte(c.pluginConfig(n)), FailurePolicy: policy,
			ReloadBackoff: reloadBackoff, AllowOnHeadersStopIteration: c.stopOnPause,
		}
		d.configs = append(d.configs, cfg)
		p, err := d.vm.Configure(ctx, cfg)
		if err != nil {
			return refuse(), nil
		}
		d.plugins = append(d.plugins, p)
	}
	d.use(0)
	var t trace
	settle := func(name string) {
		d.settle()
		t.steps = append(t.steps, stepTrace{name: name, guest: d.guestLines(), ends: joinData(d.ends), breaks: d.misused})
		d.ends = nil
	}
	settle(stepStart)
	for _, s := range c.steps {
		s.do(d)
		settle(s.name)
	}
	for _, vm := range d.vms {
		_ = vm.Close(ctx) // runs no callback
	}
	return t, nil
}

// anyID is as long as the ids that Envoy gives to requests.
const anyID = "00000000-0000-4000-8000-000000000000"

// hostDriver runs one case in wasmhost. It plays Envoy's part around the filter: the router, and the end of streams.
type hostDriver struct {
	ctx     context.Context
	id      int
	clock   *wasmhost.VirtualClock
	module  *wasmhost.Module // of the first VM
	vms     []*wasmhost.VM
	vm      *wasmhost.VM // that of the steps
	plugins []*wasmhost.Plugin
	configs []wasmhost.PluginConfig
	plugin  *wasmhost.Plugin // that of the steps

	tcp    *wasmhost.Connection
	toUp   flow
	toDown flow
	// clientLast says that the client ended its side after the upstream had.
	clientLast bool

	stream   *wasmhost.Stream
	up, down progress
	closed   bool
	misused  bool // the host said that Envoy would break
	answered bool // the response's headers have come

	peers map[string]*hostPeer
	ends  []string
	guest []string
}

// progress is what an end has been told of a message so far.
type progress struct {
	headers, trailers, complete bool
	body                        int
}

// hostPeer is the server of a callout.
type hostPeer struct {
	callout  *wasmhost.Callout
	response wasmhost.CalloutResponse
	grpc     *wasmhost.GRPCCall // instead of callout
	ended    bool               // grpc: the guest has ended its side
}

func (d *hostDriver) use(plugin int) {
	d.plugin = d.plugins[plugin]
	d.vm = d.plugin.VM()
}

// hear takes a line of a VM's log.
func (d *hostDriver) hear(l wasmhost.Log) {
	id, text, ok := guestLine(l.Message)
	switch {
	case ok && id == d.id:
		d.guest = append(d.guest, text)
	case ok && id == d.id+secondVM:
		d.guest = append(d.guest, ofSecond+text)
	case strings.HasPrefix(l.Message, wasmhost.ErrMisuse.Error()):
		d.misused = true
	}
}

// guestLines are what the guest of the case wrote since the last call: the lines of the first VM, then those of the second.
func (d *hostDriver) guestLines() []string {
	var first, second []string
	for _, l := range d.guest {
		if strings.HasPrefix(l, ofSecond) {
			second = append(second, l)
		} else {
			first = append(first, l)
		}
	}
	d.guest = nil
	return append(first, second...)
}

// fields makes a map of names and values in turn.
func fields(headers []string) wasmhost.Headers { return wasmhost.NewHeaders(headers...) }

func flat(hs wasmhost.Headers) []string {
	var out []string
	for _, h := range hs {
		out = append(out, h.Name, h.Value)
	}
	return out
}

// settle lets happen what follows from a step.
func (d *hostDriver) settle() {
	d.advance(0)
	for d.newCallouts() {
		d.advance(0)
	}
	d.settleTCP()
	if d.stream == nil {
		return
	}
	d.tell("up", &d.up, d.stream.Upstream())
	if !d.closed {
		d.tell("client", &d.down, d.stream.Downstream())
		if d.stream.Reset() && !d.down.complete {
			d.ends = append(d.ends, "client got a reset")
		}
		if d.down.complete || d.stream.Reset() {
			d.closed = true
			_ = d.stream.Close(d.ctx) // a crash shows in the trace
			d.settle()
		}
	}
}

// advance moves the clock and has happen what falls due. A crash shows in the trace.
func (d *hostDriver) advance(t time.Duration) {
	until := d.clock.Now().Add(t)
	_ = d.vm.Proxy().Advance(d.ctx, t)
	if left := until.Sub(d.clock.Now()); left > 0 {
		_ = d.vm.Proxy().Advance(d.ctx, left)
	}
}

// newCallouts gives callouts to their peers.
func (d *hostDriver) newCallouts() bool {
	any := false
	for _, c := range d.vm.Callouts() {
		if slices.ContainsFunc(mapValues(d.peers), func(p *hostPeer) bool { return p.callout == c }) {
			continue
		}
		any = true
		var name string
		for _, h := range c.Request.Headers {
			if m := label.FindString(h.Value); m != "" && (h.Name == ":authority" || h.Name == ":path") {
				name = strings.TrimPrefix(m, authority(d.id, ""))
			}
		}
		d.peers[name] = &hostPeer{callout: c}
		var told progress
		d.tell(name, &told, wasmhost.Message{
			Headers: c.Request.Headers, Body: c.Request.Body, Complete: true, // its trailers are not sent
		})
	}
	return any
}

func mapValues(m map[string]*hostPeer) []*hostPeer {
	var out []*hostPeer
	for _, p := range m {
		out = append(out, p)
	}
	return out
}

// tell writes down what an end gets now.
func (d *hostDriver) tell(who string, p *progress, m wasmhost.Message) {
	var events []event
	if m.Headers != nil && !p.headers {
		p.headers = true
		end := m.Complete && len(m.Body) == 0 && len(m.Trailers) == 0
		events = append(events, event{kind: evHeaders, headers: flat(m.Headers), end: end})
		p.complete = end
	}
	if fresh := len(m.Body) > p.body; !p.complete && (fresh || m.Complete && len(m.Trailers) == 0) && p.headers {
		p.complete = m.Complete && len(m.Trailers) == 0
		events = append(events, event{kind: evData, data: string(m.Body[p.body:]), end: p.complete})
		p.body = len(m.Body)
	}
	if m.Complete && len(m.Trailers) > 0 && !p.trailers {
		p.trailers, p.complete = true, true
		events = append(events, event{kind: evHeaders, headers: flat(m.Trailers), end: true})
	}
	d.ends = append(d.ends, lines(who, events)...)
}

func (d *hostDriver) request(headers []string, end bool) {
	d.up, d.down, d.closed, d.answered = progress{}, progress{}, false, false
	all := requestFields(d.id, headers)
	d.stream = d.plugin.NewStream(d.ctx, wasmhost.StreamInfo{Protocol: "HTTP/2", RouteName: "route", ClusterName: clusterPeer, VirtualHost: "host"})
	hs := fields(all)
	// What the connection manager adds before any filter.
	hs = append(hs, wasmhost.Header{Name: "x-forwarded-proto", Value: "http"}, wasmhost.Header{Name: "x-request-id", Value: anyID})
	_ = d.stream.RequestHeaders(d.ctx, hs, end) // a crash shows in what the client gets
}

func (d *hostDriver) requestData(data string, end bool) {
	_ = d.stream.RequestBody(d.ctx, []byte(data), end)
}
func (d *hostDriver) requestTrailers(headers []string) {
	_ = d.stream.RequestTrailers(d.ctx, fields(headers))
}
func (d *hostDriver) requestReset() {
	if !d.closed {
		d.closed = true
		_ = d.stream.Close(d.ctx)
	}
}

func (d *hostDriver) peerHeaders(name string, headers []string, end bool) {
	hs := fields(headers)
	if name == "up" {
		if !d.closed && d.up.headers {
			d.answered = true
			_ = d.stream.ResponseHeaders(d.ctx, hs, end)
		}
		return
	}
	if p := d.peers[name]; p != nil && p.grpc != nil {
		d.grpcHeaders(p, hs, end)
	} else if p != nil {
		p.callout.HeadersArrived()
		p.response.Headers = append(hs, serviceTime)
		d.respond(p, end)
	}
}

func (d *hostDriver) peerData(name, data string, end bool) {
	if name == "up" {
		if !d.closed {
			_ = d.stream.ResponseBody(d.ctx, []byte(data), end)
		}
		return
	}
	if p := d.peers[name]; p != nil && p.grpc != nil {
		for _, m := range messages(data) {
			p.grpc.Send([]byte(m))
		}
	} else if p != nil {
		p.response.Body = append(p.response.Body, data...)
		d.respond(p, end)
	}
}

func (d *hostDriver) peerTrailers(name string, headers []string) {
	if name == "up" {
		if !d.closed {
			_ = d.stream.ResponseTrailers(d.ctx, fields(headers))
		}
		return
	}
	if p := d.peers[name]; p != nil && p.grpc != nil {
		d.grpcTrailers(p, fields(headers))
	} else if p != nil {
		p.response.Trailers = fields(headers)
		d.respond(p, true)
	}
}

// respond gives a callout its answer, once that is whole.
func (d *hostDriver) respond(p *hostPeer, end bool) {
	if end {
		_ = d.vm.Respond(d.ctx, p.callout, &p.response)
	}
}

func (d *hostDriver) peerReset(name string) {
	if name == "up" {
		d.upstreamReset()
		return
	}
	if p := d.peers[name]; p != nil && p.grpc != nil {
		p.grpc.Reset()
	} else if p != nil {
		if len(p.response.Headers) > 0 {
			_ = d.vm.Respond(d.ctx, p.callout, nil)
			return
		}
		// Before any headers the callout's router answers in the server's place.
		_ = d.vm.Respond(d.ctx, p.callout, &wasmhost.CalloutResponse{
			Headers: fields([]string{":status", "503", "content-length", strconv.Itoa(len(resetText)), "content-type", "text/plain"}),
			Body:    []byte(resetText),
		})
	}
}

// resetText is what Envoy's router says of an upstream that reset.
const resetText = "upstream connect error or disconnect/reset before headers. reset reason: remote reset"

// upstreamReset is what the router does when the upstream resets: before the response's headers it answers itself, after them it resets
// the client's stream.
func (d *hostDriver) upstreamReset() {
	switch {
	case d.closed:
	case d.answered:
		d.closed = true
		_ = d.stream.Close(d.ctx)
		d.ends = append(d.ends, "client got a reset")
	default:
		d.answered = true
		_ = d.stream.ResponseHeaders(d.ctx, fields([]string{
			":status", "503", "content-length", strconv.Itoa(len(resetText)), "content-type", "text/plain",
		}), false)
		_ = d.stream.ResponseBody(d.ctx, []byte(resetText), true)
	}
}

func (d *hostDriver) requestMetadata(headers []string) {
	_ = d.stream.RequestMetadata(d.ctx, metadataMap(headers))
	d.ends = append(d.ends, lines("up", []event{{kind: evMetadata, headers: headers}})...)
}

func (d *hostDriver) peerMetadata(name string, headers []string) {
	if name != "up" || d.closed {
		return
	}
	_ = d.stream.ResponseMetadata(d.ctx, metadataMap(headers))
	d.ends = append(d.ends, lines("client", []event{{kind: evMetadata, headers: headers}})...)
}

func metadataMap(headers []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(headers); i += 2 {
		m[headers[i]] = headers[i+1]
	}
	return m
}

func (d *hostDriver) wait(t time.Duration) { d.advance(t) }

// reconfigure makes the new plugin before the old one ends, as Envoy does.
func (d *hostDriver) reconfigure(config string) {
	cfg := d.configs[0]
	cfg.Configuration = []byte(config)
	// Envoy's main thread tries it first, in a VM that it throws away.
	canary, err := d.module.NewVM(d.ctx, wasmhost.VMConfig{ID: vmID(d.id)})
	if err != nil {
		return
	}
	_, err = canary.Configure(d.ctx, cfg)
	_ = canary.Close(d.ctx)
	if err != nil {
		return
	}
	p, err := d.vm.Configure(d.ctx, cfg)
	if err != nil {
		return
	}
	_ = d.plugin.Shutdown(d.ctx) // a crash shows in the trace
	d.plugins[0], d.plugin = p, p
}

func (d *hostDriver) shutdown() {
	for _, vm := range d.vms {
		_ = vm.Shutdown(d.ctx)
	}
}
