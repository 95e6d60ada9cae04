// Command callback is the filter of the benchmark of waiting, with callbacks on bare proxy-wasm-go-sdk: it sends an HTTP callout for each
// request, and adds the answer's body as a header.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vmContext{}) }

type vmContext struct{ types.DefaultVMContext }

func (*vmContext) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct{ types.DefaultPluginContext }

func (*plugin) NewHttpContext(uint32) types.HttpContext { return &stream{} }

type stream struct{ types.DefaultHttpContext }

const timeoutMilliseconds = 1000

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	headers := [][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "callout"}}
	if _, err := proxywasm.DispatchHttpCall("callout", headers, nil, nil, timeoutMilliseconds, s.answered); err != nil {
		proxywasm.LogError(err.Error())
		return types.ActionContinue
	}
	return types.ActionPause
}

func (s *stream) answered(headers, size, _ int) {
	// Status and headers are read, as the other filter reads them.
	pairs, err := proxywasm.GetHttpCallResponseHeaders()
	if err == nil && headers > 0 && len(pairs) > 0 {
		var body []byte
		if body, err = proxywasm.GetHttpCallResponseBody(0, size); err == nil {
			err = proxywasm.AddHttpRequestHeader("x-bench", string(body))
		}
	}
	if err != nil {
		proxywasm.LogError(err.Error())
	}
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		proxywasm.LogError(err.Error())
	}
}
