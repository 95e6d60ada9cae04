// Command dying is a filter that kills its VM with the first request.
package main

import "github.com/waft-project/waft/sdk"

func init() { sdk.Register(configure) }

func main() {}

type config struct{}

func configure(*sdk.Plugin, *config) (sdk.Filter, error) { return &filter{}, nil }

type filter struct{ kept [][]byte }

func (f *filter) NewHandler() sdk.Handler { return f }

func (f *filter) OnRequestHeaders(*sdk.Request) sdk.Action {
	f.hoard(1 << 30)
	return sdk.Continue
}

//go:noinline
func (f *filter) hoard(bytes int) { f.kept = append(f.kept, make([]byte, bytes)) }
