package main

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// filter is the configured filter.
type filter struct {
	rules   *sdk.Selector[*policy]
	valid   sdk.Counter
	invalid map[reason]sdk.Counter
}

// reason says why a request does not pass: a tag of the counter validate.invalid, and a part of the response code details.
type reason string

const (
	// reasonMissing: there is no body.
	reasonMissing reason = "missing"
	// reasonType: the content-type is not JSON's, or the body is compressed.
	reasonType reason = "content_type"
	// reasonMalformed: it is no JSON, or can be read in different ways.
	reasonMalformed reason = "malformed"
	// reasonSchema: it does not fit the schema.
	reasonSchema reason = "schema"
	// reasonFailed: it could not be read.
	reasonFailed reason = "failed"
)

var statuses = map[reason]int{reasonMissing: 400, reasonType: 415, reasonMalformed: 400, reasonSchema: 422, reasonFailed: 500}

// exchange is one request.
type exchange struct {
	*filter
	policy *policy
	// awaited is set while the body is.
	awaited bool
}

var (
	_ sdk.Filter                     = (*filter)(nil)
	_ sdk.RequestHeadersHandler      = (*exchange)(nil)
	_ sdk.BufferedRequestBodyHandler = (*exchange)(nil)
	_ sdk.LongRequestBodyHandler     = (*exchange)(nil)
	_ sdk.RequestTrailersHandler     = (*exchange)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	f := &filter{}
	var err error
	if f.rules, err = sdk.CompileRules("", &config.Rules, compilePolicy); err != nil {
		return nil, err
	}
	var errs [2]error
	f.valid, errs[0] = p.Counter("validate.valid")
	f.invalid, errs[1] = sdk.CountersBy(p, "validate.invalid", "reason", slices.Sorted(maps.Keys(statuses))...)
	return f, errors.Join(errs[:]...)
}

// NewHandler makes the handler of one request.
func (f *filter) NewHandler() sdk.Handler { return &exchange{filter: f} }

// OnRequestHeaders looks at what the headers say of the body.
func (x *exchange) OnRequestHeaders(r *sdk.Request) sdk.Action {
	policy, ok := x.rules.For(r)
	if !ok {
		return sdk.Continue
	}
	x.policy = policy
	if r.End() {
		return x.missing(r)
	}
	if !policy.AnyContentType && !isJSON(r.Headers()) || isEncoded(r.Headers()) {
		return x.refuse(r, reasonType, nil)
	}
	x.awaited = true
	return sdk.Continue
}

func (x *exchange) missing(r *sdk.Request) sdk.Action {
	if x.policy.BodyOptional {
		x.valid.Inc()
		return sdk.Continue
	}
	return x.refuse(r, reasonMissing, nil)
}

// RequestBodyLimit is the longest body that is held.
func (x *exchange) RequestBodyLimit() int {
	if !x.awaited {
		return sdk.PassBody
	}
	return x.policy.MaxBodyBytes
}

// OnBufferedRequestBody checks the body, before any of it goes upstream.
func (x *exchange) OnBufferedRequestBody(r *sdk.Request, body *sdk.Body) sdk.Action {
	x.awaited = false
	if body.Len() == 0 {
		return x.missing(r)
	}
	data, err := body.Bytes()
	if err != nil {
		return x.refuse(r, reasonFailed, err)
	}
	value, err := decode(data)
	if err != nil {
		return x.refuse(r, reasonMalformed, err)
	}
	if err := x.policy.schema.Validate(value); err != nil {
		return x.refuse(r, reasonSchema, err)
	}
	x.valid.Inc()
	return sdk.Continue
}

// OnLongRequestBody refuses a body that is too long to be held, unless everything passes.
func (x *exchange) OnLongRequestBody(r *sdk.Request, _ *sdk.Body) sdk.Action {
	x.awaited = false
	if x.policy.ReportOnly {
		return sdk.Continue
	}
	return r.Reply(sdk.Reply{Status: 413, Body: []byte("the body is too long\n"), Details: "validate_too_long"})
}

// OnRequestTrailers finds a body that never came: trailers may follow the headers at once.
func (x *exchange) OnRequestTrailers(r *sdk.Request) sdk.Action {
	if !x.awaited {
		return sdk.Continue
	}
	x.awaited = false
	return x.missing(r)
}

// refuse answers a request that does not pass, or lets it where everything does.
func (x *exchange) refuse(r *sdk.Request, why reason, err error) sdk.Action {
	x.invalid[why].Inc()
	if x.policy.ReportOnly {
		r.Log().Infof("validate: it would not have passed: %s %s", why, strings.Join(places(err), ", "))
		return sdk.Continue
	}
	text := "the body is not what is expected\n"
	if x.policy.Explain && err != nil {
		switch why {
		case reasonSchema:
			text += explain(err) + "\n"
		case reasonMalformed:
			text += err.Error() + "\n"
		}
	}
	return r.Reply(sdk.Reply{Status: statuses[why], Body: []byte(text), Details: "validate_" + string(why)})
}

func isJSON(headers *sdk.Headers) bool {
	value, _ := headers.Get("content-type")
	kind, _, _ := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

func isEncoded(headers *sdk.Headers) bool {
	encoding, ok := headers.Get("content-encoding")
	return ok && !strings.EqualFold(encoding, "identity")
}
