package wasmhost_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestGRPCCall has unary calls that end in each way.
func TestGRPCCall(t *testing.T) {
	proxy := virtual()
	var heard []*wasmhost.GRPCCall
	serve := func(r wasmhost.GRPCReply) wasmhost.GRPCServer {
		return func(ctx context.Context, c *wasmhost.GRPCCall) {
			heard = append(heard, c)
			r.Server()(ctx, c)
		}
	}
	proxy.GRPC = map[string]wasmhost.GRPCServer{
		"good":    serve(wasmhost.GRPCReply{Messages: [][]byte{[]byte("first"), []byte("last")}}),
		"nothing": serve(wasmhost.GRPCReply{}),
		"bad":     serve(wasmhost.GRPCReply{Status: 5, Message: "no such thing"}),
		"slow":    serve(wasmhost.GRPCReply{Delay: 2 * time.Second, Messages: [][]byte{[]byte("late")}}),
		"breaks":  func(_ context.Context, c *wasmhost.GRPCCall) { c.Reset() },
		"http":    func(_ context.Context, c *wasmhost.GRPCCall) { c.Refuse(429) },
	}
	proxy.Clusters = map[string]wasmhost.Upstream{"other": ok}
	proxy.Unhealthy = map[string]bool{"sick": true}
	p := newPuppet(t, proxy, wasmhost.VMConfig{})

	p.strings["grpc_receive"] = "get_buffer 5\nset_buffer 5 0 100 x\nget_buffer 5\nget_map 4"
	p.do("grpc_call good svc.S Do hello 1000\ngrpc_send 5 x 0", "grpc_call good svc.S Do hello 1000: 0 5", "grpc_send 5 x 0: 2")
	if calls := p.VM().GRPCCalls(); len(calls) != 1 || calls[0].Token != 5 || calls[0].String() != "gRPC svc.S/Do to good" {
		t.Errorf("%v wait", calls)
	}
	p.answer()
	p.sees("grpc_receive 1 5 4", `get_buffer 5: 0 "last"`, "set_buffer 5 0 100 x: 0", `get_buffer 5: 0 "x"`, "get_map 4: none")
	if c := heard[0]; c.Service != "svc.S" || c.Method != "Do" || string(c.Message) != "hello" || c.Timeout != time.Second || c.Streaming {
		t.Errorf("the server heard %+v", c)
	}
	if v, _ := heard[0].Metadata.Get("x-meta"); v != "1" {
		t.Errorf("metadata %v", heard[0].Metadata)
	}
	p.do("get_buffer 5\ngrpc_close 5", "get_buffer 5: 0", "grpc_close 5: 1")

	for _, test := range []struct{ cluster, closed, status string }{
		{"nothing", "grpc_close 1 9 13", "0 13"},
		{"bad", "grpc_close 1 13 5", `0 5 "no such thing{via_upstream}"`},
		{"breaks", "grpc_close 1 17 14", `0 14 "upstream connect error or disconnect/reset before headers. reset reason: remote reset{upstream_reset_before_response_started{remote_reset}}"`},
		{"http", "grpc_close 1 21 14", `0 14 "via_upstream"`},
		{"other", "grpc_close 1 25 14",
			`0 14 "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure{upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}}"`},
	} {
		p.strings["tick"] = "grpc_call " + test.cluster + " s m x 0"
		if err := p.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		logged(p.VM())
		p.strings["grpc_close"] = "get_status"
		p.answer()
		p.sees(test.closed, "get_status: "+test.status)
	}

	// A timeout comes before a late answer, a cancelled call gets nothing.
	p.do("grpc_call slow s m x 1000\ngrpc_call slow s m x 0\ngrpc_call slow s m x 0\ngrpc_cancel 37\ngrpc_cancel 37",
		"grpc_call slow s m x 1000: 0 29", "grpc_call slow s m x 0: 0 33", "grpc_call slow s m x 0: 0 37", "grpc_cancel 37: 0", "grpc_cancel 37: 1")
	p.strings["grpc_close"] = "get_status"
	p.advance(1999 * time.Millisecond)
	p.sees("grpc_close 1 29 14", `get_status: 0 14 "upstream request timeout{response_timeout}"`)
	p.advance(time.Millisecond)
	p.sees("grpc_receive 1 33 4")

	// What fails at once.
	p.do("grpc_call nowhere s m x 0\ngrpc_call empty s m x 0\ngrpc_call sick s m x 0",
		"grpc_call nowhere s m x 0: 4 0",
		`the filter makes Envoy misbehave: a gRPC service without a target ("empty"): Envoy crashes`, "grpc_call empty s m x 0: 2 0", "grpc_call sick s m x 0: 10 0", "grpc_close 1 45 14")
	if !errors.Is(p.VM().Misuse(), wasmhost.ErrMisuse) {
		t.Errorf("misuse %v", p.VM().Misuse())
	}
	// Messages envoy.config.core.v3.GrpcService.
	p.do("grpc_call %0a\x06%0a\x04good s m x 0\ngrpc_call %0a\x05%0a\x03gon s m x 0\ngrpc_cancel 3\ngrpc_close 4",
		"grpc_call %0a\x06%0a\x04good s m x 0: 0 49", "grpc_call %0a\x05%0a\x03gon s m x 0: 10 0", "grpc_cancel 3: 2", "grpc_close 4: 2",
		"grpc_close 1 53 14")
}

