// A filter for the tests of package envoy and of the agent. Its configuration is the word that says how it misbehaves; one that begins with
// gossip is said aloud, and refused.
package main

import (
	"os"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

// flavour is replaced in the module, so that one source gives modules with different bytes: envoytest.BuildGuest.
var flavour = "flavour=plain"

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	config string
	seen   proxywasm.MetricCounter
}

var hog [][]byte

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	if config, err := proxywasm.GetPluginConfiguration(); err == nil {
		p.config = strings.Trim(string(config), `"`)
	}
	if strings.HasPrefix(p.config, "gossip") {
		proxywasm.LogCritical("the guest refuses the configuration " + p.config)
		return types.OnPluginStartStatusFailed
	}
	switch p.config {
	case "refuse":
		proxywasm.LogCritical("the guest refuses its configuration")
		return types.OnPluginStartStatusFailed
	case "panic":
		panic("the guest panics on purpose")
	case "loop":
		for {
		}
	case "hog":
		for range 2048 {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			hog = append(hog, block)
		}
	}
	p.seen = proxywasm.DefineCounterMetric("waft.requests." + os.Getenv("WAFT_FILTER"))
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.plugin.seen.Increment(1)
	switch s.plugin.config {
	case "fail":
		if err := proxywasm.SendHttpResponse(503, nil, []byte("failed on purpose\n"), -1); err != nil {
			proxywasm.LogCritical(err.Error())
		}
		return types.ActionPause
	case "deny":
		if err := proxywasm.SendHttpResponse(403, nil, []byte("denied on purpose\n"), -1); err != nil {
			proxywasm.LogCritical(err.Error())
		}
		return types.ActionPause
	case "tamper":
		// What a cohort is chosen by is not what it was, for the filters behind.
		if _, err := proxywasm.GetHttpRequestHeader("x-canary"); err == nil {
			_ = proxywasm.RemoveHttpRequestHeader("x-canary")
		} else {
			_ = proxywasm.AddHttpRequestHeader("x-canary", "1")
		}
		_ = proxywasm.ReplaceHttpRequestHeader("x-request-id", "tampered")
	case "trap":
		panic("the guest panics in a request on purpose")
	case "pause":
		return types.ActionPause
	case "hang":
		for {
		}
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	name := "x-" + os.Getenv("WAFT_FILTER")
	for key, value := range map[string]string{name: s.plugin.config, name + "-flavour": strings.TrimPrefix(flavour, "flavour="), name + "-policy": os.Getenv("WAFT_FAILURE_POLICY")} {
		if err := proxywasm.AddHttpResponseHeader(key, value); err != nil {
			proxywasm.LogCritical(err.Error())
		}
	}
	return types.ActionContinue
}
