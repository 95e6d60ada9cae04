package main

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/waft-project/waft/sdk"
)

// details is the answer's response code details.
const details = "fault_injected"

// filter is the configured filter.
type filter struct {
	rules *sdk.Selector[*Fault]
	// roll gives numbers from 0 to 100, 100 excluded.
	roll      func() float64
	active    int
	maxActive int

	delays, aborts, overflows sdk.Counter
}

func configure(p *sdk.Plugin, c *Config) (sdk.Filter, error) {
	f := &filter{roll: func() float64 { return rand.Float64() * 100 }, maxActive: c.MaxActive}
	var err error
	if f.rules, err = sdk.CompileRules("", &c.Rules, check); err != nil {
		return nil, err
	}
	var errs [3]error
	f.delays, errs[0] = p.Counter("fault.delays")
	f.aborts, errs[1] = p.Counter("fault.aborts")
	f.overflows, errs[2] = p.Counter("fault.overflows")
	return f, errors.Join(errs[:]...)
}

func check(at string, f *Fault) (*Fault, error) {
	const never = "it never happens: give percent or header"
	if d := f.Delay; d != nil && d.Percent == 0 && d.Header == "" {
		return nil, sdk.ConfigErrorf(at+".delay", never)
	}
	if a := f.Abort; a != nil && a.Percent == 0 && a.Header == "" {
		return nil, sdk.ConfigErrorf(at+".abort", never)
	}
	return f, nil
}

// NewHandler is the filter itself: it keeps nothing for a stream.
func (f *filter) NewHandler() sdk.Handler { return f }

// OnRequestHeaders delays the request, answers it, or lets it pass.
func (f *filter) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	fault, ok := f.rules.For(r)
	if !ok {
		return sdk.Continue
	}
	c := fault.choose(fault.wishes(r.Headers()), f.roll(), f.roll())
	if c.delay > 0 && f.active >= f.maxActive {
		f.overflows.Inc()
		c.delay = 0
	}
	if c.delay > 0 {
		f.delays.Inc()
		f.active++
		err := sdk.Sleep(ctx, c.delay)
		f.active--
		if err != nil {
			return sdk.Continue // the client is gone
		}
	}
	if c.abort == 0 {
		return sdk.Continue
	}
	f.aborts.Inc()
	return r.Reply(sdk.Reply{Status: c.abort, GRPCStatus: fault.Abort.GRPCStatus, Body: []byte(fault.Abort.Body), Details: details})
}

// wishes reads the headers by which requests may ask.
func (f *Fault) wishes(headers *sdk.Headers) (w wishes) {
	if f.Delay != nil && f.Delay.Header != "" {
		w.delay, _ = headers.Get(string(f.Delay.Header))
	}
	if f.Abort != nil && f.Abort.Header != "" {
		w.abort, _ = headers.Get(string(f.Abort.Header))
	}
	return w
}
