// Command promoted has its handler's method from an interface that it embeds.
package main

import "github.com/waft-project/waft/sdk"

type handler struct{ sdk.ResponseTrailersHandler }

type inner struct{}

func (inner) OnResponseTrailers(*sdk.Response) sdk.Action { return sdk.Continue }

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) {
		return sdk.FilterFunc(func() sdk.Handler { return &handler{inner{}} }), nil
	})
}

func main() {}
