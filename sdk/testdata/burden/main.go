// Command burden is a filter for the tests of package sdk whose handlers wait for ever, in the way that the request's path
// names. Everything that it holds must be given back when the client goes away.
package main

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk"
)

func init() {
	sdk.Register(func(*sdk.Plugin, *struct{}) (sdk.Filter, error) {
		return sdk.FilterFunc(func() sdk.Handler { return burden{} }), nil
	})
}

func main() {}

type burden struct{}

// size is what each handler holds while it waits.
const size = 16 << 10

func (burden) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	held := make([]byte, size)
	r.Headers().Keep()
	wait(ctx, r.Path())
	held[0]++
	return r.Reply(sdk.Reply{Status: 500, Body: held})
}

func wait(ctx context.Context, path string) {
	switch path {
	case "/fetch":
		fetch(ctx)
	case "/sleep":
		_ = sdk.Sleep(ctx, time.Hour)
	case "/limit":
		ctx, _ = sdk.WithTimeout(ctx, time.Hour) //nolint:govet // nobody cancels it: that is what is tried
		fetch(ctx)
	case "/all":
		_ = sdk.All(ctx, fetch, func(ctx context.Context) error {
			_, err := sdk.First(ctx, func(ctx context.Context) (int, error) { return 0, fetch(ctx) })
			return err
		})
	case "/detached":
		_ = sdk.Sleep(context.WithoutCancel(ctx), time.Hour)
	case "/standard":
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		_ = fetch(ctx)
	case "/stream":
		_, _ = sdk.OpenGRPC(ctx, sdk.GRPCRequest{Cluster: "messages", Service: "s", Method: "m"})
		_ = fetch(ctx)
	case "/panic":
		defer panic("boom")
		_ = fetch(ctx)
	}
}

func fetch(ctx context.Context) error {
	_, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: "silent", Timeout: time.Second})
	return err
}
