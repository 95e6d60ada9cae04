// Command embedded has its handler's methods from a type of another package that it embeds.
package main

import (
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/build/testdata/helper/handlers"
)

type handler struct{ *handlers.Trailers }

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) {
		return sdk.FilterFunc(func() sdk.Handler { return handler{} }), nil
	})
}

func main() {}
