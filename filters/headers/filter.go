package main

import (
	"fmt"
	"slices"

	"github.com/waft-project/waft/sdk"
)

// filter is the configured filter. It keeps nothing per stream, so it is the handler of every stream.
type filter struct {
	request, response []mutation
	// keepRequest is set when response mutations read the request's headers, which Envoy then shows no more.
	keepRequest bool
}

var (
	_ sdk.Filter                 = (*filter)(nil)
	_ sdk.RequestHeadersHandler  = (*filter)(nil)
	_ sdk.ResponseHeadersHandler = (*filter)(nil)
)

func configure(_ *sdk.Plugin, config *Config) (sdk.Filter, error) {
	request, err := compile("request", config.Request, false)
	if err != nil {
		return nil, err
	}
	response, err := compile("response", config.Response, true)
	if err != nil {
		return nil, err
	}
	keep := slices.ContainsFunc(response, func(m mutation) bool { return m.usesRequest() })
	return &filter{request: request, response: response, keepRequest: keep}, nil
}

// NewHandler is the filter itself.
func (f *filter) NewHandler() sdk.Handler { return f }

// OnRequestHeaders applies the request mutations.
func (f *filter) OnRequestHeaders(r *sdk.Request) sdk.Action {
	m := message{request: r.Headers(), properties: r.Properties()}
	for i := range f.request {
		apply(&f.request[i], &m, m.request, r.Log())
	}
	if f.keepRequest {
		r.Headers().Keep()
	}
	return sdk.Continue
}

// OnResponseHeaders applies the response mutations.
func (f *filter) OnResponseHeaders(r *sdk.Response) sdk.Action {
	m := message{request: r.Request().Headers(), response: r.Headers(), properties: r.Properties()}
	for i := range f.response {
		apply(&f.response[i], &m, m.response, r.Log())
	}
	return sdk.Continue
}

// apply makes one change, if its conditions hold. A change that cannot be made is logged; set then removes the header, so that
// a value from the client never stays where it was to be overwritten.
func apply(mu *mutation, m *message, on *sdk.Headers, log sdk.Logger) {
	if !mu.when.holds(m) {
		return
	}
	if err := mu.change(m, on); err != nil {
		log.Warn(fmt.Sprintf("%s %s: %v", mu.op, mu.name, err))
		if mu.op == opSet {
			if err := mu.clear(on); err != nil {
				log.Error(err.Error())
			}
		}
	}
}

func (mu *mutation) change(m *message, on *sdk.Headers) error {
	switch mu.op {
	case opRemove:
		return on.Remove(mu.name)
	case opRename:
		return rename(on, mu.name, mu.to)
	case opAdd:
		if _, ok := on.Get(mu.name); ok {
			return nil
		}
	}
	value := mu.value.render(m)
	switch {
	case value == "" && !mu.keepEmpty:
		if mu.op == opSet {
			return mu.clear(on)
		}
		return nil
	case mu.op == opSet:
		return on.Set(mu.name, value)
	}
	return on.Add(mu.name, value)
}

// clear is set without a value: the header goes away. A pseudo-header stays, since no request is without it.
func (mu *mutation) clear(on *sdk.Headers) error {
	if mu.name[0] == ':' {
		return nil
	}
	return on.Remove(mu.name)
}

// rename moves all values of a header to another, in place of what that one had.
func rename(on *sdk.Headers, from, to string) error {
	values := on.Values(from)
	if len(values) == 0 {
		return nil
	}
	if err := on.Set(to, values[0]); err != nil {
		return err
	}
	for _, v := range values[1:] {
		if err := on.Add(to, v); err != nil {
			return err
		}
	}
	return on.Remove(from)
}
