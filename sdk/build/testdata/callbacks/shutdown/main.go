// Command shutdown has work at its end, and takes calls of the host's.
package main

import (
	"context"

	"github.com/waft-project/waft/sdk"
)

type filter struct{}

func init() {
	sdk.RegisterRaw(func(p *sdk.Plugin, _ []byte) (sdk.Filter, error) {
		p.OnShutdown(func(context.Context) { p.Log().Info("bye") })
		p.HandleForeign(func(uint32, []byte) {})
		return filter{}, nil
	})
}

func main() {}

func (filter) NewHandler() sdk.Handler { return nil }
