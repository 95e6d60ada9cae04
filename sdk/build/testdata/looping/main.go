// Command looping is a filter that goes on for as long as the path says: /for/1000 a thousand times, /ever without end.
package main

import (
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

func init() { sdk.Register(configure) }

func main() {}

// config may have configure loop, too.
type config struct {
	Times int `json:"times,omitempty"`
}

func configure(_ *sdk.Plugin, c *config) (sdk.Filter, error) {
	f := &filter{}
	f.count(c.Times)
	return f, nil
}

type filter struct{ number, spins int }

func (f *filter) NewHandler() sdk.Handler { return f }

func (f *filter) OnRequestHeaders(r *sdk.Request) sdk.Action {
	switch path := r.Path(); {
	case path == "/ever":
		f.spin()
	case path == "/host":
		f.ask(r)
	case path == "/goroutine":
		done := make(chan bool)
		go func() { f.spin(); close(done) }()
		<-done
	case strings.HasPrefix(path, "/for/"):
		times, _ := strconv.Atoi(path[len("/for/"):])
		f.count(times)
	}
	return sdk.Continue
}

// spin never ends.
//
//go:noinline
func (f *filter) spin() {
	for f.number >= 0 {
		f.number = (f.number + 1) & 0xffff
	}
}

// ask never ends, and asks the host for memory meanwhile.
//
//go:noinline
func (f *filter) ask(r *sdk.Request) {
	for f.number >= 0 {
		r.Log().Trace(r.Path()) // neither is left out of the loop
		f.number = len(r.Path())
	}
}

// count ends.
//
//go:noinline
func (f *filter) count(times int) {
	for range times {
		f.number = (f.number + 1) & 0xffff
	}
}
