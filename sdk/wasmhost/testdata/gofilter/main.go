// Command gofilter is a filter written directly on proxy-wasm-go-sdk, without package sdk: the host must run it as it runs any other.
// What it does is chosen by the request header x-do.
package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vmContext{}) }

type vmContext struct{ types.DefaultVMContext }

func (*vmContext) NewPluginContext(id uint32) types.PluginContext { return &plugin{id: id} }

type plugin struct {
	types.DefaultPluginContext
	id     uint32
	config struct {
		Greeting string `json:"greeting"`
		Tick     uint32 `json:"tick"`
		Broken   bool   `json:"broken"` // lets everybody in, as a filter that was broken on purpose
	}
	queue    uint32
	requests proxywasm.MetricCounter
	inflight proxywasm.MetricGauge
	sizes    proxywasm.MetricHistogram
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	data, err := proxywasm.GetPluginConfiguration()
	if err != nil && err != types.ErrorStatusNotFound {
		proxywasm.LogCriticalf("configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &p.config); err != nil {
			proxywasm.LogCriticalf("configuration: %v", err)
			return types.OnPluginStartStatusFailed
		}
	}
	if p.queue, err = proxywasm.RegisterSharedQueue("jobs"); err != nil {
		proxywasm.LogCriticalf("queue: %v", err)
		return types.OnPluginStartStatusFailed
	}
	if p.config.Tick > 0 {
		if err := proxywasm.SetTickPeriodMilliSeconds(p.config.Tick); err != nil {
			return types.OnPluginStartStatusFailed
		}
	}
	p.requests = proxywasm.DefineCounterMetric("gofilter.requests")
	p.inflight = proxywasm.DefineGaugeMetric("gofilter.inflight")
	p.sizes = proxywasm.DefineHistogramMetric("gofilter.sizes")
	return types.OnPluginStartStatusOK
}

func (p *plugin) OnTick() { proxywasm.LogInfo("tick") }

func (p *plugin) OnQueueReady(id uint32) {
	data, err := proxywasm.DequeueSharedQueue(id)
	proxywasm.LogInfof("queue ready: %q %v", data, err)
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{p: p, id: id} }

type stream struct {
	types.DefaultHttpContext
	p        *plugin
	id       uint32
	do       string
	response string
}

func (s *stream) OnHttpRequestHeaders(n int, end bool) types.Action {
	s.p.requests.Increment(1)
	s.p.inflight.Add(1)
	s.do, _ = proxywasm.GetHttpRequestHeader("x-do")
	proxywasm.LogDebugf("request headers: %d %t", n, end)
	switch s.do {
	case "headers":
		_ = proxywasm.AddHttpRequestHeader("x-added", "1")
		_ = proxywasm.AddHttpRequestHeader("x-added", "2")
		_ = proxywasm.ReplaceHttpRequestHeader("X-Replaced", "new")
		_ = proxywasm.RemoveHttpRequestHeader("x-removed")
	case "dump":
		hs, err := proxywasm.GetHttpRequestHeaders()
		proxywasm.LogInfof("headers: %q %v", hs, err)
	case "deny":
		if s.p.config.Broken {
			return types.ActionContinue
		}
		if err := proxywasm.SendHttpResponse(403, [][2]string{{"x-why", "denied"}}, []byte("no"), -1); err != nil {
			proxywasm.LogErrorf("send: %v", err)
		}
		return types.ActionPause
	case "callout":
		s.callout("/auth")
		return types.ActionPause
	case "callout-unknown":
		_, err := proxywasm.DispatchHttpCall("nowhere", [][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "a"}}, nil, nil, 1000, func(int, int, int) {})
		proxywasm.LogInfof("callout: %v", err)
	case "shared":
		s.shared()
	case "queue":
		proxywasm.LogInfof("enqueue: %v", proxywasm.EnqueueSharedQueue(s.p.queue, []byte("job")))
	case "panic":
		panic("as told")
	case "loop":
		for i := 0; ; i++ {
			if i < 0 {
				break
			}
		}
	case "pause":
		return types.ActionPause
	case "path":
		_ = proxywasm.ReplaceHttpRequestHeader(":path", "/other")
	}
	return types.ActionContinue
}

// callout asks the cluster "auth", and goes on with what it answers.
func (s *stream) callout(path string) {
	_, err := proxywasm.DispatchHttpCall("auth", [][2]string{
		{":method", "POST"}, {":path", path}, {":authority", "auth.test"},
	}, []byte("who"), nil, 1000, func(headers, body, _ int) {
		hs, _ := proxywasm.GetHttpCallResponseHeaders()
		data, err := proxywasm.GetHttpCallResponseBody(0, body)
		proxywasm.LogInfof("callout answered: %d headers, body %q %v", len(hs), data, err)
		if headers == 0 {
			_ = proxywasm.SendHttpResponse(503, nil, []byte("callout failed"), -1)
			return
		}
		for _, h := range hs {
			if h[0] == ":status" && h[1] != "200" {
				_ = proxywasm.SendHttpResponse(401, nil, data, -1)
				return
			}
		}
		_ = proxywasm.AddHttpRequestHeader("x-user", string(data))
		if err := proxywasm.ResumeHttpRequest(); err != nil {
			proxywasm.LogErrorf("resume: %v", err)
		}
	})
	if err != nil {
		proxywasm.LogErrorf("dispatch: %v", err)
	}
}

// shared counts in the shared data, with compare and swap.
func (s *stream) shared() {
	value, cas, err := proxywasm.GetSharedData("count")
	n := 0
	if err == nil {
		n, _ = strconv.Atoi(string(value))
	}
	err = proxywasm.SetSharedData("count", []byte(strconv.Itoa(n+1)), cas)
	proxywasm.LogInfof("count %d: %v", n+1, err)
	err = proxywasm.SetSharedData("count", []byte("x"), cas+1000)
	proxywasm.LogInfof("wrong cas: %v", err)
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	proxywasm.LogDebugf("request body: %d %t", size, end)
	s.p.sizes.Record(uint64(size))
	if s.do != "body" {
		return types.ActionContinue
	}
	if !end {
		return types.ActionPause
	}
	data, err := proxywasm.GetHttpRequestBody(0, size)
	if err != nil {
		proxywasm.LogErrorf("body: %v", err)
		return types.ActionContinue
	}
	if err := proxywasm.ReplaceHttpRequestBody([]byte(strings.ToUpper(string(data)))); err != nil {
		proxywasm.LogErrorf("replace body: %v", err)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(n int, end bool) types.Action {
	proxywasm.LogDebugf("response headers: %d %t", n, end)
	if s.p.config.Greeting != "" {
		_ = proxywasm.AddHttpResponseHeader("x-greeting", s.p.config.Greeting)
	}
	switch s.do {
	case "response-body":
		_ = proxywasm.RemoveHttpResponseHeader("content-length")
	case "response-deny":
		_ = proxywasm.SendHttpResponse(502, [][2]string{{"x-why", "bad upstream"}}, []byte("replaced"), -1)
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	proxywasm.LogDebugf("response body: %d %t", size, end)
	if s.do != "response-body" {
		return types.ActionContinue
	}
	if !end {
		return types.ActionPause
	}
	_ = proxywasm.PrependHttpResponseBody([]byte("<"))
	_ = proxywasm.AppendHttpResponseBody([]byte(">"))
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	s.p.inflight.Add(-1)
	path, err := proxywasm.GetProperty([]string{"request", "path"})
	code, _ := proxywasm.GetProperty([]string{"response", "code"})
	proxywasm.LogInfo(fmt.Sprintf("done: %s %v %v", path, err, code))
}
