package sdk_test

import (
	"fmt"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// gateConfig is the configuration of the example of the package's documentation.
type gateConfig struct {
	// Header is the request header that every request must carry.
	Header string `json:"header"`
	// Reply is the body of the 403 for the others.
	Reply string `json:"reply,omitempty"`
}

type gate struct {
	config *gateConfig
	denied sdk.Counter
}

func configureGate(p *sdk.Plugin, config *gateConfig) (sdk.Filter, error) {
	denied, err := p.Counter("gate.denied")
	if err != nil {
		return nil, err
	}
	return &gate{config: config, denied: denied}, nil
}

func (g *gate) NewHandler() sdk.Handler { return g }

func (g *gate) OnRequestHeaders(r *sdk.Request) sdk.Action {
	if _, ok := r.Headers().Get(g.config.Header); !ok {
		g.denied.Inc()
		return r.Reply(sdk.Reply{Status: 403, Body: []byte(g.config.Reply), Details: "gate_no_header"})
	}
	return sdk.Continue
}

// A main package would pass configureGate to sdk.Register in an init function. A test passes it to package sdktest.
func Example() {
	var t testing.T
	f := sdktest.New(&t, configureGate, `{"header":"x-key","reply":"no key"}`)
	denied := f.Do(sdktest.Request{Path: "/a"})
	passed := f.Do(sdktest.Request{Path: "/a", Headers: sdktest.Headers("x-key", "1")})
	fmt.Println(denied.Response.Status(), denied.Response.Body, denied.Details)
	fmt.Println(passed.Response.Status(), passed.Upstream != nil, f.Metric("gate.denied"))
	fmt.Println(sdktest.Configure(&t, configureGate, `{"headers":"x-key"}`))
	// Output:
	// 403 no key gate_no_header
	// 200 true 1
	// error: filter filter refuses its configuration: headers: unknown field; known are header, reply
}
