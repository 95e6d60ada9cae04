// Command waft is the filter of the benchmark on waft's sdk: it adds one header to requests and one to responses, whose value is its
// configuration.
package main

import "github.com/waft-project/waft/sdk"

func main() {}

func init() {
	sdk.RegisterRaw(func(_ *sdk.Plugin, config []byte) (sdk.Filter, error) { return &filter{string(config)}, nil })
}

type filter struct{ value string }

func (f *filter) NewHandler() sdk.Handler { return f }

func (f *filter) OnRequestHeaders(r *sdk.Request) sdk.Action {
	if err := r.Headers().Add("x-bench", f.value); err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}

func (f *filter) OnResponseHeaders(r *sdk.Response) sdk.Action {
	if err := r.Headers().Add("x-bench", f.value); err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}
