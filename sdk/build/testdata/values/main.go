// Values is a filter whose configuration says of its fields what values they take.
package main

import (
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/build/testdata/values/config"
)

func init() { sdk.Register(configure) }

func main() {}

func configure(*sdk.Plugin, *config.Config) (sdk.Filter, error) {
	return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
}
