// Command failing is the filter of the demo's bad release: it loads, and then fails requests.
package main

import "github.com/waft-project/waft/sdk"

// Config is the plugin configuration.
type Config struct {
	// Every so many requests one is answered with 503; 1 fails them all.
	Every int `json:"every"`
}

func init() { sdk.Register(configure) }

func main() {}

type failing struct {
	every  int
	seen   int
	failed sdk.Counter
}

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	failed, err := p.Counter("demo_failed_on_purpose")
	if err != nil {
		return nil, err
	}
	return &failing{every: max(1, config.Every), failed: failed}, nil
}

// NewHandler returns the filter itself: it keeps nothing per stream.
func (f *failing) NewHandler() sdk.Handler { return f }

// OnRequestHeaders fails each f.every-th request.
func (f *failing) OnRequestHeaders(r *sdk.Request) sdk.Action {
	f.seen++
	if f.seen%f.every != 0 {
		return sdk.Continue
	}
	f.failed.Inc()
	return r.Reply(sdk.Reply{Status: 503, Body: []byte("failed on purpose\n"), Details: "demo_failing"})
}
