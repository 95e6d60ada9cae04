// Command raw is a filter written directly on proxy-wasm-go-sdk, without waft's SDK: it stamps each response with its
// plugin configuration. It shows that waft builds, checks, publishes and rolls out what it did not shape.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	value string
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	if size == 0 {
		return types.OnPluginStartStatusOK
	}
	config, err := proxywasm.GetPluginConfiguration()
	if err != nil {
		proxywasm.LogCriticalf("raw: read the configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	p.value = string(config)
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{value: p.value} }

type stream struct {
	types.DefaultHttpContext
	value string
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	if err := proxywasm.ReplaceHttpResponseHeader("x-stamp", s.value); err != nil {
		proxywasm.LogErrorf("raw: %v", err)
	}
	return types.ActionContinue
}
