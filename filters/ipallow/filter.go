package main

import (
	"errors"

	"github.com/waft-project/waft/sdk"
)

// filter is the configured filter. It keeps nothing per stream, so it is the handler of every stream.
type filter struct {
	rules *sdk.Selector[*lists]
	// header holds the client's address; empty for the connection's.
	header string
	hops   int
	status int

	allowed sdk.Counter
	denied  map[reason]sdk.Counter
}

// lists are compiled Lists.
type lists struct{ allow, deny prefixSet }

// reason says why a request is denied: a tag of the counter ipallow.denied, and a part of the response code details.
type reason string

const (
	// reasonListed: the address is in deny.
	reasonListed reason = "listed"
	// reasonUnlisted: the address is not in allow.
	reasonUnlisted reason = "unlisted"
	// reasonNoRule: no rule is about the request, and there is no default.
	reasonNoRule reason = "no_rule"
	// reasonNoAddress: there is no address, or none that can be read.
	reasonNoAddress reason = "no_address"
)

var (
	_ sdk.Filter                = (*filter)(nil)
	_ sdk.RequestHeadersHandler = (*filter)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	f := &filter{header: string(config.Client.Header), hops: config.Client.TrustedHops, status: config.Status}
	if config.Default == nil && len(config.Rules.Rules) == 0 {
		return nil, sdk.ConfigErrorf("", "neither default nor rules: every request would be denied; if that is meant, set default to {allow: []}")
	}
	var err error
	f.rules, err = sdk.CompileRules("", &config.Rules, func(_ string, l *Lists) (*lists, error) {
		return &lists{newPrefixSet(l.Allow), newPrefixSet(l.Deny)}, nil
	})
	if err != nil {
		return nil, err
	}
	var errs [2]error
	f.allowed, errs[0] = p.Counter("ipallow.allowed")
	f.denied, errs[1] = sdk.CountersBy(p, "ipallow.denied", "reason", reasonListed, reasonUnlisted, reasonNoRule, reasonNoAddress)
	return f, errors.Join(errs[:]...)
}

// NewHandler is the filter itself.
func (f *filter) NewHandler() sdk.Handler { return f }

// OnRequestHeaders lets the request pass, or denies it.
func (f *filter) OnRequestHeaders(r *sdk.Request) sdk.Action {
	why := f.judge(r)
	if why == "" {
		f.allowed.Inc()
		return sdk.Continue
	}
	f.denied[why].Inc()
	return r.Reply(sdk.Reply{
		Status:  f.status,
		Headers: []sdk.Header{{Name: "cache-control", Value: "no-store"}},
		Body:    []byte("access denied\n"),
		Details: "ipallow_" + string(why),
	})
}

// judge says why a request is denied, and nothing for one that may pass.
func (f *filter) judge(r *sdk.Request) reason {
	rule, ok := f.rules.For(r)
	if !ok {
		return reasonNoRule
	}
	addr, ok := f.address(r)
	switch {
	case !ok:
		return reasonNoAddress
	case rule.deny.contains(addr):
		return reasonListed
	case !rule.allow.contains(addr):
		return reasonUnlisted
	}
	return ""
}
