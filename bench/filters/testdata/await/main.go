// Command await is the filter of the benchmark of waiting, on waft's sdk: it sends an HTTP callout for each request, waits for it, and
// adds the answer's body as a header.
package main

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk"
)

func main() {}

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return filter{}, nil })
}

type filter struct{}

func (f filter) NewHandler() sdk.Handler { return f }

func (filter) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	answer, err := r.Fetch(ctx, sdk.FetchRequest{Cluster: "callout", Timeout: time.Second})
	if err == nil {
		err = r.Headers().Add("x-bench", string(answer.Body))
	}
	if err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}
