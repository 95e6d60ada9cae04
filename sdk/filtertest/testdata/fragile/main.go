// Command fragile is a filter that breaks what its configuration says, once in a while, for tests of fuzzing.
package main

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk"
)

func init() { sdk.Register(configure) }

func main() {}

type config struct {
	Breaks string `json:"breaks"`
}

func configure(_ *sdk.Plugin, c *config) (sdk.Filter, error) { return &filter{breaks: c.Breaks}, nil }

type filter struct {
	breaks string
	kept   [][]byte
}

func (f *filter) NewHandler() sdk.Handler { return handler{f} }

type handler struct{ *filter }

// OnRequestHeaders asks a cluster; what it breaks, it breaks after some of its answers.
func (h handler) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	answer, err := r.Fetch(ctx, sdk.FetchRequest{Cluster: "auth"})
	if err != nil || answer.Status != 200 {
		return sdk.Continue
	}
	switch h.breaks {
	case "stuck":
		for ctx.Err() == nil {
			if sdk.Sleep(ctx, time.Minute) != nil {
				break
			}
		}
	case "memory":
		for range 10 {
			kept := make([]byte, 1<<20)
			kept[len(kept)/2] = 1
			h.kept = append(h.kept, kept)
		}
	}
	return sdk.Continue
}

func (h handler) OnRequestBody(_ *sdk.Request, chunk *sdk.Body) sdk.Action {
	if data, err := chunk.Bytes(); h.breaks == "trap" && err == nil && len(data) > 3 && data[0] == data[1] {
		h.kept = append(h.kept, make([]byte, 1<<30)) // more than a VM may have: Go gives up
	}
	return sdk.Continue
}
