// Command stamp is a filter for the end-to-end tests: it stamps each response, and can be told to misbehave.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk"
)

// Config is the plugin configuration.
type Config struct {
	// Value of the response header. One that begins with gossip is refused, and said aloud.
	Value string `json:"value"`
	// Header is its name; empty: x-stamp.
	Header string `json:"header,omitempty"`
	// FailEvery so many requests one is answered with 503; 0: none.
	FailEvery int `json:"failEvery,omitempty"`
	// Refuse makes the filter refuse its configuration.
	Refuse bool `json:"refuse,omitempty"`
	// Hang makes each request loop without end, on which Envoy's watchdog ends Envoy.
	Hang bool `json:"hang,omitempty"`
	// PauseEvery so many requests one waits for an hour; 0: none.
	PauseEvery int `json:"pauseEvery,omitempty"`
	// Trap makes each request end the VM.
	Trap bool `json:"trap,omitempty"`
}

func init() { sdk.Register(configure) }

func main() {}

type stamp struct {
	config *Config
	seen   int
	failed sdk.Counter
	hog    [][]byte
}

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	if config.Refuse {
		return nil, errors.New("stamp: told to refuse its configuration")
	}
	if strings.HasPrefix(config.Value, "gossip") {
		return nil, fmt.Errorf("stamp: told to refuse the value %q", config.Value)
	}
	if config.Header == "" {
		config.Header = "x-stamp"
	}
	failed, err := p.Counter("stamp_failed")
	if err != nil {
		return nil, err
	}
	return &stamp{config: config, failed: failed}, nil
}

// NewHandler returns the filter itself: it keeps nothing per stream.
func (s *stamp) NewHandler() sdk.Handler {
	if s.config.PauseEvery > 0 {
		return pausing{s}
	}
	return s
}

// pausing has some requests wait.
type pausing struct{ *stamp }

func (p pausing) OnRequestHeaders(ctx context.Context, _ *sdk.Request) sdk.Action {
	if p.seen++; p.seen%p.config.PauseEvery == 0 {
		_ = sdk.Sleep(ctx, time.Hour) // it ends with the request
	}
	return sdk.Continue
}

// OnRequestHeaders fails some requests where it was told to.
func (s *stamp) OnRequestHeaders(r *sdk.Request) sdk.Action {
	for s.config.Hang {
		s.seen++
	}
	for s.config.Trap {
		s.hog = append(s.hog, make([]byte, 1<<20)) // until there is no memory, which Go does not survive
	}
	if s.config.FailEvery > 0 {
		s.seen++
		if s.seen%s.config.FailEvery == 0 {
			s.failed.Inc()
			return r.Reply(sdk.Reply{Status: 503, Details: "stamp_failed"})
		}
	}
	return sdk.Continue
}

// OnResponseHeaders stamps the response.
func (s *stamp) OnResponseHeaders(r *sdk.Response) sdk.Action {
	if err := r.Headers().Set(s.config.Header, s.config.Value); err != nil {
		r.Log().Error("stamp: " + err.Error())
	}
	return sdk.Continue
}
