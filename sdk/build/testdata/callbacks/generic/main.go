// Command generic has a handler of a generic type.
package main

import (
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/build/testdata/helper/handlers"
)

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) {
		return sdk.FilterFunc(func() sdk.Handler { return &handlers.Chunks[struct{ x int8 }]{} }), nil
	})
}

func main() {}
