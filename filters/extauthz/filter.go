package main

import (
	"context"
	"errors"
	"time"

	"github.com/waft-project/waft/sdk"
)

// Response code details of the filter's answers.
const (
	detailsDenied = "extauthz_denied"
	detailsFailed = "extauthz_no_answer"
)

// authorizer is a compiled Authorizer; nil where nobody is asked.
type authorizer struct {
	id                         int
	cluster, authority, prefix string
	send, forward, reply       []string
	timeout, remember          time.Duration
	failOpen                   bool
	failStatus                 int
}

// filter is the configured filter.
type filter struct {
	plugin  *sdk.Plugin
	rules   *sdk.Selector[*authorizer]
	cache   *cache
	flights sdk.Flights[*answer]

	asked, hits, allowed, denied, failed sdk.Counter
}

func configure(p *sdk.Plugin, c *Config) (sdk.Filter, error) {
	f := &filter{plugin: p, cache: newCache(c.CacheEntries)}
	var err error
	if f.rules, err = sdk.CompileRules("", &c.Rules, compile); err != nil {
		return nil, err
	}
	asks := false
	for i, a := range f.rules.All() {
		if a != nil {
			a.id, asks = i, true
		}
	}
	if !asks {
		return nil, sdk.ConfigErrorf("default", "there is neither a default nor a rule that asks anybody")
	}
	var errs [5]error
	f.asked, errs[0] = p.Counter("extauthz.asked")
	f.hits, errs[1] = p.Counter("extauthz.remembered")
	f.allowed, errs[2] = p.Counter("extauthz.allowed")
	f.denied, errs[3] = p.Counter("extauthz.denied")
	f.failed, errs[4] = p.Counter("extauthz.failed")
	return f, errors.Join(errs[:]...)
}

func compile(at string, c *Authorizer) (*authorizer, error) {
	switch {
	case c.Skip && c.Cluster != "":
		return nil, sdk.ConfigErrorf(at+".skip", "it stands alone: a cluster is asked, or nobody is")
	case c.Skip:
		return nil, nil
	case c.Cluster == "":
		return nil, sdk.ConfigErrorf(at+".cluster", "missing; skip: true asks nobody")
	case c.PathPrefix != "" && c.PathPrefix[0] != '/':
		return nil, sdk.ConfigErrorf(at+".pathPrefix", "must begin with /")
	}
	return &authorizer{
		cluster: c.Cluster, authority: c.Authority, prefix: c.PathPrefix,
		send: append([]string{authorization}, names(c.Send)...), forward: names(c.Forward), reply: names(c.Reply),
		timeout: milliseconds(c.TimeoutMilliseconds), remember: seconds(c.MaxCacheSeconds), failOpen: c.FailOpen, failStatus: c.FailStatus,
	}, nil
}

func names(headers []sdk.HeaderName) []string {
	var out []string
	for _, h := range headers {
		out = append(out, string(h))
	}
	return out
}

// NewHandler is the filter itself: it keeps nothing for a stream.
func (f *filter) NewHandler() sdk.Handler { return f }

// OnRequestHeaders lets the request pass, or answers it.
func (f *filter) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	a, ok := f.rules.For(r)
	if !ok || a == nil {
		return sdk.Continue
	}
	answer := f.ask(ctx, a.question(r))
	switch {
	case ctx.Err() != nil:
		return sdk.Continue // the client is gone
	case answer.allows():
		f.allowed.Inc()
		return f.pass(r, a, answer.pick(a.forward))
	case answer.failed():
		return f.fail(r, a, answer)
	}
	f.denied.Inc()
	return r.Reply(sdk.Reply{Status: answer.status, Headers: answer.pick(a.reply), Body: answer.body, Details: detailsDenied})
}

// fail is what becomes of a request of which nobody said whether it may pass.
func (f *filter) fail(r *sdk.Request, a *authorizer, answer *answer) sdk.Action {
	f.failed.Inc()
	if answer.err != nil {
		r.Log().Warn("no answer of the authorizer: " + answer.err.Error())
	} else {
		r.Log().Warnf("the authorizer in cluster %s answered with %d", a.cluster, answer.status)
	}
	if a.failOpen {
		return f.pass(r, a, nil)
	}
	return r.Reply(sdk.Reply{Status: a.failStatus, Details: detailsFailed})
}

// pass lets a request pass with what the authorizer says of it, and nothing that the client says in its place.
func (f *filter) pass(r *sdk.Request, a *authorizer, forward []sdk.Header) sdk.Action {
	err := error(nil)
	for _, name := range a.forward {
		err = errors.Join(err, r.Headers().Remove(name))
	}
	for _, h := range forward {
		err = errors.Join(err, r.Headers().Add(h.Name, h.Value))
	}
	if err != nil {
		r.Log().Error(err.Error())
		return r.Reply(sdk.Reply{Status: a.failStatus, Details: detailsFailed})
	}
	return sdk.Continue
}
