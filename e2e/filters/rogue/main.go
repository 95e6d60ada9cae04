// Command rogue is a filter that loads well and then does wrong, as its configuration says. It is written on proxy-wasm-go-sdk: waft's own
// would catch its panics, and lets no request hang.
package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

// config is the plugin configuration.
type config struct {
	// Value of the response header x-stamp.
	Value string `json:"value"`
	// Does: trap, loop, stall, leak, hang, fail, deny, slow or count in requests; empty for nothing of the kind.
	Does string `json:"does"`
	// Every so many requests it does so, from the first of them on.
	Every int `json:"every"`
}

const (
	// leaked is how much is kept of each request, and most how much in all: below the memory that a VM may have, whose end would be a trap.
	leaked = 256 << 10
	most   = 40 << 20
	// slowly is how many steps a slow request takes.
	slowly = 20_000_000
	// stalled is how long a request keeps its worker from all others: a worker is late after one second, and hangs after two (see package envoy).
	stalled = 1700 * time.Millisecond
)

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	config config
	// seen counts as waft's own filters do.
	seen     proxywasm.MetricCounter
	wrong    proxywasm.MetricCounter
	requests int
	work     int
	kept     [][]byte
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	text, err := proxywasm.GetPluginConfiguration()
	if err == nil {
		err = json.Unmarshal(text, &p.config)
	}
	if err != nil {
		proxywasm.LogCriticalf("rogue: read the configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	p.wrong = proxywasm.DefineCounterMetric("rogue_wrong")
	p.seen = proxywasm.DefineCounterMetric("waft.requests." + os.Getenv("WAFT_FILTER"))
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	p := s.plugin
	p.seen.Increment(1)
	p.requests++
	if p.config.Does == "" || (p.requests-1)%max(p.config.Every, 1) != 0 {
		return types.ActionContinue
	}
	switch p.config.Does {
	case "trap":
		panic("rogue: on purpose")
	case "loop":
		for p.config.Does == "loop" {
			p.requests++
		}
	case "stall":
		for since := time.Now(); time.Since(since) < stalled; {
			p.work++
		}
	case "hang":
		return types.ActionPause
	case "slow":
		for i := range slowly {
			p.work ^= i
		}
	case "leak":
		if len(p.kept)*leaked < most {
			block := make([]byte, leaked)
			for i := range block {
				block[i] = 1
			}
			p.kept = append(p.kept, block)
		}
	case "count":
		p.wrong.Increment(1)
	case "fail":
		return reply(503)
	case "deny":
		return reply(403)
	}
	return types.ActionContinue
}

func reply(status uint32) types.Action {
	if err := proxywasm.SendHttpResponse(status, nil, []byte("on purpose\n"), -1); err != nil {
		proxywasm.LogErrorf("rogue: %v", err)
	}
	return types.ActionPause
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	if err := proxywasm.ReplaceHttpResponseHeader("x-stamp", s.plugin.config.Value); err != nil {
		proxywasm.LogErrorf("rogue: %v", err)
	}
	return types.ActionContinue
}