// TestGRPCStream talks both ways on streams.
func TestGRPCStream(t *testing.T) {
	proxy := virtual()
	var said []string
	proxy.GRPC = map[string]wasmhost.GRPCServer{
		"echo": func(_ context.Context, c *wasmhost.GRPCCall) {
			c.SendHeaders(wasmhost.NewHeaders("x-h", "1"))
			c.OnMessage = func(m []byte) {
				said = append(said, string(m))
				c.Wait(time.Second)
				c.Send(append([]byte("re:"), m...))
			}
			c.OnEnd = func() {
				said = append(said, "end")
				c.Close(0, "", wasmhost.NewHeaders("x-t", "2"))
			}
			c.OnCancel = func() { said = append(said, "cancel") }
		},
		"bad":    wasmhost.GRPCReply{Status: 7, Message: "not you"}.Server(),
		"breaks": func(_ context.Context, c *wasmhost.GRPCCall) { c.Send([]byte("a")); c.Reset() },
	}
	proxy.Unhealthy = map[string]bool{"sick": true}
	p := newPuppet(t, proxy, wasmhost.VMConfig{})

	p.strings["grpc_receive_initial_metadata"] = "get_map 4"
	p.strings["grpc_receive_trailing_metadata"] = "get_map 5"
	p.do("grpc_stream echo s m\ngrpc_send 6 one 0\ngrpc_send 6 two 1\ngrpc_send 6 lost 0",
		"grpc_stream echo s m: 0 6", "grpc_send 6 one 0: 0", "grpc_send 6 two 1: 0", "grpc_send 6 lost 0: 0")
	p.answer()
	p.sees("grpc_receive_initial_metadata 1 6 3", "get_map 4: :status=200|content-type=application/grpc|x-h=1")
	p.advance(time.Second)
	p.sees("grpc_receive 1 6 6")
	p.advance(time.Second)
	p.sees("grpc_receive 1 6 6", "grpc_receive_trailing_metadata 1 6 2", "get_map 5: grpc-status=0|x-t=2", "grpc_close 1 6 0")
	// The guest has not closed its side with proxy_grpc_close, so the token is known still; after that it is not.
	p.do("grpc_close 6\ngrpc_close 6\nget_map 4\nget_map 5", "grpc_close 6: 0", "grpc_close 6: 1", "get_map 4: none", "get_map 5: none")

	p.strings["grpc_receive_trailing_metadata"] = "get_map 5"
	p.do("grpc_stream bad s m\ngrpc_close 10", "grpc_stream bad s m: 0 10", "grpc_close 10: 0")
	p.strings["grpc_close"] = "get_status\ngrpc_send 10 x 0"
	p.answer()
	p.sees("grpc_receive_initial_metadata 1 10 0", "grpc_receive_trailing_metadata 1 10 4",
		"get_map 5: :status=200|content-type=application/grpc|grpc-status=7|grpc-message=not you", "grpc_close 1 10 7",
		`get_status: 0 7 "not you{via_upstream}"`, "grpc_send 10 x 0: 0")
	p.do("grpc_send 10 x 0", "grpc_send 10 x 0: 1")

	p.do("grpc_stream breaks s m", "grpc_stream breaks s m: 0 14")
	p.answer()
	p.sees("grpc_receive_initial_metadata 1 14 2", "grpc_receive 1 14 1", "grpc_receive_trailing_metadata 1 14 0", "grpc_close 1 14 13")

	said = nil
	p.do("grpc_stream echo s m", "grpc_stream echo s m: 0 18")
	p.answer()
	p.sees("grpc_receive_initial_metadata 1 18 3")
	p.do("grpc_cancel 18\ngrpc_send 18 x 0", "grpc_cancel 18: 0", "grpc_send 18 x 0: 1")
	p.advance(time.Minute)
	p.sees()
	if len(said) != 1 || said[0] != "cancel" {
		t.Errorf("the server heard %q", said)
	}
	// The router's own answer comes while the guest is in its call, the status afterwards.
	p.do("grpc_stream sick s m", "grpc_receive_initial_metadata 1 22 0", "grpc_receive_trailing_metadata 1 22 4",
		"grpc_stream sick s m: 10 0", "grpc_close 1 22 14")

	said = nil
	p.do("grpc_stream echo s m", "grpc_stream echo s m: 0 26")
	p.answer()
	if err := p.VM().Shutdown(t.Context()); err != nil || len(said) != 1 || said[0] != "cancel" {
		t.Errorf("at the end the server heard %q, %v", said, err)
	}
}

