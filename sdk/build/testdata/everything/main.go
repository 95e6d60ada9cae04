// Command everything is a filter whose configuration holds every kind of type that there is.
package main

import (
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/build/testdata/everything/config"
)

type filter struct{}

func init() {
	sdk.Register(func(*sdk.Plugin, *config.Config) (sdk.Filter, error) { return filter{}, nil })
}

func main() {}

func (filter) NewHandler() sdk.Handler { return nil }
