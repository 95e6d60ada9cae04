// Command nothing handles request headers alone.
package main

import "github.com/waft-project/waft/sdk"

type filter struct{}

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return filter{}, nil })
}

func main() {}

func (filter) NewHandler() sdk.Handler { return filter{} }

func (filter) OnRequestHeaders(*sdk.Request) sdk.Action { return sdk.Continue }