// TestTime moves the clock past ticks, answers and time-outs.
func TestTime(t *testing.T) {
	proxy := virtual()
	answer := func(d time.Duration, err error) wasmhost.Upstream {
		return func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
			return wasmhost.Response{Headers: wasmhost.NewHeaders(":status", "200"), Body: []byte("ok"), Delay: d}, err
		}
	}
	halting := func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
		return wasmhost.Response{Headers: wasmhost.NewHeaders(":status", "200"), Body: []byte("ok"),
			Delay: 50 * time.Millisecond, BodyDelay: 20 * time.Millisecond}, nil
	}
	proxy.Clusters = map[string]wasmhost.Upstream{"fast": answer(0, nil), "slow": answer(250*time.Millisecond, nil),
		"never": answer(0, wasmhost.ErrNoAnswer), "reset": answer(30*time.Millisecond, wasmhost.ErrCalloutReset),
		"broken": answer(40*time.Millisecond, wasmhost.ErrCalloutBroken), "halting": halting}
	proxy.Unhealthy = map[string]bool{"sick": true}
	p := newPuppet(t, proxy, wasmhost.VMConfig{})

	// An answer that breaks off after its headers, by itself or by the timeout, has none.
	p.do("http_call broken / 0\nhttp_call halting / 60\nhttp_call halting / 0",
		"http_call broken / 0: 0 4", "http_call halting / 60: 0 8", "http_call halting / 0: 0 12")
	p.strings["http_call_response 1 4 0 0 0"] = "get_map 6\nget_buffer 4\nget_status"
	p.advance(100 * time.Millisecond)
	p.sees("http_call_response 1 4 0 0 0", "get_map 6: none", "get_buffer 4: 1", `get_status: 0 11 "reset"`,
		"http_call_response 1 8 0 0 0", "http_call_response 1 12 1 2 0")
	proxy = virtual()
	proxy.Clusters, proxy.Unhealthy = p.VM().Proxy().Clusters, p.VM().Proxy().Unhealthy
	p = newPuppet(t, proxy, wasmhost.VMConfig{})

	p.do("set_tick_period 100\nhttp_call slow / 1000\nhttp_call never / 150\nhttp_call fast / 0\nhttp_call reset / 0\nhttp_call slow / 250\nhttp_call sick / 0",
		"set_tick_period 100: 0", "http_call slow / 1000: 0 4", "http_call never / 150: 0 8", "http_call fast / 0: 0 12",
		"http_call reset / 0: 0 16", "http_call slow / 250: 0 20", "http_call sick / 0: 10 0")
	p.strings["http_call_response 1 8 3 24 0"] = "get_map 6\nget_buffer 4\nget_status"
	p.strings["http_call_response 1 16 3 85 0"] = "get_map 6\nget_status"
	p.strings["http_call_response 1 20 3 24 0"] = "set_tick_period 20"
	p.advance(290 * time.Millisecond)
	p.sees(
		"http_call_response 1 12 1 2 0",
		"http_call_response 1 16 3 85 0", "get_map 6: :status=503|content-length=85|content-type=text/plain", "get_status: 0 0",
		"tick 1",
		"http_call_response 1 8 3 24 0", "get_map 6: :status=504|content-length=24|content-type=text/plain",
		`get_buffer 4: 0 "upstream request timeout"`, "get_status: 0 0",
		"tick 1",
		"http_call_response 1 20 3 24 0", "set_tick_period 20: 0", // made first, and due at the same time
		"http_call_response 1 4 1 2 0",
		"tick 1", "tick 1")
	if now := proxy.Clock.Now(); !now.Equal(time.Unix(1_700_000_000, 290e6)) {
		t.Errorf("the clock stands at %s", now)
	}
	p.strings["tick"] = "set_tick_period 0"
	p.advance(time.Hour)
	p.sees("tick 1", "set_tick_period 0: 0")
	p.strings["tick"] = "set_tick_period 10"
	if err := p.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.strings["tick"] = "panic"
	if err := proxy.Advance(t.Context(), time.Second); err == nil {
		t.Error("a crash in a tick is not told")
	}
	if err := (&wasmhost.Proxy{}).Advance(t.Context(), time.Second); err == nil {
		t.Error("a real clock was moved")
	}
}
