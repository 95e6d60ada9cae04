package main

import (
	"errors"

	"github.com/waft-project/waft/sdk"
)

// The modes of a policy.
const (
	modeDetect = "detect"
	modeOff    = "off"
)

// filter is the configured filter.
type filter struct {
	engine   *engine
	policies *sdk.Selector[*policy]
	// otherwise is the policy of requests that no rule is about, where there is no default.
	otherwise *policy
	log       sdk.Logger
	logValues bool

	inspected, blocked, detected, failed sdk.Counter
	// attacks counts the streams in which a rule matched that has the tag.
	attacks map[string]sdk.Counter
}

// policy is a compiled Policy.
type policy struct {
	*Policy
	mark string
}

var (
	_ sdk.Filter                      = (*filter)(nil)
	_ sdk.RequestHeadersHandler       = (*inspection)(nil)
	_ sdk.BufferedRequestBodyHandler  = (*inspection)(nil)
	_ sdk.LongRequestBodyHandler      = (*inspection)(nil)
	_ sdk.RequestTrailersHandler      = (*inspection)(nil)
	_ sdk.ResponseHeadersHandler      = (*inspection)(nil)
	_ sdk.BufferedResponseBodyHandler = (*inspection)(nil)
	_ sdk.LongResponseBodyHandler     = (*inspection)(nil)
	_ sdk.StreamDoneHandler           = (*inspection)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	if err := checkSyntax(config); err != nil {
		return nil, err
	}
	f := &filter{log: p.Log(), logValues: config.LogValues}
	policies, err := f.compile(config)
	if err != nil {
		return nil, err
	}
	if f.engine, err = newEngine(config, policies, f.log, f.matched); err != nil {
		return nil, err
	}
	// What rules there are to exclude shows only now.
	if _, err := sdk.CompileRules("", &config.Rules, func(at string, p *Policy) (struct{}, error) {
		return struct{}{}, f.engine.check(at, p)
	}); err != nil {
		return nil, err
	}
	return f, f.count(p)
}

// compile numbers the policies.
func (f *filter) compile(config *Config) ([]*Policy, error) {
	var policies []*Policy
	number := func(p *Policy) *policy {
		policies = append(policies, p)
		return &policy{Policy: p, mark: policyMark(len(policies) - 1)}
	}
	var err error
	f.policies, err = sdk.CompileRules("", &config.Rules, func(_ string, p *Policy) (*policy, error) { return number(p), nil })
	if err != nil {
		return nil, err
	}
	if config.Default == nil {
		p, err := defaultPolicy()
		if err != nil {
			return nil, err
		}
		f.otherwise = number(&p)
	}
	return policies, nil
}

// count makes the counters.
func (f *filter) count(p *sdk.Plugin) error {
	var errs [5]error
	f.inspected, errs[0] = p.Counter("waf.inspected")
	f.blocked, errs[1] = p.Counter("waf.blocked")
	f.detected, errs[2] = p.Counter("waf.detected")
	f.failed, errs[3] = p.Counter("waf.failed")
	f.attacks, errs[4] = sdk.CountersBy(p, "waf.attacks", "kind", f.engine.attacks()...)
	return errors.Join(errs[:]...)
}

// NewHandler makes the handler of a stream.
func (f *filter) NewHandler() sdk.Handler { return &inspection{filter: f} }

// policyOf is the policy that a request is inspected by.
func (f *filter) policyOf(r *sdk.Request) *policy {
	if p, ok := f.policies.For(r); ok {
		return p
	}
	return f.otherwise
}
