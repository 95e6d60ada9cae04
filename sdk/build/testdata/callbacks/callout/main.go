// Command callout waits for an answer, with a limit, so that it needs the callbacks of callouts and of ticks.
package main

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk"
)

type filter struct{}

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return filter{}, nil })
}

func main() {}

func (filter) NewHandler() sdk.Handler { return filter{} }

func (filter) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	ctx, cancel := sdk.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := r.Fetch(ctx, sdk.FetchRequest{Cluster: "auth"}); err != nil {
		return r.Reply(sdk.Reply{Status: 503})
	}
	return sdk.Continue
}
