package main

import (
	"strconv"

	"github.com/waft-project/waft/sdk"
)

// filter is the configured filter.
type filter struct{ experiments []*experiment }

// exchange is one request and its response.
type exchange struct {
	*filter
	// answer are headers that the response gets.
	answer []sdk.Header
}

var (
	_ sdk.Filter                 = (*filter)(nil)
	_ sdk.RequestHeadersHandler  = (*exchange)(nil)
	_ sdk.ResponseHeadersHandler = (*exchange)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	f := &filter{}
	for i := range config.Experiments {
		at := "experiments[" + strconv.Itoa(i) + "]"
		x, err := compileExperiment(p, at, &config.Experiments[i])
		if err != nil {
			return nil, err
		}
		for _, other := range f.experiments {
			if other.name == x.name || other.header == x.header {
				return nil, sdk.ConfigErrorf(at, "another experiment has this name or this header")
			}
		}
		f.experiments = append(f.experiments, x)
	}
	return f, nil
}

// NewHandler makes the handler of one request and its response.
func (f *filter) NewHandler() sdk.Handler { return &exchange{filter: f} }

// OnRequestHeaders marks the request with its variants. All are chosen on the request as it came, so that one experiment does
// not change who takes part in the next. Envoy chooses the route again by itself when a header changes.
func (e *exchange) OnRequestHeaders(r *sdk.Request) sdk.Action {
	choices := make([]choice, len(e.experiments))
	for i, x := range e.experiments {
		if x.match.Matches(r) {
			choices[i] = x.choose(r)
		}
	}
	scheme := r.Scheme()
	for i, x := range e.experiments {
		if err := e.mark(r.Headers(), x, choices[i], scheme); err != nil {
			// The request would count as the variant that its client named.
			r.Log().Error("abtest: " + err.Error())
			return r.Reply(sdk.Reply{Status: 500, Body: []byte("the request could not be prepared\n"), Details: "abtest_failed"})
		}
	}
	return sdk.Continue
}

// mark makes a request one of its variant.
func (e *exchange) mark(headers *sdk.Headers, x *experiment, c choice, scheme string) error {
	if c.variant == nil {
		if _, ok := headers.Get(x.header); !ok {
			return nil // no change, so Envoy keeps its route
		}
		return headers.Remove(x.header)
	}
	c.variant.count.Inc()
	if err := headers.Set(x.header, c.variant.name); err != nil {
		return err
	}
	if c.variant.host != "" {
		if err := headers.Set(":authority", c.variant.host); err != nil {
			return err
		}
	}
	if c.variant.pathPrefix != "" {
		path, _ := headers.Get(":path")
		if err := headers.Set(":path", c.variant.pathPrefix+path); err != nil {
			return err
		}
	}
	if x.responseHeader != "" {
		e.answer = append(e.answer, sdk.Header{Name: x.responseHeader, Value: c.variant.name})
	}
	if c.remember {
		e.answer = append(e.answer, sdk.Header{Name: "set-cookie", Value: x.cookie.set(c.variant.name, scheme)})
	}
	return nil
}

// OnResponseHeaders tells the client its variants.
func (e *exchange) OnResponseHeaders(r *sdk.Response) sdk.Action {
	for _, h := range e.answer {
		change := r.Headers().Set
		if h.Name == "set-cookie" {
			change = r.Headers().Add
		}
		if err := change(h.Name, h.Value); err != nil {
			r.Log().Warn("abtest: " + err.Error())
		}
	}
	return sdk.Continue
}
