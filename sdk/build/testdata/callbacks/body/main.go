// Command body buffers requests' bodies.
package main

import "github.com/waft-project/waft/sdk"

type filter struct{}

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return filter{}, nil })
}

func main() {}

func (filter) NewHandler() sdk.Handler { return filter{} }

func (filter) RequestBodyLimit() int { return 0 }

func (filter) OnBufferedRequestBody(*sdk.Request, *sdk.Body) sdk.Action { return sdk.Continue }
