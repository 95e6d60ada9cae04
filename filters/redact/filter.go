package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// pathProperty is the property that logPath sets: the filter state wasm.redact_path.
const pathProperty = "redact_path"

// filter is the configured filter.
type filter struct {
	rules   *sdk.Selector[*policy]
	refused map[reason]sdk.Counter
}

// reason says why a message does not pass: a tag of the counter redact.refused, and a part of the response code details.
type reason string

const (
	// reasonEncoded: the body is compressed.
	reasonEncoded reason = "encoded"
	// reasonMalformed: it is no JSON, or nests too deep.
	reasonMalformed reason = "malformed"
	// reasonFailed: it could not be read or written.
	reasonFailed reason = "failed"
)

// exchange is one request and its response.
type exchange struct {
	*filter
	// policy is nil where none is about the request.
	policy *policy
	// looks is set while the body of the message at hand is looked at.
	looks, isJSON bool
}

var (
	_ sdk.Filter                      = (*filter)(nil)
	_ sdk.RequestHeadersHandler       = (*exchange)(nil)
	_ sdk.BufferedRequestBodyHandler  = (*exchange)(nil)
	_ sdk.ResponseHeadersHandler      = (*exchange)(nil)
	_ sdk.BufferedResponseBodyHandler = (*exchange)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	f := &filter{}
	var err error
	if f.rules, err = sdk.CompileRules("", &config.Rules, compilePolicy); err != nil {
		return nil, err
	}
	if err := f.count(p); err != nil {
		return nil, err
	}
	f.refused, err = sdk.CountersBy(p, "redact.refused", "reason", reasonEncoded, reasonMalformed, reasonFailed)
	return f, err
}

// count makes the counters of what policies replace.
func (f *filter) count(p *sdk.Plugin) error {
	for _, policy := range f.rules.All() {
		kinds := []kind{kindField}
		for _, one := range policy.patterns {
			kinds = append(kinds, one.kind)
		}
		counters, err := sdk.CountersBy(p, "redact.replaced", "kind", kinds...)
		if err != nil {
			return err
		}
		policy.fieldsReplaced = counters[kindField]
		for _, one := range policy.patterns {
			policy.replaced = append(policy.replaced, counters[one.kind])
		}
	}
	return nil
}

// NewHandler makes the handler of one request and its response.
func (f *filter) NewHandler() sdk.Handler { return &exchange{filter: f} }

// OnRequestHeaders prepares for the bodies that will be looked at.
func (x *exchange) OnRequestHeaders(r *sdk.Request) sdk.Action {
	policy, ok := x.rules.For(r)
	if !ok {
		return sdk.Continue
	}
	x.policy = policy
	if policy.logPath {
		if err := r.Properties().Set(pathProperty, []byte(policy.cleanPath(r.Path()))); err != nil {
			r.Log().Warn("redact: " + err.Error())
		}
	}
	if policy.response {
		// The upstream must not compress what is to be looked at.
		if err := r.Headers().Remove("accept-encoding"); err != nil {
			return x.refuseRequest(r, reasonFailed)
		}
	}
	if !policy.request || r.End() {
		return sdk.Continue
	}
	if why := x.expect(r.Headers()); why != "" {
		return x.refuseRequest(r, why)
	}
	return sdk.Continue
}

// expect says whether a message's body is looked at, by its headers. Its length is about to change then.
func (x *exchange) expect(headers *sdk.Headers) reason {
	contentType, _ := headers.Get("content-type")
	if x.looks, x.isJSON = x.policy.looks(contentType); !x.looks {
		return ""
	}
	if encoding, ok := headers.Get("content-encoding"); ok && !strings.EqualFold(encoding, "identity") {
		return reasonEncoded
	}
	if err := headers.Remove("content-length"); err != nil {
		return reasonFailed
	}
	return ""
}

// RequestBodyLimit is the longest body that is held.
func (x *exchange) RequestBodyLimit() int { return x.limit() }

