// Command late has a handler that only what runs in a tick makes known to it.
package main

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk"
)

type filter struct{ handler sdk.Handler }

type later struct{}

func (later) OnResponseBody(*sdk.Response, *sdk.Body) sdk.Action { return sdk.Continue }

func init() {
	sdk.RegisterRaw(func(p *sdk.Plugin, _ []byte) (sdk.Filter, error) {
		f := &filter{}
		p.After(time.Second, func(context.Context) { f.handler = later{} })
		return f, nil
	})
}

func main() {}

func (f *filter) NewHandler() sdk.Handler { return f.handler }
