package main

import (
	"errors"
	"strings"
	"time"

	"github.com/waft-project/waft/filters/authz/internal/jwt"
	"github.com/waft-project/waft/filters/authz/internal/rules"
	"github.com/waft-project/waft/filters/internal/headername"
	"github.com/waft-project/waft/sdk"
)

// Names of the filter's metrics.
const (
	// metricVerified counts tokens whose signature and claims were checked, whatever came out.
	metricVerified = "authz.tokens_verified"
	// metricRemembered counts requests whose token was remembered.
	metricRemembered = "authz.tokens_remembered"
	// metricDenied counts denied requests, with the tag reason.
	metricDenied = "authz.denied"
)

// authz is the configured filter. It keeps nothing per stream, so it is the handler of every stream too; what it uses
// again from request to request, seen, is filled anew by each.
type authz struct {
	*compiled
	verified, hits sdk.Counter
	denied         map[string]sdk.Counter
	tokens         *remembered
	seen           seen
}

var (
	_ sdk.Filter                = (*authz)(nil)
	_ sdk.RequestHeadersHandler = (*authz)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	if p.FailurePolicy() == sdk.FailOpen {
		return nil, errors.New("authz does not run with the failure policy FAIL_OPEN: a failure would let everybody in; use FAIL_RELOAD or FAIL_CLOSED")
	}
	c, err := compile(config)
	if err != nil {
		return nil, err
	}
	a := &authz{compiled: c, tokens: newRemembered(c.remembered)}
	a.seen.fields = make([]rules.Field, len(c.rules.HeaderNames()))
	var errs [3]error
	a.verified, errs[0] = p.Counter(metricVerified)
	a.hits, errs[1] = p.Counter(metricRemembered)
	a.denied, errs[2] = sdk.CountersBy(p, metricDenied, "reason", reasons()...)
	return a, errors.Join(errs[:]...)
}

// NewHandler is the filter itself.
func (a *authz) NewHandler() sdk.Handler { return a }

// OnRequestHeaders decides on the request.
func (a *authz) OnRequestHeaders(r *sdk.Request) sdk.Action {
	s, now := &a.seen, r.Stream().CoarseNow()
	a.read(r, s)
	path, problem := rules.NormalizePath(s.path)
	if problem != "" {
		return a.deny(r, &denyPath, string(problem))
	}
	if !rules.ValidMethod(s.method) {
		return a.deny(r, &denyMethod, "")
	}
	rule := a.rules.Find(s.method, path, s.fields)
	if rule >= 0 && a.rules.Public(rule) {
		return a.admit(r, nil)
	}
	// A request that no rule matches is asked for its token too: who has none learns nothing of the rules.
	switch {
	case s.tokens == 0:
		return a.deny(r, &denyNoToken, "")
	case s.tokens > 1 || s.repeated:
		return a.deny(r, &denyManyTokens, "")
	}
	v, denied, detail := a.judge(r.Stream(), s.token, now)
	if denied != nil {
		return a.deny(r, denied, detail)
	}
	switch {
	case rule == rules.Ambiguous:
		return a.deny(r, &denyAmbiguous, "")
	case rule == rules.NoRule:
		return a.deny(r, &denyNoRule, "")
	case !v.grants.Has(rule):
		return a.deny(r, &denyRule, "")
	}
	return a.admit(r, v)
}

// judge is the verdict on a token, remembered or new. lately is the time as of a moment ago, which does for a remembered one. The detail
// goes to the log only.
func (a *authz) judge(s *sdk.Stream, token string, lately time.Time) (v *verdict, denied *denial, detail string) {
	if len(token) > a.verifier.MaxTokenBytes {
		d := deniedToken(jwt.ReasonOversized)
		return nil, &d, ""
	}
	if v := a.tokens.find(token, lately); v != nil {
		a.hits.Inc()
		return v, nil, ""
	}
	// Envoy makes one value of two Authorization headers, with a comma, which no token holds; so none that is remembered does.
	if strings.IndexByte(token, ',') >= 0 {
		return nil, &denyManyTokens, ""
	}
	token = strings.Clone(token)
	a.verified.Inc()
	verified, err := a.verifier.Verify(token, s.Now())
	if err != nil {
		refused := jwt.AsTokenError(err)
		d := deniedToken(refused.Reason)
		return nil, &d, refused.Detail
	}
	values, ok := forwardedValues(a.forward, verified.Claims)
	if !ok {
		return nil, &denyUnforwardable, ""
	}
	v = &verdict{from: verified.From, until: verified.Until, grants: a.rules.Grants(verified.Claims), values: values}
	a.tokens.keep(token, v)
	return v, nil, ""
}