// ResponseBodyLimit is the longest body that is held.
func (x *exchange) ResponseBodyLimit() int { return x.limit() }

func (x *exchange) limit() int {
	if !x.looks {
		return sdk.PassBody
	}
	return x.policy.maxBody
}

// OnBufferedRequestBody takes out what the policy says.
func (x *exchange) OnBufferedRequestBody(r *sdk.Request, body *sdk.Body) sdk.Action {
	if why := x.clean(body); why != "" {
		return x.refuseRequest(r, why)
	}
	return sdk.Continue
}

// OnResponseHeaders prepares for the response's body.
func (x *exchange) OnResponseHeaders(r *sdk.Response) sdk.Action {
	x.looks = false
	if x.policy == nil || !x.policy.response || r.End() {
		return sdk.Continue
	}
	if why := x.expect(r.Headers()); why != "" {
		return x.refuseResponse(r, why)
	}
	return sdk.Continue
}

// OnBufferedResponseBody takes out what the policy says.
func (x *exchange) OnBufferedResponseBody(r *sdk.Response, body *sdk.Body) sdk.Action {
	if why := x.clean(body); why != "" {
		return x.refuseResponse(r, why)
	}
	return sdk.Continue
}

func (x *exchange) clean(body *sdk.Body) reason {
	data, err := body.Bytes()
	if err != nil {
		return reasonFailed
	}
	var found counts
	var clean []byte
	if x.isJSON {
		var ok bool
		if clean, ok = x.policy.rewriteJSON(data, &found); !ok {
			return reasonMalformed
		}
	} else {
		clean = []byte(x.policy.patterns.replace(string(data), x.policy.text, &found))
	}
	if found.sum() == 0 {
		return ""
	}
	if err := body.Replace(clean); err != nil {
		return reasonFailed
	}
	x.policy.count(&found)
	return ""
}

func (x *exchange) refuseRequest(r *sdk.Request, why reason) sdk.Action {
	x.refused[why].Inc()
	status := map[reason]int{reasonEncoded: 415, reasonMalformed: 400, reasonFailed: 500}[why]
	return r.Reply(sdk.Reply{Status: status, Body: []byte("the body cannot be looked at\n"), Details: "redact_" + string(why)})
}

// refuseResponse replaces the response, or cuts it off when its headers have gone.
func (x *exchange) refuseResponse(r *sdk.Response, why reason) sdk.Action {
	x.refused[why].Inc()
	return r.Reply(sdk.Reply{Status: 502, Body: []byte("the response cannot be looked at\n"), Details: "redact_" + string(why)})
}

// cleanPath is a path for logs.
func (p *policy) cleanPath(path string) string {
	base, query, ok := strings.Cut(path, "?")
	var ignored counts
	segments := strings.Split(base, "/")
	for i, segment := range segments {
		segments[i] = p.cleanText(segment, &ignored)
	}
	if base = strings.Join(segments, "/"); !ok {
		return base
	}
	parameters := strings.Split(query, "&")
	for i, parameter := range parameters {
		name, value, _ := strings.Cut(parameter, "=")
		decoded, err := url.QueryUnescape(name)
		if err != nil || slices.Contains(p.query, decoded) {
			parameters[i] = name + "=" + url.QueryEscape(p.text)
			continue
		}
		if clean := p.cleanText(value, &ignored); clean != value {
			parameters[i] = name + "=" + clean
		}
	}
	return base + "?" + strings.Join(parameters, "&")
}

// cleanText looks at a part of a path as it is, and as it is decoded.
func (p *policy) cleanText(text string, c *counts) string {
	decoded, err := url.QueryUnescape(text)
	if err != nil {
		return p.patterns.replace(text, p.text, c)
	}
	if clean := p.patterns.replace(decoded, p.text, c); clean != decoded {
		return url.QueryEscape(clean)
	}
	return text
}
