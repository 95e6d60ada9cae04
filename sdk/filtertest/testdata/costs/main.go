// Command costs is a filter that costs what a request asks for, for tests of benchmarks and fuzzing.
package main

import (
	"strconv"

	"github.com/waft-project/waft/sdk"
)

func init() { sdk.Register(configure) }

func main() {}

type config struct{}

func configure(*sdk.Plugin, *config) (sdk.Filter, error) { return &filter{}, nil }

type filter struct {
	kept [][]byte
}

func (f *filter) NewHandler() sdk.Handler { return handler{f} }

type handler struct{ *filter }

func (h handler) OnRequestHeaders(r *sdk.Request) sdk.Action {
	switch what, _ := r.Headers().Get("x-do"); what {
	case "headers":
		for i := range 3 {
			if err := r.Headers().Add("x-added-"+strconv.Itoa(i), "1"); err != nil {
				r.Log().Error(err.Error())
			}
		}
	case "keep":
		kept := make([]byte, 64<<10)
		for i := range kept {
			kept[i] = byte(i)
		}
		h.kept = append(h.kept, kept)
	case "crash":
		h.kept = append(h.kept, make([]byte, 1<<30)) // more than a VM may have: Go gives up
	}
	return sdk.Continue
}