// admit lets the request go on. v is nil for a public rule: then no claim is forwarded and the token is left alone, since
// nobody looked at it.
func (a *authz) admit(r *sdk.Request, v *verdict) sdk.Action {
	headers := r.Headers()
	for _, name := range a.seen.strip {
		if err := headers.Remove(name); err != nil {
			return a.fail(r, err)
		}
	}
	if v == nil {
		return sdk.Continue
	}
	for i, value := range v.values {
		if value == nil {
			continue
		}
		if err := headers.Set(a.forward[i].header, *value); err != nil {
			return a.fail(r, err)
		}
	}
	if a.removeToken {
		if err := headers.Remove(a.seen.tokenHeader); err != nil {
			return a.fail(r, err)
		}
	}
	return sdk.Continue
}

func (a *authz) deny(r *sdk.Request, d *denial, detail string) sdk.Action {
	a.denied[d.reason].Inc()
	r.Log().Debugf("authz: denied with %d, reason %s: %s", d.status, d.reason, detail)
	return r.Reply(d.reply(a.realm))
}

// fail denies a request whose headers could not be changed: it would reach the upstream with what a client may have sent
// in the place of claims.
func (a *authz) fail(r *sdk.Request, err error) sdk.Action {
	r.Log().Error("authz: " + err.Error())
	return r.Reply(sdk.Reply{Status: 500, Body: []byte("the request could not be prepared\n"), Details: "authz_failed"})
}

// seen is what the filter takes from the headers of a request. Its strings are where the host put them: they are valid until the next call
// of the sdk; see [sdk.Headers.Peek].
type seen struct {
	method, path string
	// tokens is how many headers hold a token, token and tokenHeader the last of them.
	tokens             int
	token, tokenHeader string
	// values is how often each of the headers that may hold a token occurs, whatever it holds; repeated, that one does twice. It must not,
	// even where the other value is of another scheme: which of the two counts would be for the upstream to guess.
	values   [maxTokenHeaders]uint32
	repeated bool
	// fields are the headers that rules ask about.
	fields []rules.Field
	// strip are the headers of the client that stand where claims are forwarded.
	strip []string
}

// read goes over the headers once. Of headers that cannot be read it has seen nothing, so that the request is denied.
func (a *authz) read(r *sdk.Request, s *seen) {
	clear(s.fields)
	*s = seen{fields: s.fields, strip: s.strip[:0]}
	names := a.rules.HeaderNames()
	headers, err := r.Headers().Peek()
	if err != nil {
		r.Log().Error("authz: " + err.Error())
	}
	for i := range headers {
		name, value := headers[i].Name, headers[i].Value
		switch name {
		case ":method":
			s.method = value
		case ":path":
			s.path = value
		}
		for i := range a.sources {
			if a.sources[i].name == name {
				s.take(i, &a.sources[i], value)
			}
		}
		for i := range names {
			if names[i] == name {
				if s.fields[i].Count == 0 {
					s.fields[i].Value = value
				}
				s.fields[i].Count++
			}
		}
		for i := range a.forward {
			if headername.Same(a.forward[i].header, name) {
				s.strip = append(s.strip, strings.Clone(name))
			}
		}
	}
}

// take notes a header that may hold a token. One with another scheme, such as Basic, holds none.
func (s *seen) take(i int, from *source, value string) {
	s.values[i]++
	s.repeated = s.repeated || s.values[i] > 1
	if from.scheme != "" {
		var ok bool
		if value, ok = cutScheme(value, from.scheme); !ok {
			return
		}
	}
	s.tokens++
	s.token, s.tokenHeader = value, from.name
}

// cutScheme takes the scheme and the spaces behind it away. Schemes are compared without case (RFC 9110, section 11.1).
func cutScheme(value, scheme string) (string, bool) {
	// As nearly every client writes it.
	if n := len(scheme); len(value) > n+1 && value[:n] == scheme && value[n] == ' ' && value[n+1] != ' ' {
		return value[n+1:], true
	}
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	if rest == "" {
		return "", true
	}
	return strings.TrimLeft(rest, " "), rest[0] == ' '
}
