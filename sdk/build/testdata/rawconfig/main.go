// Command rawconfig is a filter that reads its configuration itself.
package main

import "github.com/waft-project/waft/sdk"

type filter struct{}

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return filter{}, nil })
}

func main() {}

func (filter) NewHandler() sdk.Handler { return nil }
