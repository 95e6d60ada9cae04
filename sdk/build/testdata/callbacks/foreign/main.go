// Command foreign has a handler whose type it does not name.
package main

import (
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/build/testdata/helper/handlers"
)

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return sdk.FilterFunc(handlers.New), nil })
}

func main() {}
