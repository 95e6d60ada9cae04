// Command unloadable is the filter of the demo's worst release: it compiles, its imports are all there, and it dies while
// it is loaded, which only a host that really loads it can see.
package main

import "github.com/waft-project/waft/sdk"

// Config is the plugin configuration.
type Config struct{}

func init() {
	sdk.Register(configure)
	panic("unloadable: dies on purpose while it is loaded")
}

func main() {}

func configure(*sdk.Plugin, *Config) (sdk.Filter, error) {
	return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
}
