package main

import (
	"errors"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// filter is the configured filter.
type filter struct {
	rules *sdk.Selector[*policy]
	// allowed and others count requests with an origin, preflights and refused the preflights among them.
	allowed, others, preflights, refused sdk.Counter
}

// exchange is one request and its response.
type exchange struct {
	*filter
	// policy is nil where none is about the request.
	policy *policy
	// origin is what the response allows: empty for nothing.
	origin string
}

var (
	_ sdk.Filter                 = (*filter)(nil)
	_ sdk.RequestHeadersHandler  = (*exchange)(nil)
	_ sdk.ResponseHeadersHandler = (*exchange)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	f := &filter{}
	var err error
	if f.rules, err = sdk.CompileRules("", &config.Rules, compilePolicy); err != nil {
		return nil, err
	}
	var errs [4]error
	f.allowed, errs[0] = p.Counter("cors.allowed")
	f.others, errs[1] = p.Counter("cors.others")
	f.preflights, errs[2] = p.Counter("cors.preflights")
	f.refused, errs[3] = p.Counter("cors.preflights_refused")
	return f, errors.Join(errs[:]...)
}

// NewHandler makes the handler of one request and its response.
func (f *filter) NewHandler() sdk.Handler { return &exchange{filter: f} }

// OnRequestHeaders answers preflights.
func (x *exchange) OnRequestHeaders(r *sdk.Request) sdk.Action {
	policy, ok := x.rules.For(r)
	if !ok {
		return sdk.Continue
	}
	x.policy = policy
	headers := r.Headers()
	origins := headers.Values(headerOrigin)
	if len(origins) == 0 {
		return sdk.Continue
	}
	listed := len(origins) == 1 && policy.origins.has(origins[0])
	if listed {
		x.allowed.Inc()
		x.origin = strings.Clone(policy.origin(origins[0]))
	} else {
		x.others.Inc()
	}
	if _, asks := headers.Get(headerRequestMethod); asks && r.Method() == "OPTIONS" {
		return x.answerPreflight(r, listed)
	}
	if !listed && policy.denyOthers {
		return r.Reply(denial("cors_origin"))
	}
	return sdk.Continue
}

// answerPreflight answers the question of a browser whether a page may send a request. Nothing of it reaches the upstream.
func (x *exchange) answerPreflight(r *sdk.Request, listed bool) sdk.Action {
	x.preflights.Inc()
	if !listed {
		x.refused.Inc()
		return r.Reply(denial("cors_preflight_refused"))
	}
	headers := append([]sdk.Header{{Name: headerAllowOrigin, Value: x.origin}}, x.policy.preflight...)
	if x.policy.varies() {
		headers = append(headers, sdk.Header{Name: headerVary, Value: headerOrigin})
	}
	return r.Reply(sdk.Reply{Status: 204, Headers: headers, Details: "cors_preflight"})
}

// denial answers an origin that is not listed.
func denial(details string) sdk.Reply {
	return sdk.Reply{
		Status: 403, Body: []byte("the origin is not allowed\n"), Details: details,
		Headers: []sdk.Header{{Name: headerVary, Value: headerOrigin}, {Name: "cache-control", Value: "no-store"}},
	}
}

// OnResponseHeaders writes the CORS headers. A header that could not be taken away would grant what the policy does not, so the
// response is replaced then.
func (x *exchange) OnResponseHeaders(r *sdk.Response) sdk.Action {
	if x.policy == nil {
		return sdk.Continue
	}
	if err := x.write(r.Headers()); err != nil {
		r.Log().Error("cors: " + err.Error())
		return r.Reply(sdk.Reply{Status: 500, Details: "cors_failed"})
	}
	return sdk.Continue
}

func (x *exchange) write(headers *sdk.Headers) error {
	var upstream []string
	varies := false
	for name, value := range headers.All() {
		switch name {
		case headerVary:
			varies = varies || listed(value, headerOrigin)
		case headerAllowOrigin, headerAllowCredentials, headerAllowMethods, headerAllowHeaders, headerMaxAge, headerExposeHeaders:
			upstream = append(upstream, name)
		}
	}
	for _, name := range upstream {
		if err := headers.Remove(name); err != nil {
			return err
		}
	}
	if x.policy.varies() && !varies {
		if err := headers.Add(headerVary, headerOrigin); err != nil {
			return err
		}
	}
	if x.origin == "" {
		return nil
	}
	if err := headers.Set(headerAllowOrigin, x.origin); err != nil {
		return err
	}
	for _, h := range x.policy.actual {
		if err := headers.Set(h.Name, h.Value); err != nil {
			return err
		}
	}
	return nil
}

// listed says whether a list with commas holds a name or a star.
func listed(list, name string) bool {
	for element := range strings.SplitSeq(list, ",") {
		if element = strings.Trim(element, " \t"); element == "*" || strings.EqualFold(element, name) {
			return true
		}
	}
	return false
}
